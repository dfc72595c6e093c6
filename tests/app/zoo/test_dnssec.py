"""The zoo's signed zones hold before a validator that is not ours, and what is made to be broken is."""

from __future__ import annotations

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from gatepost.app.zoo.certificates import Keepers, Names, make
from gatepost.app.zoo.nameserver import World
from gatepost.app.zoo.places import NAME_SERVER, places
from gatepost.app.zoo.table import INHABITANTS, Inhabitant
from gatepost.app.zoo.zones import BROKEN, Known, build, name_of, tlsa_text

CHOSEN = (
    "keeper",
    "ee-311",
    "length-0",
    "tlsa-servfail",
    "tlsa-silent",
    "tlsa-truncated",
    "tlsa-bogus",
    "hundred",
)
CHOSEN += ("unsigned-host", "mx-bogus", "host-alias", "sts-parts", "tlsa-denied", "good")


def inhabitant(name: str) -> Inhabitant:
    return next(one for one in INHABITANTS if one.name == name)


@pytest.fixture(scope="module")
def known() -> Known:
    chosen = [inhabitant(name) for name in CHOSEN]
    keepers = Keepers()
    shown = {
        one.name: [make(host.shows, keepers, Names(one.domain, one.mx)) for host in one.hosts]
        for one in chosen
    }
    return build(chosen, places(chosen), shown)


def ask(
    world: World, name: str, kind: str, *, address: str = NAME_SERVER, tcp: bool = True
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, want_dnssec=True)
    octets = world.answer(address, query.to_wire(), tcp=tcp)[2]
    assert octets, "no answer"
    return dns.message.from_wire(octets)


def keys_of(world: World, zone: str, address: str = NAME_SERVER) -> dict[dns.name.Name, dns.rrset.RRset]:
    answer = ask(world, zone, "DNSKEY", address=address)
    return {name_of(zone): next(one for one in answer.answer if one.rdtype == dns.rdatatype.DNSKEY)}


def validate(
    sections: list[dns.rrset.RRset], keys: dict[dns.name.Name, dns.rrset.RRset]
) -> list[dns.rdatatype.RdataType]:
    """Validates every RRset with its signature; the types. Raises ValidationFailure."""
    plain = [one for one in sections if one.rdtype != dns.rdatatype.RRSIG]
    for rrset in plain:
        (signature,) = [
            one
            for one in sections
            if one.rdtype == dns.rdatatype.RRSIG and one.covers == rrset.rdtype and one.name == rrset.name
        ]
        dns.dnssec.validate(rrset, signature, keys)
    return [one.rdtype for one in plain]


@pytest.mark.parametrize("zone", [".", "example", "zoo.example"])
def test_each_zone_is_signed_by_the_key_that_its_parent_names(known: Known, zone: str) -> None:
    keys = keys_of(known.world, zone)
    validate(ask(known.world, zone, "DNSKEY").answer, keys)
    validate(ask(known.world, zone, "SOA").answer, keys)
    if zone == ".":
        assert dns.dnssec.make_ds(dns.name.root, keys[dns.name.root][0], "SHA256").to_text() in known.anchor
        return
    parent = zone.partition(".")[2] or "."
    answer = ask(known.world, zone, "DS").answer
    validate(answer, keys_of(known.world, parent))
    assert dns.dnssec.make_ds(name_of(zone), keys[name_of(zone)][0], "SHA256") in answer[0]


def test_answers_are_signed(known: Known) -> None:
    keys = keys_of(known.world, "zoo.example")
    for name, kind in (
        ("ee-311.zoo.example", "MX"),
        ("mx.ee-311.zoo.example", "A"),
        ("_25._tcp.mx.ee-311.zoo.example", "TLSA"),
        ("mx.host-alias.zoo.example", "CNAME"),
    ):
        validate(ask(known.world, name, kind).answer, keys)
    assert len(ask(known.world, "_25._tcp.mx.hundred.zoo.example", "TLSA").answer[0]) == 100


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        ("mx.ee-311.zoo.example", "AAAA", dns.rcode.NOERROR),
        ("_tcp.mx.ee-311.zoo.example", "A", dns.rcode.NOERROR),  # exists only between others
        ("_25._tcp.mx.keeper.zoo.example", "TLSA", dns.rcode.NXDOMAIN),
        ("aaa.zoo.example", "A", dns.rcode.NXDOMAIN),
        ("zzz.zzz.zoo.example", "A", dns.rcode.NXDOMAIN),
    ],
)
def test_absence_is_proven(known: Known, name: str, kind: str, rcode: dns.rcode.Rcode) -> None:
    answer = ask(known.world, name, kind)
    assert answer.rcode() == rcode
    assert not answer.answer
    assert answer.flags & dns.flags.AA
    types = validate(answer.authority, keys_of(known.world, "zoo.example"))
    assert dns.rdatatype.SOA in types
    proofs = [one for one in answer.authority if one.rdtype == dns.rdatatype.NSEC]
    asked = dns.name.from_text(name)
    assert any(_covers(proof, asked) or proof.name == asked for proof in proofs)
    for proof in proofs:
        if proof.name == asked:
            assert f" {kind} " not in f"{proof[0]} "


def _covers(proof: dns.rrset.RRset, name: dns.name.Name) -> bool:
    return proof.name < name and (name < proof[0].next or proof[0].next == name_of("zoo.example"))


