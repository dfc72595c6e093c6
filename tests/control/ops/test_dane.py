"""cert.dane: what to publish, what is published, and certificates that are not taken before their record is out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, pem_of
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.certs import dane_view
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.tlsa import Tlsa, of_issuer, of_key
from gatepost.pki.certificate import read_certificate
from gatepost.pki.keys import load_private_key
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import read_request

OWNER = "_25._tcp.mx.example.net"
TTL = 600
CA = TestAuthority("DANE CA").intermediate()
ISSUED = CA.issue(["mx.example.net"], key="p256")
LEAF, ISSUER = (read_certificate(der) for der in ISSUED.chain_der[:2])
CURRENT = of_key(LEAF.public_key_der)


@pytest.fixture
def dns() -> Iterator[DnsAuthority]:
    with DnsAuthority({"mx.example.net": {"A": ["127.0.0.1"]}}, ttl=TTL) as authority:
        yield authority


def document(dns: DnsAuthority, *more: str) -> str:
    address = f"{dns.address}:{dns.port}"
    text = CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw")
    listed = ", ".join(f"'{one}'" for one in (address, *more))
    return text + f"dns: {{servers: ['{address}'], validate_dnssec: false}}\ntlsa: {{servers: [{listed}]}}\n"


@pytest.fixture
def site(bench: Bench, dns: DnsAuthority) -> Bench:
    bench.start()
    bench.call("cert.import", name="gw", file=b64(pem_of(ISSUED)))
    bench.apply(document(dns))
    return bench


def publish(dns: DnsAuthority, *records: Tlsa) -> None:
    dns.update({OWNER: {"TLSA": [record.text() for record in records]}})


def place(site: Bench) -> Any:
    (found,) = site.call("cert.dane", name="gw")["places"]
    return found


def next_record(site: Bench) -> Tlsa:
    return of_key(read_request(profile(site).csr).public_key)


def profile(site: Bench) -> Profile:
    version = site.store.latest()
    assert version is not None
    stored = site.store.profile(version.content.profiles["gw"])
    assert stored is not None
    return Profile.from_document(stored.record)


def signed_next(site: Bench) -> str:
    """The authority's answer to the request for the next key."""
    from tests.fakes.ca import Issued

    opened = site.opens("gw").decode()
    pem = opened[opened.rindex("-----BEGIN") :]
    made: Issued = CA.issue(["mx.example.net"], key=load_private_key(pem.encode()))  # type: ignore[arg-type]
    return b64(made.chain_pem)


def test_what_is_to_be_published_before_anything_is(site: Bench) -> None:
    found = place(site)
    assert (found["owner"], found["host"], found["port"]) == (OWNER, "mx.example.net", 25)
    (line,) = found["publish"]
    assert line == {
        "owner": f"{OWNER}.", "ttl": 3600, "type": "TLSA", "data": CURRENT.text(), "role": "current",
        "certificate": "gw", "on": [], "everywhere": False,
    }  # fmt: skip
    (other,) = found["alternative"]
    assert (other["role"], other["data"]) == ("issuer", of_issuer(ISSUER.public_key_der).text())
    assert found["ok"]
    assert "No TLSA records" in found["serving"]
    assert found["coming"] is None
    assert any("--make-next" in text for text in found["advice"])


def test_what_is_published_is_told_for_what_it_is(site: Bench, dns: DnsAuthority) -> None:
    site.call("cert.dane.next", name="gw")
    stale, useless = Tlsa(3, 1, 1, b"\x07" * 32), Tlsa(1, 1, 1, b"\x08" * 32)
    publish(dns, CURRENT, next_record(site), of_issuer(ISSUER.public_key_der), stale, useless)
    found = place(site)
    roles = {row["data"]: row["role"] for row in found["published"]}
    assert roles == {
        CURRENT.text(): "current",
        next_record(site).text(): "next",
        of_issuer(ISSUER.public_key_der).text(): "issuer",
        stale.text(): "stale",
        useless.text(): "unusable",
    }
    assert found["publish"][0]["everywhere"]
    assert found["ok"]
    (server,) = found["servers"]
    assert (server["ttl"], len(server["records"])) == (TTL, 5)


