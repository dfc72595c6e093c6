"""RFC 9525 names: what matches, and above all what does not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority

from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki import names as names_module
from gatepost.pki.names import PresentedNames, match_names, presented_names, read_names

CA = TestAuthority()


def matches(presented: PresentedNames | bytes, name: str, *, is_address: bool = False) -> str:
    found = match_names(presented, [ReferenceName(name, NameSource.OPERATOR, is_address)])
    return found.presented if found else ""


@pytest.mark.parametrize(
    ("presented", "reference", "found"),
    [
        ("mx.example.net", "mx.example.net", True),
        ("MX.Example.NET", "mx.example.net", True),
        ("mx.example.net", "MX.example.net.", True),
        ("mx.example.net", "mx.example.com", False),
        ("example.net", "mx.example.net", False),
        ("*.example.net", "mx.example.net", True),
        ("*.EXAMPLE.net", "mx.example.net", True),
        ("*.example.net", "a.mx.example.net", False),
        ("*.example.net", "example.net", False),
        ("*.example.net", ".example.net", False),
        ("*.example", "mx.example", False),
        ("*", "example", False),
        ("*.", "mx.", False),
        ("f*.example.net", "foo.example.net", False),
        ("*f.example.net", "of.example.net", False),
        ("mx.*.example.net", "mx.a.example.net", False),
        ("*.*.example.net", "a.b.example.net", False),
        ("*.example.net", "*.example.net", False),
        ("*.example.net", "xn--bcher-kva.example.net", True),
        ("xn--bcher-kva.example.net", "xn--bcher-kva.example.net", True),
        ("bücher.example.net", "xn--bcher-kva.example.net", False),
        ("mx.example.net.", "mx.example.net", False),
        ("good.example.net\0.evil.example", "good.example.net", False),
        ("good.example.net\0.evil.example", "good.example.net\0.evil.example", False),
        (" mx.example.net", "mx.example.net", False),
        ("", "mx.example.net", False),
        ("m\u212a.example.net", "mk.example.net", False),
        ("192.0.2.7", "192.0.2.7", False),
        ("*.0.2.7", "192.0.2.7", False),
    ],
)
def test_dns_names(presented: str, reference: str, found: bool) -> None:
    assert bool(matches(PresentedNames(dns=(presented,)), reference)) is found
    if "\0" not in presented:
        assert bool(matches(PresentedNames(common_name=presented), reference)) is found


def test_the_common_name_counts_only_without_a_dns_name() -> None:
    with_san = CA.issue(["other.example.net"], common_name="mx.example.net").chain_der[0]
    assert matches(with_san, "mx.example.net") == ""
    cn_only = CA.issue(["mx.example.net"], san=False).chain_der[0]
    assert matches(cn_only, "mx.example.net") == "CN:mx.example.net"
    only_address = CA.issue(["192.0.2.7"], common_name="mx.example.net").chain_der[0]
    assert matches(only_address, "mx.example.net") == "CN:mx.example.net"


@pytest.mark.parametrize(
    "raw", [b"good.example.net\0.evil", b"good.example.net\n", b"g\xc3\xb6od.example.net"]
)
def test_hostile_entries_match_nothing_and_hide_the_common_name(raw: bytes) -> None:
    der = CA.issue(["good.example.net"], raw_names=[raw]).chain_der[0]
    assert matches(der, "good.example.net") == ""


def test_a_good_entry_beside_a_hostile_one_counts() -> None:
    der = CA.issue(["x.example"], raw_names=[b"a\0b", b"good.example.net"]).chain_der[0]
    assert matches(der, "good.example.net") == "DNS:good.example.net"


def test_addresses_match_by_their_octets_and_never_as_names() -> None:
    der = CA.issue(["192.0.2.7", "2001:db8::1"]).chain_der[0]
    assert matches(der, "192.0.2.7", is_address=True) == "IP:192.0.2.7"
    assert matches(der, "2001:DB8:0::1", is_address=True) == "IP:2001:db8::1"
    assert matches(der, "192.0.2.8", is_address=True) == ""
    assert matches(der, "::ffff:192.0.2.7", is_address=True) == ""
    assert matches(der, "192.0.2.7") == ""
    assert matches(der, "not an address", is_address=True) == ""
    as_name = CA.issue(["x.example"], raw_names=[b"192.0.2.7"], common_name="192.0.2.7").chain_der[0]
    assert matches(as_name, "192.0.2.7", is_address=True) == ""


def test_the_first_reference_in_order_is_the_match() -> None:
    references = [
        ReferenceName("none.example", NameSource.OPERATOR),
        ReferenceName("b.example.net", NameSource.DNSSEC),
        ReferenceName("a.example.net", NameSource.INSECURE_DNS),
    ]
    found = match_names(PresentedNames(dns=("a.example.net", "*.example.net")), references)
    assert found is not None
    assert (found.reference, found.presented) == (references[1], "DNS:*.example.net")


def test_what_cannot_be_read_matches_nothing() -> None:
    assert match_names(b"garbage", [ReferenceName("a.example", NameSource.OPERATOR)]) is None


def test_a_certificate_that_is_shown_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    load = names_module.load_certificate
    monkeypatch.setattr(names_module, "load_certificate", lambda der: read.append(der) or load(der))
    der = TestAuthority().issue(["mx.example"]).chain_der[0]
    reference = ReferenceName("mx.example", NameSource.OPERATOR)
    for _ in range(3):
        assert match_names(der, [reference]) is not None
    assert read == [der]


def test_names_are_shown_escaped_and_bounded() -> None:
    leaf = CA.issue(["x.example"], raw_names=[b"a\0b\r\nICID 1 close", b"\x1b[2J.example"]).leaf
    assert presented_names(leaf) == ("DNS:a\\x00b\\x0d\\x0aICID 1 close", "DNS:\\x1b[2J.example")
    assert presented_names(CA.issue(["only.example"], san=False).leaf) == ("CN:only.example",)
    many = read_names(CA.issue([f"n{n}.example" for n in range(100)]).leaf)
    assert len(many.dns) == 100
    assert len(many.texts(10)) == 10
    mixed = PresentedNames(("a.example",), (ipaddress.ip_address("192.0.2.7"),), "cn")
    assert mixed.texts() == ("DNS:a.example", "IP:192.0.2.7")


LABELS = st.lists(st.text(alphabet="ab-*.\0é", max_size=4), max_size=4).map(".".join)


@settings(max_examples=100)
@given(presented=LABELS, reference=LABELS)
def test_a_match_is_the_name_itself_or_one_label_under_a_wildcard(presented: str, reference: str) -> None:
    if not matches(PresentedNames(dns=(presented,)), reference):
        return
    name = reference.removesuffix(".")
    assert "*" not in name
    assert presented == name or presented == "*." + name.partition(".")[2]
