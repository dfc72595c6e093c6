"""C35, second half, with D1 to D4, D7, D8 and D10: what DNS and DNSSEC do. The host is a good one, and its records are right."""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.app.zoo.table.expect import (
    BOUNCED,
    ENCRYPTED,
    REFUSED,
    UNVALIDATED,
    VERIFIED,
    Expected,
    Line,
    but,
    by_dane,
    fine,
    unbelieved,
    unreached,
)
from gatepost.app.zoo.table.shape import DnsFault, Fault, Inhabitant, StruckOut, Zone

OWN, SIGNED = Zone.OWN, Zone.SIGNED
TLSA = "_25._tcp.mx"
RIGHT = by_dane(fine(SIGNED), VERIFIED, "verified yes: DANE-EE 3 1 1")
UNKNOWN = by_dane(fine(SIGNED), REFUSED, "its TLSA records could not be looked up: TLSA of {mx}")
SOFT = unreached(REFUSED, "DNS Soft Error looking up {domain} (MX)")
TAKEN_IN: tuple[Line, ...] = (
    ("dane-unvalidated", ENCRYPTED, ""),
    ("dane-mandatory-unvalidated", REFUSED, UNVALIDATED),
)
"""Only who validates sees that something is wrong."""

_EE = ("3 1 1 leaf",)


def _one(
    name: str,
    cases: str,
    wrong: str,
    expected: Expected,
    *,
    zone: Zone = SIGNED,
    tlsa: tuple[str, ...] = _EE,
    records: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None,
    faults: tuple[Fault, ...] = (),
    unasked: bool = False,
    lines: tuple[Line, ...] = (),
) -> Inhabitant:
    return Inhabitant(
        name=name,
        cases=tuple(cases.split()),
        wrong=wrong,
        expected=unbelieved(expected, *lines),
        zone=zone,
        tlsa=tlsa,
        records=records or {},
        faults=faults,
        unasked=unasked,
    )


def _answers_tlsa(name: str, wrong: str, what: DnsFault, expected: Expected, zone: Zone = OWN) -> Inhabitant:
    return _one(name, "C35 D1", wrong, expected, zone=zone, faults=(Fault(TLSA, "TLSA", what),))


