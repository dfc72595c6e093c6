"""The section `acme`: values, references, and what cannot work, all told at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.config.documents import TODAY, document, listener, small

from gatepost.config.acme import AcmeChallenge, AcmeKey, parse_certificate_name
from gatepost.config.check import check
from gatepost.config.check_acme import challenge_addresses
from gatepost.config.examine import examine
from gatepost.config.load import load_plain, to_plain
from gatepost.config.values import Fault

DIRECTORY = "https://acme.example/directory"


def acme(*certificates: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A section that is sound, with some keys replaced."""
    known = certificates or ({"name": "mx", "names": ["mx.example.net"]},)
    return {"directory": DIRECTORY, "terms_agreed": True, "certificates": list(known), **keys}


def lines(section: dict[str, Any], *, warning: bool = False, **sections: Any) -> list[str]:
    found = examine(small(acme=section, **sections), {"Demo", "gw"}, TODAY)
    return [p.line() for p in found.problems if p.warning is warning]


def test_a_sound_section_has_no_problems_and_its_profile_exists() -> None:
    assert check(document(acme=acme(), listeners=[listener(certificate="mx")]), {"Demo", "gw"}, TODAY) == ()


def test_defaults() -> None:
    found = document(acme=acme()).acme
    assert (found.http_port, found.tls_port, found.renew_at) == (80, 443, 0.66)
    assert found.challenge_of(found.certificates[0]) is AcmeChallenge.HTTP
    assert found.certificates[0].key is AcmeKey.P256
    assert found.certificates[0].new_key
    assert found.certificate("gw") is None
    assert not document().acme.enabled


def test_the_written_form_reads_to_the_same() -> None:
    whole = acme(
        {"name": "mx", "names": ["*.example.net"], "key": "p384", "also": "rsa2048", "challenge": "dns-01",
         "profile": "shortlived", "preferred_chain": "Root X1", "new_key": False},
        contact="admin@example.net", eab={"key_id": "kid-1"}, challenge="tls-alpn-01", tls_port=8443, renew_at=0.5,
        interface="Data 1",
        dns={"server": "192.0.2.53", "zone": "example.net", "key_name": "gw-key", "algorithm": "hmac-sha512"},
    )  # fmt: skip
    once = load_plain(small(acme=whole))
    assert load_plain(to_plain(once)) == once
    assert check(once, {"Demo", "gw"}, TODAY) == ()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"directory": "http://acme.example/"}, "is not an https URL"),
        ({"directory": "https://"}, "is not a URL"),
        ({"directory": "https://a b/"}, "is not a URL"),
        ({"directory": "https://acme.example:99999/"}, "is not a URL"),
        ({"directory": "https://me@acme.example/"}, "has a user or a fragment"),
        ({"directory": "https://acme.example/\n"}, "cannot be printed"),
        ({"renew_at": 1}, "is not a fraction of a certificate's life"),
        ({"renew_at": True}, "is not a fraction of a certificate's life"),
        ({"renew_at": "0.5"}, "is not a fraction of a certificate's life"),
        ({"challenge": "http-02"}, "is not one of http-01, dns-01, tls-alpn-01"),
        ({"contact": "nobody"}, "acme.contact"),
        ({"http_port": 0}, "out of range"),
        ({"eab": {}}, "acme.eab.key_id: is missing"),
        ({"dns": {"hook": "update-dns"}}, "is not the full path of a program"),
        ({"hmac_key": "c2VjcmV0"}, "unknown key"),
    ],
)
def test_values_that_cannot_be_taken(keys: dict[str, Any], told: str) -> None:
    found = lines(acme(**keys))
    assert len(found) == 1
    assert told in found[0]
    assert found[0].startswith("acme.")