def test_a_delegation_that_is_not_signed_is_proven_to_be_none(known: Known) -> None:
    answer = ask(known.world, "dark.example", "DS")
    assert not answer.answer
    validate(answer.authority, keys_of(known.world, "example"))
    proof = next(one for one in answer.authority if one.rdtype == dns.rdatatype.NSEC)
    assert (proof.name, "DS" in str(proof[0]), "NS" in str(proof[0])) == (
        name_of("dark.example"),
        False,
        True,
    )
    plain = ask(known.world, "good.dark.example", "MX")
    assert [one.rdtype for one in plain.answer] == [dns.rdatatype.MX]


def test_a_zone_on_another_server_is_referred_to(known: Known) -> None:
    referral = ask(known.world, "mx.tlsa-servfail.zoo.example", "A")
    assert not referral.flags & dns.flags.AA
    assert not referral.answer
    types = [one.rdtype for one in referral.authority]
    assert dns.rdatatype.NS in types
    assert dns.rdatatype.DS in types
    (glue,) = referral.additional
    own = known.world.zones[glue[0].address]
    assert list(own) == [name_of("tlsa-servfail.zoo.example")]
    unsigned = ask(known.world, "mx.unsigned-host.zoo.example", "A")
    assert dns.rdatatype.NSEC in [one.rdtype for one in unsigned.authority]


def test_a_bogus_zone_does_not_have_the_key_that_its_parent_names(known: Known) -> None:
    one = places([inhabitant(name) for name in CHOSEN])["mx-bogus"]
    keys = keys_of(known.world, "mx-bogus.zoo.example", one.name_server)
    said = ask(known.world, "mx-bogus.zoo.example", "DS").answer[0]
    ours = dns.dnssec.make_ds(name_of("mx-bogus.zoo.example"), next(iter(keys.values()))[0], "SHA256")
    assert ours not in said


@pytest.mark.parametrize("name", [BROKEN, "_25._tcp.mx.tlsa-bogus.zoo.example"])
def test_a_broken_signature_does_not_hold(known: Known, name: str) -> None:
    where = places([inhabitant(one) for one in CHOSEN])
    own = name != BROKEN
    address = where["tlsa-bogus"].name_server if own else NAME_SERVER
    answer = ask(known.world, name, "TLSA" if own else "A", address=address)
    with pytest.raises(dns.dnssec.ValidationFailure):
        validate(
            answer.answer, keys_of(known.world, "tlsa-bogus.zoo.example" if own else "zoo.example", address)
        )


def test_faults_are_those_of_the_table(known: Known) -> None:
    where = places([inhabitant(one) for one in CHOSEN])

    def tlsa(name: str, *, tcp: bool = False) -> bytes:
        query = dns.message.make_query(f"_25._tcp.mx.{name}.zoo.example", "TLSA", want_dnssec=True)
        return known.world.answer(where[name].name_server, query.to_wire(), tcp=tcp)[2]

    assert dns.message.from_wire(tlsa("tlsa-servfail")).rcode() == dns.rcode.SERVFAIL
    assert tlsa("tlsa-silent") == b""
    assert dns.message.from_wire(tlsa("tlsa-truncated")).flags & dns.flags.TC
    assert dns.message.from_wire(tlsa("tlsa-truncated", tcp=True)).answer
    denied = dns.message.from_wire(tlsa("tlsa-denied"))
    assert denied.rcode() == dns.rcode.NXDOMAIN


def test_what_is_too_long_for_udp_is_cut(known: Known) -> None:
    answer = ask(known.world, "_25._tcp.mx.hundred.zoo.example", "TLSA", tcp=False)
    assert answer.flags & dns.flags.TC
    assert not answer.answer


def test_records_that_no_library_writes_and_names_of_policies(known: Known) -> None:
    short = known.world.zones[NAME_SERVER][name_of("zoo.example")]
    found = short.find(name_of("_25._tcp.mx.length-0.zoo.example"), dns.rdatatype.TLSA, signed=False)
    assert [record.to_generic().data for record in found.answer[0]] == [b""]
    record = ask(known.world, "_mta-sts.sts-parts.dark.example", "TXT").answer[0][0]
    assert record.strings == (b"v=STS", b"v1; id", b"=1;")


def test_what_is_no_question_is_none(known: Known) -> None:
    for octets in (b"", b"\0" * 12, b"no DNS at all, but long enough"):
        with pytest.raises(dns.exception.DNSException):
            known.world.answer(NAME_SERVER, octets, tcp=False)


def test_records_name_what_is_shown() -> None:
    shown = [make("private", Keepers(), Names("a.example", "mx.a.example"))]
    assert tlsa_text("3 1 1 other", shown) == f"3 1 1 {'5a' * 32}"
    assert tlsa_text("3 1 2 other", shown) == f"3 1 2 {'5a' * 64}"
    assert tlsa_text("3 0 0 leaf", shown) == f"3 0 0 {shown[0].leaf.hex()}"
    assert tlsa_text("2 0 0 issuer", shown) == f"2 0 0 {shown[0].chain[1].hex()}"
    assert tlsa_text("raw 0301", shown) == "raw 0301"
    assert tlsa_text("4 1 1 leaf", shown).startswith("4 1 1 ")
