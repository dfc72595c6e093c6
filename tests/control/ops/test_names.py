"""cert.names: the version in force and the candidate, with a DNS that answers, is silent, or is not asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.core.errors import OperatorError

RECORDS = {
    "example.net": {"MX": ["10 mx.example.net."]},
    "mx.example.net": {"A": ["127.0.0.1"]},
}


@pytest.fixture
def dns() -> Iterator[DnsAuthority]:
    with DnsAuthority(RECORDS) as authority:
        yield authority


@pytest.fixture(scope="module")
def good() -> str:
    return b64(pem_of(TestAuthority().issue(["mx.example.net"])))


def document(dns: DnsAuthority, certificate: str = "Demo", **controls: str) -> str:
    text = CONTRACT_LIKE.replace("certificate: Demo", f"certificate: {certificate}")
    text += f"dns: {{servers: ['{dns.address}:{dns.port}']}}\n"
    return text.replace(
        "destination_controls:\n",
        f"destination_controls:\n  global: {{certificate: {controls.get('client', 'Demo')}}}\n",
    )


def test_what_is_live_is_compared_with_what_dns_says(bench: Bench, dns: DnsAuthority, good: str) -> None:
    bench.start()
    bench.call("cert.import", name="gw", file=good)
    bench.apply(document(dns, "gw", client="gw"))
    found = bench.call("cert.names")
    assert found["looked_up"]
    (one,) = found["listeners"]
    assert (one["verdict"], one["differs"], one["findings"]) == ("same", [], [])
    assert one["leads_here"] == ["mx.example.net"]
    assert one["mx"][0]["hosts"][0]["addresses"] == ["127.0.0.1"]
    assert one["certificates"] == [{"certificate": "gw", "sni": "", "names": ["DNS:mx.example.net"]}]
    assert found["outbound"]["verdict"] == "same"
    assert found["system"]["hostname"] == "gw.example.net"
    assert "plays no part" in found["system"]["text"]


def test_a_pending_change_is_seen_before_its_commit_and_only_by_its_author(
    bench: Bench, dns: DnsAuthority, good: str
) -> None:
    bench.call("cert.import", name="gw", file=good)
    bench.apply(document(dns))
    bench.apply(document(dns, "gw"), pending=True)
    (live,) = bench.call("cert.names")["listeners"]
    assert live["differs"] == ["certificate"]
    pending = bench.call("cert.names", pending=True)
    assert pending["pending"]
    assert pending["listeners"][0]["verdict"] == "same"
    (other,) = bench.call("cert.names", pending=True, uid=1001)["listeners"]
    assert other["differs"] == ["certificate"]


def test_a_server_that_refuses_is_no_answer_and_no_difference(
    bench: Bench, dns: DnsAuthority, good: str
) -> None:
    bench.call("cert.import", name="gw", file=good)
    bench.apply(document(dns, "gw"))
    dns.behave("*", Behaviour.SERVFAIL)
    (one,) = bench.call("cert.names")["listeners"]
    assert (one["verdict"], one["differs"]) == ("unknown", [])
    assert one["mx"][0]["status"] == "no answer"
    assert one["mx"][0]["detail"].startswith("SERVFAIL")


def test_offline_nothing_is_asked(bench: Bench, dns: DnsAuthority) -> None:
    bench.apply(document(dns))
    found = bench.call("cert.names", offline=True)
    assert not found["looked_up"]
    assert found["listeners"][0]["mx"][0]["status"] == "not looked up"
    assert dns.asked == []


def test_one_certificate_limits_it_to_where_it_is_shown(bench: Bench, dns: DnsAuthority, good: str) -> None:
    bench.call("cert.import", name="gw", file=good)
    bench.apply(document(dns))
    found = bench.call("cert.names", name="gw")
    assert found["listeners"] == []
    assert found["outbound"] is None
    assert dns.asked == []
    assert bench.call("cert.names", name="Demo")["listeners"][0]["listener"] == "IncomingMail"
    with pytest.raises(OperatorError, match="there is no certificate named x"):
        bench.call("cert.names", name="x")