@pytest.mark.parametrize(
    "name",
    ["mx_1.example.net", "192.0.2.1", "localhost", "", "a..b.example", "*.*.example.net", "f*.example.net", "*",
     "mx.example.net\n", "mx example.net", "-mx.example.net", "a" * 64 + ".example"],
)  # fmt: skip
def test_what_is_no_name_for_a_certificate(name: str) -> None:
    found = lines(acme({"name": "mx", "names": [name]}))
    assert len(found) == 1
    assert found[0].startswith("acme.certificates[0].names[0]: ")
    assert found[0].endswith(")")


@given(st.text(max_size=40))
def test_a_name_is_taken_or_refused_and_never_changes_again(text: str) -> None:
    try:
        name = parse_certificate_name(text)
    except Fault:
        return
    assert parse_certificate_name(name) == name
    assert name.isascii()
    assert name.isprintable()
    assert "." in name


def test_names_are_compared_as_a_labels() -> None:
    found = lines(acme({"name": "mx", "names": ["MX.bücher.example", "mx.xn--bcher-kva.example."]}))
    assert found == [
        'acme.certificates[0].names[1]: "mx.xn--bcher-kva.example." is given twice (names are given once)'
    ]


def test_a_wildcard_needs_dns() -> None:
    found = lines(acme({"name": "mx", "names": ["mx.example.net", "*.example.net"]}))
    assert found == [
        "acme.certificates[0].names[1]: a wildcard can be proved by dns-01 only, not by http-01 "
        "(set challenge: dns-01, or name the hosts)"
    ]


def test_dns_needs_its_settings() -> None:
    assert lines(acme(challenge="dns-01")) == [
        "acme.dns: is not set, and certificates[0] is to be proved by dns-01 (set hook, or server with key_name)"
    ]
    assert lines(acme(challenge="dns-01", dns={"hook": "/usr/local/bin/dns"})) == []


def test_dns_settings_say_one_way_and_say_it_whole() -> None:
    assert lines(acme(dns={"algorithm": "hmac-sha384"})) == [
        "acme.dns: says neither hook nor server (set hook, or server with key_name)"
    ]
    assert lines(acme(dns={"hook": "/bin/true", "server": "192.0.2.1", "zone": "example.net"})) == [
        "acme.dns.hook: is set together with server (leave one of them out)",
        "acme.dns.key_name: is missing beside server (a dynamic update is authorised by a key; the key itself comes with `gatepost acme secret tsig`)",
    ]


def test_profiles_are_named_once() -> None:
    one = {"name": "mx", "names": ["mx.example.net"]}
    assert lines(acme(one, one)) == [
        'acme.certificates[1].name: "mx" is already the name of acme.certificates[0] (names are given once)'
    ]


def test_two_keys_are_of_different_kinds() -> None:
    found = lines(acme({"name": "mx", "names": ["mx.example.net"], "also": "p384"}))
    assert found == [
        "acme.certificates[0].also: is ECDSA like the key p256: no peer would need it "
        "(use rsa2048 beside p256, or leave it out)"
    ]


def test_terms_must_be_agreed_to() -> None:
    assert [line.partition(":")[0] for line in lines(acme(terms_agreed=False))] == ["acme.terms_agreed"]
    assert lines({"terms_agreed": False, "directory": DIRECTORY}) == []


def test_without_a_directory_nothing_is_issued_and_that_is_said() -> None:
    section = acme(directory="", terms_agreed=False)
    assert lines(section) == []
    assert lines(section, warning=True) == [
        "acme.directory: is not set: no certificate is issued, and self-signed ones stand in "
        "(give the URL of the authority's directory)"
    ]


def test_ports_of_challenges_must_be_free() -> None:
    assert lines(acme(http_port=25)) == [
        "acme.http_port: 25 is already taken by listener In, so http-01 cannot be answered "
        "(choose another port or challenge)"
    ]
    assert lines(acme(tls_port=25)) == []  # nobody uses that challenge
    https = {"name": "Data 1", "address": "192.0.2.1", "https": {"port": 443}}
    found = lines(acme(challenge="tls-alpn-01"), interfaces=[https])
    assert [line.partition(":")[0] for line in found] == ["acme.tls_port"]