def test_records_that_do_not_match_what_is_served_are_not_well(site: Bench, dns: DnsAuthority) -> None:
    publish(dns, Tlsa(3, 1, 1, b"\x07" * 32))
    found = site.call("cert.dane", name="gw")
    assert not found["ok"]
    assert "senders with DANE refuse this host" in found["places"][0]["serving"]


def test_servers_that_differ(bench: Bench, dns: DnsAuthority) -> None:
    bench.call("cert.import", name="gw", file=b64(pem_of(ISSUED)))
    with DnsAuthority({}, ttl=TTL) as second:
        bench.apply(document(dns, f"{second.address}:{second.port}"))
        publish(dns, CURRENT)
        publish(second, CURRENT, Tlsa(3, 1, 1, b"\x07" * 32))
        found = place(bench)
        assert any(
            f"{dns.address}:{dns.port} lacks 1 of 2 records that others show" in text
            for text in found["advice"]
        )
        second.behave("*", Behaviour.REFUSED)
        assert any("Not every server could be asked" in text for text in place(bench)["advice"])


def test_the_next_key_waits_with_its_request(site: Bench) -> None:
    answer = site.call("cert.dane.next", name="gw", key="p384")
    assert not answer["unchanged"]
    after = profile(site)
    assert (after.certificate, after.waiting) == (ISSUED.chain_der[0], True)
    assert site.call("cert.csr", name="gw")["waiting_key"]
    assert [line["role"] for line in place(site)["publish"]] == ["current", "next"]
    again = site.call("cert.dane.next", name="gw")
    assert again["unchanged"]
    with pytest.raises(OperatorError, match="has a next key already"):
        site.call("cert.dane.next", name="gw", key="rsa2048")


def test_a_self_signed_certificate_stays_when_its_next_key_is_made(site: Bench) -> None:
    before = site.call("cert.show", name="Demo")["fingerprint"]
    site.call("cert.dane.next", name="Demo")
    found = site.call("cert.show", name="Demo")
    assert (found["fingerprint"], found["request"]["waiting_key"]) == (before, True)


def test_an_automatic_certificate_gets_its_next_key_with_the_order(site: Bench, dns: DnsAuthority) -> None:
    section = "acme: {directory: 'https://acme.example/d', terms_agreed: true, certificates: [{name: gw, names: [mx.example.net]}]}\n"
    site.apply(document(dns) + section)
    with pytest.raises(OperatorError, match="is issued by itself") as refused:
        site.call("cert.dane.next", name="gw")
    assert "wait_for_dane" in refused.value.hint


def test_a_certificate_that_stands_nowhere_has_no_places(site: Bench) -> None:
    assert site.call("cert.dane", name="Demo")["places"] == []
    with pytest.raises(OperatorError, match="no certificate named nope"):
        site.call("cert.dane", name="nope")


# --- before a certificate is taken ------------------------------------------------------------------


def test_a_new_key_is_taken_two_ttls_after_its_record(site: Bench, dns: DnsAuthority) -> None:
    publish(dns, CURRENT)
    site.call("cert.dane.next", name="gw")
    file = signed_next(site)
    with pytest.raises(OperatorError, match=rf"not taken yet: no TLSA record at {OWNER}") as refused:
        site.call("cert.install", name="gw", file=file)
    assert "gatepost cert dane gw" in refused.value.hint
    assert refused.value.code is Exit.REFUSED
    coming = next_record(site)
    publish(dns, CURRENT, coming)
    with pytest.raises(OperatorError, match=r"two TTLs \(2 x 600 s\), until 2027-01-15T08:20:01Z") as refused:
        site.call("cert.install", name="gw", file=file)
    assert "from 2027-01-15T08:20:01Z on" in refused.value.hint
    assert place(site)["coming"]["at"] == "2027-01-15T08:20:01Z"
    site.clock.at += 2 * TTL - 1
    with pytest.raises(OperatorError):
        site.call("cert.install", name="gw", file=file)
    site.clock.at += 2
    assert place(site)["coming"]["possible"]
    answer = site.call("cert.install", name="gw", file=file)
    assert answer["warnings"] == []
    found = place(site)
    assert found["ok"]
    (was,) = [row for row in found["published"] if row["role"] == "earlier"]
    assert "can be removed from" in was["text"]
    site.clock.at += 2 * TTL
    assert ": can be removed" in next(r["text"] for r in place(site)["published"] if r["role"] == "earlier")


