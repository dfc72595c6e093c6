"""A zone, signed while it is asked: records, cuts, signatures, and proofs of what is not there (RFC 4034, RFC 4035).

Each zone has one key for everything (P-256, flags KSK and ZSK in one). Signatures are made at the first question and kept; the
zones of the zoo are small and never change. Absence is proven by NSEC records, a chain of which goes through all owner
names of a zone; the names between them (`_tcp.mx`) exist without records.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm, DSDigest
from dns.name import Name
from dns.rdatatype import RdataType

TTL = 300
_DAY = 86_400
_IN = dns.rdataclass.IN
_KSK = 257  # RFC 4034 §2.1.1: zone key, secure entry point


class ZoneKey:
    """The signing key of one zone."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self.record = dns.dnssec.make_dnskey(
            self._private.public_key(), Algorithm.ECDSAP256SHA256, flags=_KSK
        )

    def signature(self, zone: Name, rrset: dns.rrset.RRset) -> dns.rdata.Rdata:
        """The RRSIG of one RRset, valid from yesterday for a month."""
        now = int(time.time())
        return dns.dnssec.sign(
            rrset, self._private, zone, self.record, inception=now - _DAY, expiration=now + 30 * _DAY
        )

    def delegation(self, zone: Name) -> dns.rdtypes.ANY.DS.DS:
        """The DS record that stands in the zone above."""
        return dns.dnssec.make_ds(zone, self.record, DSDigest.SHA256)


@dataclass(frozen=True, slots=True)
class Cut:
    """A zone that was given away: the name of its server, the server's address, and its DS record if it is signed."""

    server: Name
    address: str
    ds: dns.rdata.Rdata | None = None


@dataclass(slots=True)
class Found:
    """What a zone has to say: sections of an answer. `missing` is NXDOMAIN, `authoritative` False a referral."""

    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)
    missing: bool = False
    authoritative: bool = True