def test_a_port_on_another_address_is_free() -> None:
    interfaces = [{"name": "Data 1", "address": "192.0.2.1"}, {"name": "Web", "address": "192.0.2.2"}]
    assert lines(acme(http_port=25, interface="Web"), interfaces=interfaces) == []
    assert lines(acme(interface="Wep"), interfaces=interfaces) == [
        'acme.interface: no interface named "Wep" (did you mean Web?)'
    ]


def test_the_two_ports_differ_where_both_are_used() -> None:
    other = {"name": "b", "names": ["b.example.net"], "challenge": "tls-alpn-01"}
    found = lines(acme({"name": "mx", "names": ["mx.example.net"]}, other, tls_port=80))
    assert [line.partition(":")[0] for line in found] == ["acme.tls_port"]


@pytest.mark.parametrize(
    ("addresses", "opened"),
    [
        (["192.0.2.1"], ("192.0.2.1",)),
        (["192.0.2.1", "2001:db8::1"], ("192.0.2.1", "2001:db8::1")),
        (["192.0.2.1", "0.0.0.0"], ("0.0.0.0",)),
        (["2001:db8::1", "0.0.0.0"], ("0.0.0.0", "2001:db8::1")),
        ([], ("0.0.0.0", "::")),
    ],
)
def test_where_challenges_are_answered(addresses: list[str], opened: tuple[str, ...]) -> None:
    interfaces = [{"name": f"D{index}", "address": address} for index, address in enumerate(addresses)]
    listeners = [
        listener(name=f"L{index}", interface=f"D{index}", port=2525 + index)
        for index in range(len(addresses))
    ]
    assert challenge_addresses(document(interfaces=interfaces, listeners=listeners)) == opened


def test_waiting_for_dane_needs_a_listener_that_has_records() -> None:
    section = acme({"name": "mx", "names": ["mx.example.net"], "wait_for_dane": True})
    warned = [
        "acme.certificates[0].wait_for_dane: no listener that has TLSA records shows it, so it waits for nothing "
        "(assign it to a public listener, or name the listener under tlsa.services)"
    ]
    private = listener(name="D1", certificate="mx", type="private")
    by_name = listener(name="D1", sni=[{"name": "mx.example.net", "certificate": "mx"}])
    service = {"name": "a", "listener": "D1"}
    assert lines(section, warning=True) == warned
    assert lines(section, warning=True, listeners=[private]) == warned
    assert lines(section, warning=True, listeners=[listener(name="D1", certificate="mx")]) == []
    assert lines(section, warning=True, listeners=[by_name]) == []
    assert lines(section, warning=True, listeners=[private], tlsa={"services": [service]}) == []
    quiet = {"services": [{**service, "published": False}]}
    assert lines(section, warning=True, listeners=[by_name], tlsa=quiet) == warned


def test_services_with_tlsa_records() -> None:
    rows = [
        {"name": "a", "listener": "D1", "host": "mx.example.org"},
        {"name": "a", "listener": "Nowhere"},
        {"name": "c", "listener": "D1", "published": False},
    ]
    found = lines({}, listeners=[listener(name="D1")], tlsa={"services": rows})
    assert [line.partition(" (")[0] for line in found] == [
        'tlsa.services[1].name: "a" is already the name of tlsa.services[0]',
        'tlsa.services[1].listener: no listener named "Nowhere"',
        "tlsa.services[2].published: records of D1 are published by another entry",
    ]


def test_all_faults_at_once() -> None:
    section = {
        "directory": "ftp://x",
        "certificates": [{"name": "mx", "names": ["*.example.net", "nonsense"]}, {"names": []}],
        "dns": {},
    }
    paths = [line.partition(":")[0] for line in lines(section)]
    assert paths == [
        "acme.directory",
        "acme.certificates[0].names[1]",
        "acme.certificates[1].name",
        "acme.certificates[0].names[0]",
        "acme.certificates[1].names",
        "acme.dns",
    ]