def test_forced_it_is_taken_with_a_warning(site: Bench, dns: DnsAuthority) -> None:
    publish(dns, CURRENT)
    site.call("cert.dane.next", name="gw")
    before = site.versions()
    answer = site.call("cert.install", name="gw", file=signed_next(site), force=True)
    (warning,) = answer["warnings"]
    assert (warning["path"], warning["severity"]) == (OWNER, "warning")
    assert "activated all the same: no TLSA record" in warning["text"]
    assert site.versions() == before + 1


def test_an_import_over_it_is_refused_like_an_installation(site: Bench, dns: DnsAuthority) -> None:
    publish(dns, CURRENT)
    other = b64(pem_of(TestAuthority().issue(["mx.example.net"])))
    with pytest.raises(OperatorError, match="not taken yet"):
        site.call("cert.import", name="gw", file=other, replace=True)
    assert site.call("cert.import", name="gw", file=other, replace=True, force=True)["warnings"]


def test_the_same_key_and_no_records_wait_for_nothing(site: Bench, dns: DnsAuthority) -> None:
    site.call("cert.dane.next", name="gw")
    answer = site.call("cert.install", name="gw", file=signed_next(site))
    assert (answer["warnings"], answer["pending"]) == ([], False)
    publish(dns, of_key(profile(site).leaf.public_key_der))
    opened = load_private_key(site.opens("gw"))
    renewed = CA.issue(["mx.example.net"], key=opened)  # type: ignore[arg-type]
    assert site.call("cert.install", name="gw", file=b64(renewed.chain_pem))["warnings"] == []


def test_where_dns_is_silent_only_those_who_published_before_are_held_up(
    site: Bench, dns: DnsAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dane_view, "TRY_SECONDS", (0.05, 0.05))
    site.call("cert.dane.next", name="gw")
    file = signed_next(site)
    publish(dns, CURRENT)
    place(site)
    dns.behave("*", Behaviour.REFUSED)
    with pytest.raises(OperatorError, match="no name server") as refused:
        site.call("cert.install", name="gw", file=file)
    assert "--force" in refused.value.hint
    site.store.put_metas({"tlsa mx.example.net 25": None})
    answer = site.call("cert.install", name="gw", file=file)
    assert any("could not be told" in text for text in answer["notes"])


def test_what_an_automatic_certificate_waits_with_is_shown(site: Bench, dns: DnsAuthority) -> None:
    from gatepost.certs.acme_vault import AcmeVault, Ready
    from gatepost.pki.profile import Origin, make_profile
    from gatepost.store.secrets import LocalKeeper

    section = "acme: {directory: 'https://acme.example/d', terms_agreed: true, certificates: [{name: gw, names: [mx.example.net]}]}\n"
    site.apply(document(dns) + section)
    new = CA.issue(["mx.example.net"])
    made = make_profile(
        "gw", new.chain_der[0], load_private_key(new.key_pem), intermediates=new.chain_der[1:],
        origin=Origin.AUTOMATIC, created=site.clock.at,
    )  # fmt: skip
    vault = AcmeVault(site.store, LocalKeeper(site.key), site.clock)
    asyncio.run(vault.put_ready("gw", Ready(made, "wish")))
    publish(dns, CURRENT)
    found = site.call("cert.dane", name="gw")
    assert found["coming"] == "issued"
    assert found["activation"]["verdict"] == "missing"
    (line,) = [row for row in found["places"][0]["publish"] if row["role"] == "next"]
    assert line["data"] == of_key(made.leaf.public_key_der).text()
