"""TLS reports about our domains: imported, listed, shown with our own records; forged and hostile ones (C38)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64
from tests.fakes.dkim_signer import Key, signed
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.wire.test_tlsrpt_received import PACKED, PLAIN, REPORT, bomb, mail

from gatepost.control.ops.tls_reports_received import JOB
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.received_report_events import TlsReportReceived
from gatepost.store.records import Batch, RecordStore, SessionRow
from gatepost.store.tls_reports_received import Proof, ReceivedReportStore

DAY = 86_400.0
BEGIN = 1_795_392_000.0  # 2026-11-23, the day of the report


@pytest.fixture
def ready(bench: Bench) -> Bench:
    bench.apply(CONTRACT_LIKE)
    bench.clock.at = BEGIN + 1.5 * DAY
    return bench


def other(**changes: Any) -> bytes:
    return json.dumps(REPORT | changes).encode()


def about(domain: str) -> bytes:
    return PLAIN.replace(b"example.net", domain.encode())


@pytest.mark.parametrize("data", [PLAIN, PACKED, mail()])
def test_a_report_is_imported_in_every_form(ready: Bench, data: bytes) -> None:
    found = ready.call("tlsrpt.import", file=b64(data))
    assert (found["report"], found["new"], found["way"]) == (1, True, "file")
    assert found["organization"] == "Partner Ltd"
    assert found["submitter_verified"] is False
    assert (found["successful"], found["failed"]) == (122, 3)
    assert found["failures"] == {"certificate-expired": 2}
    assert found["domains"] == ["example.net"]
    again = ready.call("tlsrpt.import", file=b64(PACKED))
    assert (again["report"], again["new"]) == (1, False)


NAME = "s1._domainkey.partner.example"
KEY = Key.ed25519()


@pytest.mark.parametrize(
    ("data", "behaviour", "verified", "dkim"),
    [
        (
            signed(mail(), KEY),
            None,
            True,
            {
                "result": "pass",
                "domain": "partner.example",
                "reason": f"signed by partner.example with the key {NAME}",
            },
        ),
        (
            signed(mail(), KEY).replace(b"A report.", b"A rumour."),
            None,
            False,
            {
                "result": "fail",
                "domain": "partner.example",
                "reason": "the body is not the one that partner.example signed",
            },
        ),
        (
            signed(mail(), KEY),
            Behaviour.NXDOMAIN,
            False,
            {
                "result": "permerror",
                "domain": "partner.example",
                "reason": f"the key {NAME} is of no use: there is no record",
            },
        ),
        (mail(), None, False, {"result": "none", "domain": "", "reason": "the mail has no DKIM signature"}),
    ],
)
def test_the_signature_of_a_mail_says_whom_it_is_from(
    bench: Bench, data: bytes, behaviour: Behaviour | None, verified: bool, dkim: dict[str, str]
) -> None:
    with DnsAuthority({NAME: {"TXT": [f'"{KEY.record()}"']}}) as server:
        server.behave(NAME, behaviour)
        bench.apply(CONTRACT_LIKE + f'dns: {{servers: ["127.0.0.1:{server.port}"]}}\n')
        bench.clock.at = BEGIN + 1.5 * DAY
        found = bench.call("tlsrpt.import", file=b64(data))
    assert (found["submitter_verified"], found["dkim"]) == (verified, {**dkim, "asked_again": ""})
    (listed,) = bench.call("tlsrpt.received")
    assert listed["dkim"] == bench.call("tlsrpt.received.show", report=1)["dkim"] == found["dkim"]


def test_a_key_that_nobody_tells_is_asked_for_again(bench: Bench) -> None:
    with DnsAuthority({}) as server:
        server.behave("*", Behaviour.SERVFAIL)
        bench.apply(CONTRACT_LIKE + f'dns: {{servers: ["127.0.0.1:{server.port}"]}}\n')
        bench.clock.at = BEGIN + 1.5 * DAY
        found = bench.call("tlsrpt.import", file=b64(signed(mail(), KEY)))
    assert found["submitter_verified"] is False
    assert (found["dkim"]["result"], found["dkim"]["asked_again"]) == ("temperror", "2026-11-24T12:05:00Z")
    assert "could not be looked up" in found["dkim"]["reason"]


def test_a_report_of_an_earlier_release_is_not_verified_and_says_why(ready: Bench, home: Any) -> None:
    ready.call("tlsrpt.import", file=b64(PLAIN))
    with ReceivedReportStore.open(home.received_tls_reports) as store:
        store.settle(1, Proof())
    (found,) = ready.call("tlsrpt.received")
    assert found["submitter_verified"] is False
    assert found["dkim"] == {
        "result": "none",
        "domain": "",
        "reason": "it came before signatures were checked",
        "asked_again": "",
    }


def test_they_are_listed_by_domain_and_days(ready: Bench) -> None:
    ready.call("tlsrpt.import", file=b64(PLAIN))
    (one,) = ready.call("tlsrpt.received", domain="Example.NET.")
    assert (one["day"], one["origin"]) == ("2026-11-23", "local:1000")
    assert ready.call("tlsrpt.received", domain="other.example") == []
    ready.clock.at += 20 * DAY
    assert ready.call("tlsrpt.received") == []
    assert len(ready.call("tlsrpt.received", days=30)) == 1


def test_before_the_first_there_is_none(ready: Bench, home: Any) -> None:
    assert ready.call("tlsrpt.received") == []
    with pytest.raises(OperatorError, match="there is no report 1"):
        ready.call("tlsrpt.received.show", report=1)
    assert not home.received_tls_reports.exists()


def session(icid: int, at: float, address: str = "192.0.2.7", **facts: Any) -> SessionRow:
    return SessionRow(icid, at, "IncomingMail", address, "mail.partner.example", at + 1, facts)


def test_failures_stand_beside_our_own_sessions_of_that_sender(ready: Bench) -> None:
    expired = "(1, 'error:0A000415:SSL routines::sslv3 alert certificate expired')"
    rows = (
        session(1, BEGIN + 60, tls_error=expired),
        session(2, BEGIN + 120, tls_error=expired),
        session(3, BEGIN + 180, protocol="TLSv1.3", lost=True),
        session(4, BEGIN - DAY, tls_error="another day"),
        session(5, BEGIN + 60, "192.0.2.8", tls_error="another sender"),
    )
    records = RecordStore.open(ready.home.records_db)
    records.write(Batch(sessions=rows), b"", BEGIN)
    records.close()
    ready.call("tlsrpt.import", file=b64(PLAIN))
    found = ready.call("tlsrpt.received.show", report=1)
    (failure,) = found["policies"][0]["failures"]
    assert (failure["result"], failure["sending_ip"]) == ("certificate-expired", "192.0.2.7")
    assert failure["own"] == {
        "sessions": 3,
        "tls": 1,
        "lost": 1,
        "tls_failed": [
            {
                "error": expired,
                "sessions": 2,
                "last": "2026-11-23T00:02:00Z",
                "icid": 2,
                "listener": "IncomingMail",
            }
        ],
    }
    assert found["own_records_since"] == "2026-11-22T00:00:00Z"


def test_without_records_nothing_is_said_of_our_own(ready: Bench) -> None:
    ready.call("tlsrpt.import", file=b64(PLAIN))
    found = ready.call("tlsrpt.received.show", report=1)
    assert found["policies"][0]["failures"][0]["own"] is None
    assert found["own_records_since"] == ""


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (about("other.example"), r"about other\.example, and about no domain of ours"),
        (PLAIN.replace(b'"policy-domain": "example.net"', b'"x": 1'), "about no domain, and about no domain"),
        (PLAIN.replace(b"2026-11-23T", b"2030-01-01T"), "a time that has not come"),
        (b"%PDF-1.7", "there is no TLS report in it"),
        (bomb(), "longer than 20 MiB"),
    ],
)
def test_what_does_not_count_is_refused_and_changes_nothing(ready: Bench, data: bytes, why: str) -> None:
    with pytest.raises(OperatorError, match=why):
        ready.call("tlsrpt.import", file=b64(data))
    assert ready.call("tlsrpt.received", days=3000) == []


def test_an_empty_file_is_a_wrong_use(ready: Bench) -> None:
    with pytest.raises(OperatorError) as refusal:
        ready.call("tlsrpt.import")
    assert refusal.value.code is Exit.USAGE


def test_what_it_says_of_domains_of_others_does_not_count(ready: Bench) -> None:
    two = json.loads(PLAIN)
    two["policies"].append(
        {
            "policy": {"policy-type": "sts", "policy-domain": "other.example"},
            "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1000},
        }
    )
    found = ready.call("tlsrpt.import", file=b64(gzip.compress(json.dumps(two).encode())))
    assert (found["domains"], found["failed"]) == (["example.net"], 3)


def test_hostile_texts_are_kept_harmless(ready: Bench) -> None:
    found = ready.call("tlsrpt.import", file=b64(other(**{"organization-name": "a\r\nb\x1b[31m"})))
    assert found["organization"] == "a??b?[31m"


def test_it_is_told_in_the_log(ready: Bench) -> None:
    gateway = ready.start()
    ready.call("tlsrpt.import", file=b64(PLAIN))
    (event,) = [one for one in gateway.events if isinstance(one, TlsReportReceived)]
    assert (event.domains, event.successful, event.failed) == (["example.net"], 122, 3)


def test_who_asks_a_running_gateway_gets_what_has_just_come_in(ready: Bench) -> None:
    gateway = ready.start()
    assert ready.call("tlsrpt.received") == []
    assert gateway.looked == [JOB]


def test_a_database_that_cannot_be_used_is_said(ready: Bench, home: Any) -> None:
    folder: Path = home.received_tls_reports
    folder.mkdir()
    (folder / "reports.db").write_bytes(b"no database" * 100)
    for call in ("tlsrpt.received", "tlsrpt.import"):
        with pytest.raises(OperatorError, match="cannot be used") as refusal:
            ready.call(call, **({"file": b64(PLAIN)} if call.endswith("import") else {}))
        assert refusal.value.code is Exit.TRY_AGAIN
