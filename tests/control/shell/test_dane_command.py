"""`gatepost cert dane`: lines that a zone takes as they are, within the width of a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dns.rdatatype
import dns.zone
import pytest
from tests.control.kit import Bench, b64, pem_of
from tests.control.ops.test_dane import CURRENT, ISSUED, OWNER, document, next_record, publish
from tests.control.shell.running import desk, gatepost
from tests.fakes.dns_authority import DnsAuthority

from gatepost.core.tlsa import Tlsa


@pytest.fixture
def authority() -> Iterator[DnsAuthority]:
    with DnsAuthority({"mx.example.net": {"A": ["127.0.0.1"]}}, ttl=600) as served:
        yield served


@pytest.fixture
def site(bench: Bench, authority: DnsAuthority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("GATEPOST_HOME", str(bench.home.root))
    bench.start()
    bench.call("cert.import", name="gw", file=b64(pem_of(ISSUED)))
    bench.apply(document(authority))
    with desk(bench) as running:
        yield running


def published_lines(text: str) -> list[str]:
    """What an administrator copies: everything from the first zone line to the last, comments included."""
    head = "$ORIGIN .\n$TTL 60\nexample.net. IN SOA ns.example.net. root.example.net. 1 1 1 1 1\nexample.net. IN NS ns.example.net.\n"
    rows = text.splitlines()
    kept = [row for row in rows if row.startswith((";", "_25.", "        "))]
    zone = dns.zone.from_text(head + "\n".join(kept) + "\n", origin="example.net.", relativize=False)
    found = zone.find_rdataset(f"{OWNER}.", dns.rdatatype.TLSA)
    return sorted(record.to_text() for record in found)


def test_the_lines_are_a_zones_and_fit_the_terminal(site: Bench, authority: DnsAuthority) -> None:
    said = gatepost("cert", "dane", "gw", "--make-next")
    assert said.code == 0, said.err
    assert max(map(len, said.out.splitlines())) <= 80
    texts = published_lines(said.out)
    assert CURRENT.text() in texts
    assert next_record(site).text() in texts
    assert len(texts) == 3  # and the issuer's, as the alternative
    assert "The next key of gw is made" in said.out
    assert "; gw, the next key: not published" in said.out
    publish(authority, CURRENT, Tlsa(3, 1, 1, b"\x07" * 32))
    said = gatepost("cert", "dane", "gw")
    assert (said.code, max(map(len, said.out.splitlines())) <= 80) == (0, True)
    assert "The published records match what is served." in said.out
    assert "; gw, the key that is served: on every server that answers" in said.out
    assert "remove it, unless another" in " ".join(said.out.split())


def test_a_host_that_is_refused_ends_with_one(site: Bench, authority: DnsAuthority) -> None:
    publish(authority, Tlsa(3, 1, 1, b"\x07" * 32))
    said = gatepost("cert", "dane", "gw")
    assert said.code == 1
    assert "senders with DANE refuse" in " ".join(said.out.split())


def test_as_json(site: Bench) -> None:
    found = json.loads(gatepost("cert", "dane", "gw", "--make-next", "--json").out)
    assert set(found) == {"name", "automatic", "coming", "places", "activation", "ok", "made"}
    assert found["made"]["unchanged"] is False
    assert found["activation"]["possible"] is True
    assert set(found["places"][0]["publish"][0]) == {
        "owner", "ttl", "type", "data", "role", "certificate", "on", "everywhere",
    }  # fmt: skip
    assert json.loads(gatepost("cert", "dane", "gw", "--json").out)["made"] is None


def test_a_certificate_that_is_shown_nowhere(site: Bench) -> None:
    said = gatepost("cert", "dane", "Demo")
    assert said.code == 0
    assert "tlsa.services" in said.out


def test_options_of_the_next_key_alone_are_refused(site: Bench) -> None:
    assert gatepost("cert", "dane", "gw", "--key", "p256").code == 2
