"""ca.crl.*: lists from files and URLs, taken in, refused, shown and forgotten."""

from __future__ import annotations

import asyncio
import datetime
from base64 import b64decode
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, FakeGateway, b64
from tests.fakes.ca import TestAuthority

from gatepost.control.ports import Caller
from gatepost.core.certificate_events import RevocationListFetched
from gatepost.core.errors import ConfigurationError, Exit, OperatorError
from gatepost.pki.revocation import MAX_LIST, read_list
from gatepost.store.revocations import kept_lists, untold

AT = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
DAY = datetime.timedelta(days=1)
CA = TestAuthority("Lists CA", at=AT)
LEAF = CA.issue(["mx.example"]).leaf
URL, OTHER = "http://crl.example/a.crl", "http://crl.example/b.crl"


@pytest.fixture
def known(bench: Bench) -> Bench:
    """A home that knows the authority and fetches one list."""
    bench.call("ca.import", file=b64(CA.root_pem))
    bench.call("ca.crl.add", url=URL)
    return bench


def later(authority: TestAuthority, days: float, **choices: Any) -> bytes:
    """A list that the authority made some days after `AT`."""
    moved = TestAuthority(authority.name, key=authority.key, at=AT + days * DAY)
    return moved.revocation_list(*choices.pop("revoked", ()), **choices)


def active(gateway: FakeGateway) -> list[bytes]:
    return [b64decode(one["der"]) for one in gateway.active["crls"]]


# --- files ----------------------------------------------------------------------------------------


def test_a_list_from_a_file_is_used_at_once_and_makes_no_version(known: Bench) -> None:
    gateway = known.start()
    versions = known.versions()
    der = CA.revocation_list(LEAF)
    answer = known.call("ca.crl.import", file=b64(der))
    assert (answer["issuer"], answer["revoked"], answer["unchanged"]) == ("CN=Lists CA", 1, False)
    assert active(gateway) == [der]
    assert known.versions() == versions
    assert not untold(known.store)
    (event,) = [event for event in gateway.events if isinstance(event, RevocationListFetched)]
    assert (event.issuer, event.revoked) == ("CN=Lists CA", 1)
    assert any("ca.crl.import by local:1000" in getattr(event, "text", "") for event in gateway.events)
    known.apply(CONTRACT_LIKE)
    assert active(gateway) == [der], "a commit takes the lists along"


def test_on_a_stopped_gateway_it_is_stored(known: Bench) -> None:
    der = CA.revocation_list()
    known.call("ca.crl.import", file=b64(der))
    assert active(known.start()) == [der]


def test_a_newer_list_of_the_same_line_takes_the_place_and_an_older_is_refused(known: Bench) -> None:
    known.call("ca.crl.import", file=b64(later(CA, 0)))
    newer = later(CA, 1)
    known.call("ca.crl.import", file=b64(newer))
    assert known.call("ca.crl.import", file=b64(newer))["unchanged"]
    with pytest.raises(OperatorError, match="older than the one in use"):
        known.call("ca.crl.import", file=b64(later(CA, -1)))
    (row,) = [row for row in known.call("ca.crl.list") if not row["url"]]
    assert row["fingerprint"] == read_list(newer).facts.fingerprint


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no revocation list"),
        (b"hello", "no revocation list"),
        (CA.root_pem, "no revocation list"),
        (CA.revocation_list()[:-1], "no revocation list"),
        (TestAuthority("Stranger CA", at=AT).revocation_list(), "CN=Stranger CA, which is not known here"),
        (TestAuthority("Lists CA", at=AT).revocation_list(LEAF), "signature"),
        (later(CA, 20), "made in the future"),
        (bytes(MAX_LIST + 1), "longer than 8 MiB"),
    ],
    ids=["nothing", "text", "certificate", "cut", "stranger", "forged", "future", "long"],
)
def test_what_is_refused_changes_nothing(known: Bench, data: bytes, words: str) -> None:
    gateway = known.start()
    before = gateway.active
    for op, args in (("ca.crl.import", {}), ("ca.crl.keep", {"source": URL})):
        with pytest.raises(OperatorError, match=words):
            known.call(op, file=b64(data), **args)
    assert gateway.active is before
    assert not kept_lists(known.store)


def test_an_authority_below_a_root_is_known_from_a_profile(known: Bench) -> None:
    sub = CA.intermediate("Lists Sub CA")
    with pytest.raises(OperatorError, match="not known here"):
        known.call("ca.crl.import", file=b64(sub.revocation_list()))
    issued = sub.issue(["mx.example"])
    known.call("cert.import", name="gw", file=b64(issued.key_pem + issued.chain_pem))
    assert known.call("ca.crl.import", file=b64(sub.revocation_list()))["issuer"] == "CN=Lists Sub CA"


