"""policy.rehearse over recorded rows: the account, its bounds, what is refused, and what a worker is asked."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, b64
from tests.fakes.ca import self_signed

from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError
from gatepost.policy.recorded import plain_names, plain_tlsa
from gatepost.policy.tls_out import HopNames
from gatepost.probe.rehearse import Rehearsal
from gatepost.store.records import Batch, CertificateRow, ConnectionRow, DeliveryRow, RecordStore, SessionRow

STRICT = CONTRACT_LIKE.replace("tls: preferred", "tls: required-verify")
DANE = CONTRACT_LIKE.replace("tls: preferred", "tls: preferred, dane: opportunistic")
CERTIFICATE = self_signed(["mx.partner.example"])
DER = CERTIFICATE.chain_der[0]
FINGERPRINT = hashlib.sha256(DER).hexdigest()


def connection(dcid: int, domain: str, stage: str = "established") -> ConnectionRow:
    verdict = "encrypted" if stage == "established" else "clear"
    tls = {
        "verdict": verdict,
        "stage": stage,
        "reason": "",
        "sni": f"mx.{domain}",
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "group": "",
        "chain": [FINGERPRINT] if stage == "established" else [],
    }
    facts = {
        "hop": plain_names(HopNames(domain, mx_host=f"mx.{domain}")),
        "tlsa": plain_tlsa(None),
        "sts": None,
        "esmtp": True,
        "starttls": stage == "established",
        "helo": "",
        "broken": "",
        "lost": "",
        "local_address": "127.0.0.1",
        "tls": tls,
        "later": [],
    }
    return ConnectionRow(NOW - 60, dcid, domain, NOW - 61, f"mx.{domain}", "192.0.2.7", 25, facts)


def delivery(mid: int, dcid: int, domain: str, sender: str = "a.example") -> DeliveryRow:
    return DeliveryRow(NOW - 50, mid, domain, 1, sender, "delivered", dcid)


def session(icid: int, senders: Mapping[str, list[int]], **facts: Any) -> SessionRow:
    known = {"verified": "no", "score": "not enabled", "level": "preferred", "senders": senders, **facts}
    return SessionRow(icid, NOW - 60, "IncomingMail", f"192.0.2.{icid}", "unknown", NOW - 50, known)


@pytest.fixture
def recorded(bench: Bench) -> Bench:
    bench.apply(CONTRACT_LIKE)
    store = RecordStore.open(bench.home.records_db)
    connections = (connection(1, "partner.example"), connection(2, "plain.example", "not-offered"))
    deliveries = [delivery(mid, 1, "partner.example") for mid in range(1, 4)]
    deliveries.append(delivery(9, 2, "plain.example", ""))
    sessions = (session(1, {"x@y.example": [2, 0]}), session(2, {"x@y.example": [0, 1]}, protocol="TLSv1.3"))
    store.write(Batch(connections, deliveries, sessions, (CertificateRow(FINGERPRINT, DER),)), b"", NOW - 50)
    store.close()
    return bench


def test_who_would_fail_and_with_which_certificate(recorded: Bench) -> None:
    found = recorded.call("policy.rehearse", text=b64(STRICT))
    out = found["outbound"]
    assert (out["messages"], out["would_fail"], out["would_pass"], out["could_not_tell"]) == (4, 4, 0, 0)
    first, second = out["failing"]
    assert (first["domain"], first["messages"], first["level"]) == ("partner.example", 3, "required-verify")
    assert first["mids"] == [1, 2, 3]
    assert first["senders"] == [{"domain": "a.example", "messages": 3}]
    (reason,) = first["reasons"]
    assert reason["reason"].startswith("verify error: self-signed certificate")
    assert reason["certificate"]["fingerprint"] == FINGERPRINT
    assert reason["certificate"]["not_after"].endswith("Z")
    assert second["reasons"][0]["reason"] == "remote host does not offer STARTTLS"
    assert found["records"]["from"] == "2027-01-15T07:59:00Z"
    assert recorded.versions() == 2


def test_what_is_in_force_passes_as_it_was(recorded: Bench) -> None:
    found = recorded.call("policy.rehearse", text=b64(CONTRACT_LIKE))
    assert found["outbound"]["would_pass"] == 4
    assert found["outbound"]["security"] == [
        {"before": "encrypted", "after": "encrypted", "messages": 3},
        {"before": "clear", "after": "clear", "messages": 1},
    ]
    assert found["inbound"]["would_pass"] == 3


def test_incoming_mail_in_clear_would_be_refused(recorded: Bench) -> None:
    text = CONTRACT_LIKE + "mail_flow_policies:\n  - {name: ACCEPTED, action: accept, tls: required}\n"
    found = recorded.call("policy.rehearse", text=b64(text))["inbound"]
    assert (found["would_fail"], found["would_pass"]) == (2, 1)
    (one,) = found["failing"]
    assert (one["address"], one["policy"], one["cause"]) == ("192.0.2.1", "ACCEPTED", "tls")
    assert one["reasons"][0]["reason"] == "TLS is required by policy ACCEPTED, and the sender did not use it"


def test_the_candidate_is_rehearsed_as_well(recorded: Bench) -> None:
    with pytest.raises(OperatorError, match="no pending changes"):
        recorded.call("policy.rehearse", pending=True)
    recorded.apply(STRICT, pending=True)
    assert recorded.call("policy.rehearse", pending=True)["outbound"]["would_fail"] == 4
    for wrong in ({}, {"pending": True, "text": b64(STRICT)}):
        with pytest.raises(OperatorError, match="which policy"):
            recorded.call("policy.rehearse", **wrong)


def test_a_faulty_file_is_refused(recorded: Bench) -> None:
    with pytest.raises(OperatorError, match="fault"):
        recorded.call("policy.rehearse", text=b64("nonsense: 1\n"))


def test_days_bound_what_is_looked_at(recorded: Bench) -> None:
    recorded.clock.at += 2 * 86_400
    assert recorded.call("policy.rehearse", text=b64(STRICT), days=1)["outbound"]["messages"] == 0
    assert recorded.call("policy.rehearse", text=b64(STRICT), days=3)["outbound"]["messages"] == 4
    assert recorded.call("policy.rehearse", text=b64(STRICT), days=99)["days"] == 14


def test_a_home_without_records(bench: Bench) -> None:
    found = bench.call("policy.rehearse", text=b64(STRICT))
    assert found["records"] == {"from": "", "to": ""}
    assert found["outbound"]["messages"] == found["inbound"]["messages"] == 0


def test_what_was_not_looked_up_is_asked_of_a_worker(recorded: Bench) -> None:
    text = b64(DANE)
    stopped = recorded.call("policy.rehearse", text=text)
    assert stopped["outbound"]["could_not_tell"] == 4
    assert stopped["outbound"]["undecided"][0]["doubt"] == "no-tlsa"
    assert "not running" in stopped["notes"][0]
    gateway = recorded.start()
    asked: list[Mapping[str, Any]] = []
    absent = {"state": "absent", "base": "", "records": [], "problem": "none"}

    def answer(kind: str, args: Mapping[str, Any]) -> Any:
        assert kind == "look-up"
        asked.append(args)
        return {
            domain: [
                {
                    "host": f"mx.{domain}",
                    "address": "192.0.2.7",
                    "port": 25,
                    "names": plain_names(HopNames(domain, mx_host=f"mx.{domain}")),
                    "tlsa": absent,
                    "sts": None,
                }
            ]
            for domain in args["domains"]
            if domain == "partner.example"
        }

    gateway.workers[0].answer = answer  # type: ignore[method-assign]
    found = recorded.call("policy.rehearse", text=text)
    assert asked[0]["domains"] == ["partner.example", "plain.example"]
    assert "keys" not in str(asked[0]["payload"]["profiles"])
    assert (found["outbound"]["would_pass"], found["outbound"]["could_not_tell"]) == (3, 1)
    assert (found["by_today"], found["looked_up"]) == (3, 1)
    assert gateway.looked == ["records"]
    assert recorded.call("policy.rehearse", text=text, offline=True)["outbound"]["could_not_tell"] == 4


def test_a_commit_says_where_tls_rises(recorded: Bench) -> None:
    line = "default destination: tls preferred -> required-verify"
    assert recorded.call("policy.rises", text=b64(STRICT)) == {"rises": [line]}
    assert recorded.apply(STRICT, pending=True)["rises"] == []
    assert recorded.call("config.commit")["rises"] == [line]
    assert recorded.apply(CONTRACT_LIKE)["rises"] == []


def test_a_rehearsal_that_is_given_up_ends_its_thread(
    recorded: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C on a stopped gateway: the interpreter waits for its threads."""
    began, ended = threading.Event(), threading.Event()

    def endless(self: Rehearsal) -> list[str]:
        try:
            while True:
                self._tell("outgoing", 1, 2)
                began.set()
        finally:
            ended.set()

    monkeypatch.setattr(Rehearsal, "wanting", endless)

    async def main() -> None:
        call = recorded.operations.call("policy.rehearse", {"text": b64(STRICT)}, Caller.local(0))
        running = asyncio.ensure_future(call)
        await asyncio.to_thread(began.wait)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.to_thread(ended.wait)

    asyncio.run(asyncio.wait_for(main(), 20))
