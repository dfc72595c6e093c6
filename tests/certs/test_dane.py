"""Where TLSA records stand, which are to be published, and what the published ones cover."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority

from gatepost.certs.dane import (
    Place,
    Shown,
    covering,
    covers,
    issuer_records,
    key_records,
    places,
    places_of,
    useful,
)
from gatepost.config.load import load_plain
from gatepost.core.tlsa import UNREADABLE, Matching, Selector, Tlsa, Usage, association, of_issuer, of_key
from gatepost.pki.certificate import read_certificate

NOW = 1_800_000_000.0
HOST = "mx.example.net"
AUTHORITY = TestAuthority().intermediate()
START = {"start": NOW - 86_400, "end": NOW + 90 * 86_400}


def issue(*names: str, **how: Any) -> Issued:
    import datetime

    moments = {key: datetime.datetime.fromtimestamp(at, datetime.UTC) for key, at in START.items()}
    return AUTHORITY.issue(list(names) or [HOST], **{**moments, **how})


def shown(issued: Issued, name: str = "gw") -> Shown:
    return Shown(name, read_certificate(issued.chain_der[0]).public_key_der, issued.chain_der)


ONE, OTHER = shown(issue()), shown(issue())


def document(**sections: Any) -> Any:
    base: dict[str, Any] = {
        "system": {"hostname": "gw.example.net"},
        "interfaces": [
            {"name": "Data 1", "address": "127.0.0.1", "hostname": HOST},
            {"name": "Data 2", "address": "127.0.0.2"},
        ],
        "listeners": [listener("In", certificate="gw")],
    }
    return load_plain({**base, **sections})


def listener(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "interface": "Data 1", "port": 2525, **keys}


# --- where ------------------------------------------------------------------------------------------


def test_a_public_listener_stands_at_port_25_whatever_its_own_is() -> None:
    assert places(document()) == {Place(HOST): ("gw",)}
    assert Place(HOST).owner == "_25._tcp.mx.example.net"


def test_private_and_implicit_listeners_and_short_names_stand_nowhere() -> None:
    rows = [
        listener("Out", type="private", port=2587),
        listener("Old", tls="implicit", port=465),
    ]
    assert places(document(listeners=rows)) == {}
    short = [{"name": "Data 1", "address": "127.0.0.1", "hostname": "localhost"}]
    assert places(document(interfaces=short)) == {}


def test_names_of_sni_have_places_of_their_own_and_wildcards_none() -> None:
    sni = [
        {"name": "mx2.example.net", "certificate": "two"},
        {"name": "*.example.org", "certificate": "wild"},
        {"name": HOST, "certificate": "byname"},
    ]
    found = places(document(listeners=[listener("In", certificate="gw", sni=sni)]))
    assert found == {Place(HOST): ("byname",), Place("mx2.example.net"): ("two",)}


def test_two_listeners_behind_one_name_are_one_place() -> None:
    rows = [
        listener("In", certificate="gw"),
        listener("Two", certificate="two", interface="Data 2", port=2526),
        listener("Three", certificate="gw", port=2527),
    ]
    interfaces = [
        {"name": "Data 1", "address": "127.0.0.1", "hostname": HOST},
        {"name": "Data 2", "address": "127.0.0.2", "hostname": "MX.example.NET"},
    ]
    made = document(listeners=rows, interfaces=interfaces)
    assert places(made) == {Place(HOST): ("gw", "two")}
    assert places_of(made, "two") == {Place(HOST): ("gw", "two")}
    assert places_of(made, "three") == {}


def test_an_operator_says_another_host_or_port_or_none() -> None:
    sni = [{"name": "*.example.org", "certificate": "wild"}]
    rows = [
        listener("In", certificate="gw", sni=sni),
        listener("Submission", type="private", port=2587, certificate="sub"),
        listener("Quiet", port=2526),
    ]
    services = [
        {"name": "a", "listener": "In", "host": "mx1.example.org"},
        {"name": "b", "listener": "In"},
        {"name": "c", "listener": "Submission", "port": 587, "host": "mail.example.net"},
        {"name": "d", "listener": "Quiet", "published": False},
    ]
    found = places(document(listeners=rows, tlsa={"services": services}))
    assert found == {
        Place("mx1.example.org"): ("wild",),
        Place(HOST): ("gw",),
        Place("mail.example.net", 587): ("sub",),
    }


# --- what covers what -------------------------------------------------------------------------------


def record(one: Shown, usage: int, selector: int, matching: int, *, place: int = 0) -> Tlsa:
    certificate = read_certificate(one.chain[place])
    data = association(certificate.der, certificate.public_key_der, Selector(selector), Matching(matching))
    return Tlsa(usage, selector, matching, data)


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
def test_a_record_of_the_certificate_or_its_key_covers_it_whatever_its_name_and_date(
    selector: int, matching: int
) -> None:
    made = record(ONE, Usage.DANE_EE, selector, matching)
    assert covers(made, ONE, "elsewhere.example", NOW + 10**9)
    assert not covers(made, OTHER, HOST, NOW)


def test_a_record_of_the_issuer_asks_for_name_and_date_and_that_it_is_sent() -> None:
    made = record(ONE, Usage.DANE_TA, 1, 1, place=1)
    assert covers(made, ONE, HOST, NOW)
    assert covers(made, OTHER, HOST, NOW)
    assert not covers(made, ONE, "elsewhere.example", NOW)
    assert not covers(made, ONE, HOST, NOW + 10**9)
    assert not covers(made, replace(ONE, chain=ONE.chain[:1]), HOST, NOW)


def test_a_key_alone_is_covered_by_records_of_keys_only() -> None:
    key = Shown("gw", ONE.public_key)
    assert covers(of_key(ONE.public_key), key, HOST, NOW)
    assert covers(record(ONE, 3, 1, 2), key, HOST, NOW)
    assert not covers(record(ONE, 3, 0, 1), key, HOST, NOW)
    assert not covers(record(ONE, 2, 1, 1), key, HOST, NOW)


def test_usages_that_smtp_does_not_know_cover_nothing() -> None:
    for usage in (0, 1, 7):
        assert not covers(record(ONE, usage, 1, 1), ONE, HOST, NOW)
    assert not useful([record(ONE, 1, 1, 1), Tlsa(3, 1, 1, b"short"), UNREADABLE])
    assert useful([record(ONE, 1, 1, 1), of_key(ONE.public_key)])


def test_peers_heed_the_strongest_digest_only() -> None:
    """RFC 7671 §9: a `3 1 1` of the new key beside a `3 1 2` of the old one helps nobody."""
    weak, strong = record(ONE, 3, 1, 1), record(OTHER, 3, 1, 2)
    assert covering([weak, strong], ONE, HOST, NOW) == ()
    assert covering([weak, strong, record(ONE, 3, 1, 2)], ONE, HOST, NOW) == (record(ONE, 3, 1, 2),)
    assert covering([weak, record(OTHER, 3, 0, 2)], ONE, HOST, NOW) == (weak,)


def test_what_is_to_be_published() -> None:
    assert key_records([ONE, OTHER, ONE]) == (of_key(ONE.public_key), of_key(OTHER.public_key))
    issuer = of_issuer(read_certificate(ONE.chain[1]).public_key_der)
    assert issuer_records([ONE, OTHER], HOST, NOW) == (issuer,)


def test_an_issuer_is_no_choice_where_the_name_is_not_in_the_certificate_or_it_is_not_sent() -> None:
    assert issuer_records([ONE], "elsewhere.example", NOW) == ()
    assert issuer_records([replace(ONE, chain=ONE.chain[:1])], HOST, NOW) == ()