def test_workers_that_refuse_leave_everything_as_it_was(known: Bench) -> None:
    gateway = known.start()
    gateway.refuses = "no"
    with pytest.raises(OperatorError, match="no"):
        known.call("ca.crl.import", file=b64(CA.revocation_list()))
    assert not kept_lists(known.store)


# --- URLs -----------------------------------------------------------------------------------------


def test_sources_are_configuration(known: Bench) -> None:
    known.call("ca.crl.add", url=OTHER, name="Other", secondary=URL, every="1h")
    crl = known.document()["certificate_authorities"]["crl"]
    assert crl == [URL, {"url": OTHER, "name": "Other", "secondary": URL, "every": "1h"}]
    for args in ({"url": URL}, {"url": "crl.example"}, {"url": "http://x.example/", "every": "1s"}):
        with pytest.raises(ConfigurationError):
            known.call("ca.crl.add", **args)
    known.call("ca.crl.remove", name="Other", pending=True)
    assert len(known.call("ca.crl.list")) == 2
    known.call("config.commit")
    known.call("ca.crl.remove", name=URL)
    assert not known.call("ca.crl.list")
    with pytest.raises(OperatorError, match="there is no revocation list"):
        known.call("ca.crl.remove", name=URL)


def test_a_fetched_list_counts_while_the_configuration_names_its_url(known: Bench) -> None:
    gateway = known.start()
    der = CA.revocation_list()
    known.call("ca.crl.keep", source=URL, file=b64(der))
    assert active(gateway) == [der]
    assert known.call("ca.crl.keep", source=URL, file=b64(der))["unchanged"]
    with pytest.raises(OperatorError, match="does not name"):
        known.call("ca.crl.keep", source=OTHER, file=b64(der))
    known.call("ca.crl.remove", name=URL)
    assert active(gateway) == []
    known.call("config.rollback", version=known.versions() - 1)
    assert active(gateway) == [der]


def test_asking_for_a_fetch_rings_for_the_job_and_tells_how_it_went(known: Bench) -> None:
    with pytest.raises(OperatorError) as caught:
        known.call("ca.crl.fetch")
    assert caught.value.code is Exit.NOT_RUNNING
    gateway = known.start()
    (row,) = known.call("ca.crl.fetch")
    assert gateway.looked == ["crl"]
    assert (row["url"], row["status"]) == (URL, "missing")
    assert known.call("ca.crl.fetch", name=URL)
    with pytest.raises(OperatorError, match="no revocation list other is fetched"):
        known.call("ca.crl.fetch", name="other")


# --- showing and forgetting -----------------------------------------------------------------------


def test_a_stale_list_is_found(known: Bench) -> None:
    known.call("ca.crl.keep", source=URL, file=b64(CA.revocation_list(end=AT - DAY)))
    (row,) = known.call("ca.crl.list")
    assert row["status"] == "stale"
    assert [(found["code"], found["severity"]) for found in row["findings"]] == [("crl-stale", "warning")]
    known.apply(CONTRACT_LIKE + f"certificate_authorities: {{crl: ['{URL}'], crl_stale: refuse}}\n")
    (row,) = known.call("ca.crl.list")
    assert row["findings"][0]["severity"] == "error"


def test_a_list_from_a_file_is_forgotten_by_issuer_or_fingerprint(known: Bench) -> None:
    gateway = known.start()
    der = CA.revocation_list()
    for name in ("CN=Lists CA", read_list(der).facts.fingerprint[:12]):
        known.call("ca.crl.import", file=b64(der))
        assert known.call("ca.crl.remove", name=name)["forgotten"] == "CN=Lists CA"
        assert active(gateway) == []
        assert not untold(known.store)


def test_the_desk_that_died_in_between_makes_up_for_it(known: Bench) -> None:
    gateway = known.start()
    known.call("ca.crl.import", file=b64(CA.revocation_list()))
    gateway.active = {}
    known.call("ca.crl.activate")
    assert len(active(gateway)) == 1


def test_what_the_gateway_does_itself_is_audited_under_its_own_name(known: Bench) -> None:
    gateway = known.start()
    args = {"source": URL, "file": b64(CA.revocation_list())}
    asyncio.run(known.operations.call("ca.crl.keep", args, Caller.gateway()))
    assert any("ca.crl.keep by gatepost" in getattr(event, "text", "") for event in gateway.events)


def test_our_own_certificate_that_was_revoked_is_said_to_be(known: Bench) -> None:
    issued = CA.issue(["mx.example.net"])
    known.call("cert.import", name="gw", file=b64(issued.key_pem + issued.chain_pem))

    def codes() -> list[str]:
        (row,) = [row for row in known.call("cert.list") if row["name"] == "gw"]
        checked = known.call("cert.check", name="gw")
        assert [f["code"] for f in checked["findings"]] == [f["code"] for f in row["findings"]]
        return [found["code"] for found in row["findings"] if found["severity"] == "error"]

    assert codes() == []
    known.call("ca.crl.import", file=b64(CA.revocation_list(issued.leaf)))
    assert codes() == ["revoked"]
