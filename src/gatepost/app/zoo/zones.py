"""The zones of the zoo, made of the table: root, example, zoo.example (signed), dark.example (not), and those of single inhabitants.

An inhabitant gets MX, A and TLSA records and those of its MTA-STS policy; what its line says under `records` stands in their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dns.name
from dns.name import Name

from gatepost.app.zoo.certificates import Shown
from gatepost.app.zoo.dnssec import Cut, Zone, ZoneKey, deepest
from gatepost.app.zoo.nameserver import World
from gatepost.app.zoo.places import NAME_SERVER, NOBODY, WEB, Place
from gatepost.app.zoo.table.shape import DnsFault, Inhabitant
from gatepost.app.zoo.table.shape import Zone as Kind
from gatepost.core.tlsa import Matching, Selector, association
from gatepost.pki.certificate import read_certificate

SIGNED, DARK, BROKEN = "zoo.example", "dark.example", "broken.zoo.example"
"""`BROKEN` has an address whose signature does not hold: the name by which a resolver is tried."""

_OTHER = b"\x5a" * 64  # the digest of nothing that is shown here


@dataclass(frozen=True, slots=True)
class Known:
    """All zones, and the trust anchor: the root's DS record in the form of a zone file."""

    world: World
    anchor: str


def name_of(text: str) -> Name:
    return dns.name.from_text(text).canonicalize()


def build(
    inhabitants: Sequence[Inhabitant], where: Mapping[str, Place], shown: Mapping[str, Sequence[Shown]]
) -> Known:
    """The zones for these inhabitants, who are at `where` and show `shown` (one for each host)."""
    world, root_key = World(), ZoneKey()
    root = world.add(NAME_SERVER, Zone(dns.name.root, name_of("ns"), root_key))
    root.add(name_of("ns"), "A", [NAME_SERVER])
    example = _below(world, root, "example", ZoneKey())
    signed = _below(world, example, SIGNED, ZoneKey())
    _below(world, example, DARK, None)
    signed.add(name_of(BROKEN), "A", [NOBODY])
    world.faults[name_of(BROKEN), "A"] = DnsFault.BOGUS
    for one in inhabitants:
        _settle(world, signed, one, where[one.name], shown[one.name])
    return Known(world, f". IN DS {root_key.delegation(dns.name.root)}")


def _below(world: World, above: Zone, name: str, key: ZoneKey | None) -> Zone:
    """A zone on the main server, with its delegation."""
    origin, server = name_of(name), name_of(f"ns.{name}")
    zone = world.add(NAME_SERVER, Zone(origin, server, key))
    zone.add(server, "A", [NAME_SERVER])
    above.cut(origin, Cut(server, NAME_SERVER, key.delegation(origin) if key is not None else None))
    return zone


def _settle(world: World, above: Zone, one: Inhabitant, place: Place, shown: Sequence[Shown]) -> None:
    if one.zone.own:
        _own_zone(world, above, one, place)
    for owner, types in _records(one, place, shown).items():
        name = name_of(owner)
        zone = _home(world, name)
        for kind, texts in types.items():
            zone.add(name, kind, texts)
    for fault in one.faults:
        world.faults[name_of(_absolute(one, fault.name)), fault.kind] = fault.what


def _own_zone(world: World, above: Zone, one: Inhabitant, place: Place) -> None:
    origin, server = name_of(one.domain), name_of(f"ns.{one.domain}")
    key = ZoneKey() if one.zone.signed else None
    zone = world.add(place.name_server, Zone(origin, server, key))
    zone.add(server, "A", [place.name_server])
    said = ZoneKey() if one.zone is Kind.BOGUS else key
    above.cut(origin, Cut(server, place.name_server, said.delegation(origin) if said is not None else None))


def _home(world: World, name: Name) -> Zone:
    """The deepest zone of any server that holds this name."""
    found = [zone for zones in world.zones.values() if (zone := deepest(zones, name, dns.rdatatype.A))]
    return max(found, key=lambda zone: len(zone.origin))


def _absolute(one: Inhabitant, name: str) -> str:
    if name.endswith("."):
        return name
    return one.domain if name == "@" else f"{name}.{one.domain}"


def _records(one: Inhabitant, place: Place, shown: Sequence[Shown]) -> dict[str, dict[str, list[str]]]:
    """The records by owner name, in the form of a zone file."""
    hosts = ["mx" if number == 0 else f"mx{number + 1}" for number in range(len(one.hosts))]
    plain: dict[str, Mapping[str, Sequence[str]]] = {
        "@": {"MX": [f"{10 * (number + 1)} {host}.{one.domain}." for number, host in enumerate(hosts)]}
    }
    for host, address in zip(hosts, place.hosts, strict=True):
        plain[host] = {"A": [address]}
    if one.tlsa:
        plain["_25._tcp.mx"] = {"TLSA": one.tlsa}
    if one.policy is not None:
        if one.policy.records:
            plain["_mta-sts"] = {"TXT": [_quoted(text) for text in one.policy.records]}
        plain["mta-sts"] = {"A": [one.policy.address or WEB]}
    plain |= one.records
    filled = {
        "domain": one.domain,
        "address": place.hosts[0],
        "address2": place.hosts[-1],
        "web": WEB,
        "nobody": NOBODY,
    }
    made: dict[str, dict[str, list[str]]] = {}
    for name, types in plain.items():
        made[_absolute(one, name.format_map(filled))] = {
            kind: [
                tlsa_text(text, shown)
                if kind == "TLSA"
                else text.format_map(filled)
                if kind != "TXT"
                else text
                for text in texts
            ]
            for kind, texts in types.items()
        }
    return made


def _quoted(text: str) -> str:
    """Strings of a TXT record; `|` in the table's text parts them."""
    return " ".join(f'"{part}"' for part in text.split("|"))


def tlsa_text(text: str, shown: Sequence[Shown]) -> str:
    """`3 1 1 leaf` with the octets of what is shown; `raw HEX`, and octets that are given, stay as they are."""
    if text.startswith("raw"):
        return text
    usage, selector, matching, subject = text.split()
    what = {"leaf": shown[0].leaf, "issuer": shown[0].issuer, "root": shown[0].root, "leaf2": shown[-1].leaf}
    also = shown[0].also
    if also is not None:
        what["also"] = also.leaf
    if subject == "other":
        data = _OTHER[: 64 if matching == "2" else 32]
    elif subject in what:
        certificate = read_certificate(what[subject])
        data = association(
            certificate.der,
            certificate.public_key_der,
            Selector(int(selector)) if selector in "01" else Selector.PUBLIC_KEY,
            Matching(int(matching)) if matching in "012" else Matching.SHA256,
        )
    else:
        data = bytes.fromhex(subject)
    return f"{usage} {selector} {matching} {data.hex()}"