class Zone:
    """One zone. `key` None: not signed. Add records and cuts, then ask."""

    def __init__(self, origin: Name, server: Name, key: ZoneKey | None) -> None:
        self.origin = origin
        self.key = key
        self.cuts: dict[Name, Cut] = {}
        self._nodes: dict[Name, dict[RdataType, dns.rrset.RRset]] = {}
        self._signatures: dict[tuple[Name, RdataType], dns.rrset.RRset] = {}
        self._order: list[Name] = []
        self._above: set[Name] = set()
        self.add(origin, "SOA", [f"{server} root.{server} 1 3600 600 86400 {TTL}"])
        self.add(origin, "NS", [str(server)])
        if key is not None:
            self._put(origin, [key.record])

    # --- making ----------------------------------------------------------------------------------

    def add(self, name: Name, kind: str, texts: Iterable[str]) -> None:
        """Records in the form of a zone file; `raw HEX` are octets that no library would write."""
        rdtype = dns.rdatatype.from_text(kind)
        self._put(name, [_record(rdtype, text) for text in texts])

    def cut(self, name: Name, cut: Cut) -> None:
        """Give a zone away."""
        self.cuts[name] = cut
        self._put(name, [dns.rdata.from_text(_IN, "NS", str(cut.server))])
        if cut.ds is not None:
            self._put(name, [cut.ds])

    def _put(self, name: Name, records: list[dns.rdata.Rdata]) -> None:
        types = self._nodes.setdefault(name, {})
        for record in records:
            rrset = types.setdefault(record.rdtype, dns.rrset.RRset(name, _IN, record.rdtype))
            rrset.add(record, TTL)
        self._order.clear()
        above = name
        while above != self.origin:
            above = above.parent()
            self._above.add(above)

    # --- asking ----------------------------------------------------------------------------------

    def find(self, name: Name, kind: RdataType, *, signed: bool) -> Found:
        """The answer of this zone for a name in it; `signed`: with signatures and proofs (the DO bit)."""
        signed = signed and self.key is not None
        cut = self._cut_above(name)
        if cut is not None and not (kind == dns.rdatatype.DS and name == cut):
            return self._referral(cut, signed=signed)
        types = self._nodes.get(name)
        for wanted in (kind, dns.rdatatype.CNAME):
            if types and wanted in types:
                found = Found(answer=[types[wanted]])
                if signed:
                    found.answer.append(self.signature(types[wanted]))
                return found
        return self._absence(name, exists=types is not None or name in self._above, signed=signed)

    def signature(self, rrset: dns.rrset.RRset) -> dns.rrset.RRset:
        """The RRSIG RRset of an RRset."""
        assert self.key is not None
        place = (rrset.name, rrset.rdtype)
        made = self._signatures.get(place)
        if made is None:
            made = dns.rrset.RRset(rrset.name, _IN, dns.rdatatype.RRSIG, rrset.rdtype)
            made.add(self.key.signature(self.origin, rrset), rrset.ttl)
            self._signatures[place] = made
        return made

    def _cut_above(self, name: Name) -> Name | None:
        while name != self.origin and name != dns.name.root:
            if name in self.cuts:
                return name
            name = name.parent()
        return None

    def _referral(self, name: Name, *, signed: bool) -> Found:
        types, cut = self._nodes[name], self.cuts[name]
        found = Found(authority=[types[dns.rdatatype.NS]], authoritative=False)
        if signed and cut.ds is not None:
            delegation = types[dns.rdatatype.DS]
            found.authority += [delegation, self.signature(delegation)]
        elif signed:
            found.authority += self._proof(name)
        found.additional.append(dns.rrset.from_text(cut.server, TTL, _IN, "A", cut.address))
        return found

    def _absence(self, name: Name, *, exists: bool, signed: bool) -> Found:
        soa = self._nodes[self.origin][dns.rdatatype.SOA]
        found = Found(authority=[soa], missing=not exists)
        if not signed:
            return found
        found.authority.append(self.signature(soa))
        proofs = self._proof(name)
        if not exists:
            encloser = name
            while encloser not in self._nodes and encloser not in self._above:
                encloser = encloser.parent()
            wildcard = dns.name.from_text("*", encloser)
            proofs += [proof for proof in self._proof(wildcard) if proof not in proofs]
        found.authority += proofs
        return found

    def _proof(self, name: Name) -> list[dns.rrset.RRset]:
        """The NSEC record at a name, or the one that covers it, and its signature (RFC 4035 §3.1.3)."""
        if not self._order:
            self._order = sorted(self._nodes)
        at = bisect.bisect_right(self._order, name) - 1
        owner, following = self._order[at], self._order[(at + 1) % len(self._order)]
        kinds = set(self._nodes[owner]) | {dns.rdatatype.NSEC, dns.rdatatype.RRSIG}
        if owner in self.cuts:
            kinds -= {kind for kind in kinds if kind not in _AT_A_CUT}
        words = " ".join(dns.rdatatype.to_text(kind) for kind in sorted(kinds))
        made = dns.rrset.from_text(owner, TTL, _IN, "NSEC", f"{following} {words}")
        return [made, self.signature(made)]


_AT_A_CUT = frozenset((dns.rdatatype.NS, dns.rdatatype.DS, dns.rdatatype.NSEC, dns.rdatatype.RRSIG))


def _record(rdtype: RdataType, text: str) -> dns.rdata.Rdata:
    if text.startswith("raw"):
        return dns.rdata.GenericRdata(_IN, rdtype, bytes.fromhex(text.removeprefix("raw")))
    return dns.rdata.from_text(_IN, rdtype, text)


def broken_signature(rrsig: dns.rrset.RRset) -> dns.rrset.RRset:
    """The same with one bit of the signature changed."""
    made = dns.rrset.RRset(rrsig.name, rrsig.rdclass, rrsig.rdtype, rrsig.covers)
    for record in rrsig:
        signature = record.signature[:-1] + bytes((record.signature[-1] ^ 1,))
        made.add(record.replace(signature=signature), rrsig.ttl)
    return made


def deepest(zones: Mapping[Name, Zone], name: Name, kind: RdataType) -> Zone | None:
    """The zone that answers for a name, of those that one server has. A DS record belongs to the zone above (RFC 4035 §3.1.4.1)."""
    if kind == dns.rdatatype.DS and name in zones and name != dns.name.root:
        above = deepest(zones, name.parent(), dns.rdatatype.SOA)
        if above is not None:
            return above
    while name not in zones:
        if name == dns.name.root:
            return None
        name = name.parent()
    return zones[name]