RECORDS = (
    _one("tlsa-absent", "C35 D1", "No TLSA records, which is proven (NXDOMAIN).", fine(SIGNED), tlsa=()),
    _one(
        "tlsa-no-data",
        "C35 D1",
        "Records of another type in their place, which is proven.",
        fine(SIGNED),
        tlsa=(),
        records={TLSA: {"TXT": ('"no TLSA here"',)}},
    ),
    _answers_tlsa("tlsa-servfail", "SERVFAIL for the TLSA records.", DnsFault.SERVFAIL, UNKNOWN),
    _answers_tlsa("tlsa-silent", "No answer for the TLSA records.", DnsFault.SILENT, UNKNOWN),
    _answers_tlsa("tlsa-garbage", "An answer that is no DNS message.", DnsFault.GARBAGE, UNKNOWN),
    _answers_tlsa("tlsa-bogus", "A signature that does not hold.", DnsFault.BOGUS, UNKNOWN),
    _answers_tlsa("tlsa-unsigned", "The signatures were taken away.", DnsFault.UNSIGNED, UNKNOWN),
    _answers_tlsa(
        "tlsa-denied", "The records are denied, with a proof for another name.", DnsFault.NXDOMAIN, UNKNOWN
    ),
    _answers_tlsa("tlsa-truncated", "Cut over UDP, whole over TCP.", DnsFault.TRUNCATED, RIGHT),
    _one(
        "ent-denied",
        "C35",
        "The name between, which has no records, is said not to exist.",
        RIGHT,
        zone=OWN,
        faults=(Fault("_tcp.mx", "", DnsFault.NXDOMAIN),),
    ),
    _one(
        "tlsa-alias",
        "C35",
        "The TLSA records stand behind a CNAME.",
        RIGHT,
        tlsa=(),
        records={TLSA: {"CNAME": ("_dane.{domain}.",)}, "_dane": {"TLSA": _EE}},
    ),
    _one(
        "tlsa-alias-dark",
        "C35",
        "The CNAME leads into a zone that is not signed.",
        fine(SIGNED),
        tlsa=(),
        records={
            TLSA: {"CNAME": ("_dane.tlsa-alias-dark.dark.example.",)},
            "_dane.tlsa-alias-dark.dark.example.": {"TLSA": _EE},
        },
    ),
)
ADDRESSES = (
    _one(
        "host-alias",
        "C35 D4",
        "The MX host is a CNAME, and the records stand at its target.",
        RIGHT,
        tlsa=(),
        records={
            "mx": {"CNAME": ("host.{domain}.",)},
            "host": {"A": ("{address}",)},
            "_25._tcp.host": {"TLSA": _EE},
        },
    ),
    _one(
        "host-alias-first",
        "C35 D4",
        "The MX host is a CNAME, and the records stand at its own name.",
        RIGHT,
        records={"mx": {"CNAME": ("host.{domain}.",)}, "host": {"A": ("{address}",)}},
    ),
    _one(
        "host-alias-dark",
        "C35 D4",
        "The MX host is a CNAME into a zone that is not signed; the records stand at its own name.",
        RIGHT,
        records={
            "mx": {"CNAME": ("mx.host-alias-dark.dark.example.",)},
            "mx.host-alias-dark.dark.example.": {"A": ("{address}",)},
        },
    ),
    _one(
        "aaaa-bogus",
        "C35 D3",
        "The signature of AAAA does not hold; that of A does.",
        RIGHT,
        records={"mx": {"A": ("{address}",), "AAAA": ("2001:db8::25",)}},
        faults=(Fault("mx", "AAAA", DnsFault.BOGUS),),
    ),
    _one(
        "aaaa-servfail",
        "C35 D3",
        "SERVFAIL for AAAA, a signed A.",
        RIGHT,
        zone=OWN,
        faults=(Fault("mx", "AAAA", DnsFault.SERVFAIL),),
    ),
    _one(
        "a-bogus",
        "C35 D10",
        "The signature of the only address does not hold.",
        unreached(REFUSED, "DNS Soft Error looking up {mx} (A)"),
        faults=(Fault("mx", "A", DnsFault.BOGUS),),
        lines=TAKEN_IN,
    ),
    _one(
        "unsigned-host",
        "C35 D2",
        "The zone is not signed, and its server answers SERVFAIL for TLSA.",
        fine(Zone.OWN_DARK),
        zone=Zone.OWN_DARK,
        tlsa=(),
        faults=(Fault(TLSA, "", DnsFault.SERVFAIL),),
        unasked=True,
    ),
    _one(
        "unsigned-records",
        "C35 D2",
        "The zone is not signed, and holds a wrong TLSA record.",
        fine(Zone.DARK),
        zone=Zone.DARK,
        tlsa=("3 1 1 other",),
        unasked=True,
    ),
)
EXCHANGERS = (
    _one(
        "smart-mx",
        "C35 D8",
        "The MX records are not signed, the host that they name is.",
        but(
            fine(Zone.DARK),
            (
                "dane dane-sts",
                ENCRYPTED,
                "verified no: DANE-EE 3 1 1 of mx.smart-mx.zoo.example, a name from unsigned DNS",
            ),
            ("dane-mandatory", REFUSED, "the MX records of {domain} are not signed"),
        ),
        zone=Zone.DARK,
        tlsa=(),
        records={
            "@": {"MX": ("10 mx.smart-mx.zoo.example.",)},
            "mx.smart-mx.zoo.example.": {"A": ("{address}",)},
            "_25._tcp.mx.smart-mx.zoo.example.": {"TLSA": _EE},
        },
    ),
    _one(
        "smart-mx-wrong",
        "C35 D8",
        "The same with a wrong record.",
        but(
            fine(Zone.DARK),
            (
                "dane dane-sts",
                REFUSED,
                "certificate is not of the TLSA records of mx.smart-mx-wrong.zoo.example",
            ),
            ("dane-mandatory", REFUSED, "the MX records of {domain} are not signed"),
        ),
        zone=Zone.DARK,
        tlsa=(),
        records={
            "@": {"MX": ("10 mx.smart-mx-wrong.zoo.example.",)},
            "mx.smart-mx-wrong.zoo.example.": {"A": ("{address}",)},
            "_25._tcp.mx.smart-mx-wrong.zoo.example.": {"TLSA": ("3 1 1 other",)},
        },
    ),
    _one(
        "mx-bogus",
        "C35 D10",
        "A zone whose signatures are of another key than its parent says.",
        SOFT,
        zone=Zone.BOGUS,
        lines=TAKEN_IN,
    ),
    _one(
        "mx-servfail",
        "C35",
        "SERVFAIL for the MX records.",
        SOFT,
        zone=OWN,
        faults=(Fault("@", "MX", DnsFault.SERVFAIL),),
    ),
    _one(
        "implicit-mx",
        "C35",
        "No MX records: the domain is its own host.",
        RIGHT,
        tlsa=(),
        records={"@": {"A": ("{address}",)}, "_25._tcp": {"TLSA": _EE}},
    ),
    _one(
        "null-mx",
        "C35",
        "The domain takes no mail (null MX).",
        unreached(BOUNCED, "accepts no mail"),
        tlsa=(),
        records={"@": {"MX": ("0 .",)}},
    ),
    _one(
        "mx-localhost",
        "C35",
        "The MX record names localhost.",
        unreached(BOUNCED, "loops back to this gateway"),
        tlsa=(),
        records={"@": {"MX": ("10 localhost.",)}},
    ),
    _one(
        "mx-loopback",
        "C35",
        "The MX host has a loopback address.",
        unreached(BOUNCED, "loopback address"),
        tlsa=(),
        records={"mx": {"A": ("127.0.0.2",)}},
    ),
    _one(
        "mx-private",
        "C35",
        "The MX host has a private address.",
        unreached(BOUNCED, "private address"),
        tlsa=(),
        records={"mx": {"A": ("10.1.2.3",)}},
    ),
    _one(
        "mx-missing",
        "C35",
        "The MX host does not exist.",
        unreached(BOUNCED, "DNS Hard Error looking up gone.{domain} (A)"),
        tlsa=(),
        records={"@": {"MX": ("10 gone.{domain}.",)}},
    ),
)

INHABITANTS = (*RECORDS, *ADDRESSES, *EXCHANGERS)
STRUCK_OUT = (
    StruckOut(
        "D10",
        "an AD flag from a resolver off this machine",
        "both resolvers of the zoo are on it; the columns of the one that does not validate are all about D10 else:"
        " tests/net/test_dns_trust.py, tests/app/test_name_server_job.py",
    ),
)
