"""C35, first half, with D5 and D6: the TLSA records of a signed host, and the certificate that it shows (RFC 7672 §3)."""

from __future__ import annotations

from gatepost.app.zoo.table.expect import (
    ENCRYPTED,
    PV,
    REFUSED,
    VERIFIED,
    Expected,
    but,
    by_dane,
    fine,
    no_tls,
    unbelieved,
    untrusted,
    unusable,
)
from gatepost.app.zoo.table.sessions import NOT_OFFERED, UNEXPECTED
from gatepost.app.zoo.table.shape import Host, Inhabitant, Zone

SIGNED = Zone.SIGNED
STRANGE = untrusted("unable to get local issuer certificate", SIGNED)
NOT_OF_RECORDS = "verify error: certificate is not of the TLSA records of {mx}"
ISSUERS_NOT = "verify error: issuers are not of the TLSA records of {mx}"
_OTHERS = tuple(f"3 1 1 {number:064x}" for number in range(1, 100))


def _one(
    name: str,
    wrong: str,
    tlsa: tuple[str, ...],
    expected: Expected,
    *,
    shows: str = "good",
    does: str = "proper",
    cases: str = "C35",
) -> Inhabitant:
    return Inhabitant(
        name=name,
        cases=tuple(cases.split()),
        wrong=wrong,
        hosts=(Host(does, shows),),
        zone=SIGNED,
        tlsa=tlsa,
        expected=unbelieved(expected),
    )


def _right(record: str, base: Expected | None = None) -> Expected:
    kind = "DANE-EE" if record.startswith("3") else "DANE-TA"
    return by_dane(base or fine(SIGNED), VERIFIED, f"verified yes: {kind} {record}")


def _wrong(reason: str = NOT_OF_RECORDS, base: Expected | None = None) -> Expected:
    return by_dane(base or fine(SIGNED), REFUSED, reason)


def _useless(why: str) -> Expected:
    return unusable(fine(SIGNED), why)


END_ENTITY = (
    _one("ee-311", "Nothing: the digest of its key.", ("3 1 1 leaf",), _right("3 1 1")),
    _one("ee-301", "Nothing: the digest of its certificate.", ("3 0 1 leaf",), _right("3 0 1")),
    _one("ee-312", "Nothing: SHA-512 of its key.", ("3 1 2 leaf",), _right("3 1 2")),
    _one("ee-302", "Nothing: SHA-512 of its certificate.", ("3 0 2 leaf",), _right("3 0 2")),
    _one("ee-310", "Nothing: its whole key.", ("3 1 0 leaf",), _right("3 1 0")),
    _one("ee-300", "Nothing: its whole certificate.", ("3 0 0 leaf",), _right("3 0 0")),
    _one("ee-wrong", "The digest of another key.", ("3 1 1 other",), _wrong()),
    _one("ee-issuer", "The issuer's key as that of the host.", ("3 1 1 issuer",), _wrong()),
    _one(
        "ee-self-signed",
        "Signed by itself; the record is of its key.",
        ("3 1 1 leaf",),
        _right("3 1 1", untrusted("self-signed certificate", SIGNED)),
        shows="self-signed",
    ),
    _one(
        "ee-anyhow",
        "Signed by itself, expired, of another name; the record is of its key.",
        ("3 1 1 leaf",),
        _right("3 1 1", untrusted("self-signed certificate", SIGNED)),
        shows="wrong-name-expired",
        cases="C35 D6",
    ),
    _one(
        "ee-client-only",
        "Good for clients only; the record is of its key.",
        ("3 1 1 leaf",),
        _right("3 1 1", untrusted("extended key usage does not include server authentication", SIGNED)),
        shows="client-only",
        cases="C35 D6",
    ),
)
TRUST_ANCHOR = (
    _one(
        "ta-211",
        "Nothing: the key of its private issuer.",
        ("2 1 1 issuer",),
        _right("2 1 1", STRANGE),
        shows="private",
        cases="C35 D6",
    ),
    _one(
        "ta-201",
        "Nothing: its private issuer's certificate.",
        ("2 0 1 issuer",),
        _right("2 0 1", STRANGE),
        shows="private",
    ),
    _one(
        "ta-211-root",
        "Nothing: the key of its private root, which is sent.",
        ("2 1 1 root",),
        _right("2 1 1", untrusted("self-signed certificate in certificate chain", SIGNED)),
        shows="private-root-sent",
    ),
    _one(
        "ta-201-root-not-sent",
        "The digest of the root, which is not sent.",
        ("2 0 1 root",),
        _wrong(ISSUERS_NOT, STRANGE),
        shows="private",
    ),
    _one(
        "ta-200-root-not-sent",
        "The whole root stands in DNS, and is not sent.",
        ("2 0 0 root",),
        _right("2 0 0", STRANGE),
        shows="private",
    ),
    _one(
        "ta-210-root-not-sent",
        "The whole key of the root stands in DNS, and the root is not sent.",
        ("2 1 0 root",),
        _right("2 1 0", STRANGE),
        shows="private",
    ),
    _one(
        "ta-issuer-not-sent",
        "The digest of the issuer's key; the issuer is not sent.",
        ("2 1 1 issuer",),
        _wrong(ISSUERS_NOT, STRANGE),
        shows="private-leaf-only",
    ),
    _one(
        "ta-wrong-name",
        "The right issuer, another host's name.",
        ("2 1 1 issuer",),
        _wrong("verify error: host name mismatch: {mx}, {domain} not in DNS:mx.other.example", STRANGE),
        shows="private-wrong-name",
        cases="C35 D6",
    ),
    _one(
        "ta-domain-name",
        "The right issuer; the certificate carries the domain, not the host.",
        ("2 1 1 issuer",),
        _right("2 1 1"),
        shows="domain-only",
    ),
    _one(
        "ta-expired",
        "The right issuer, an expired certificate.",
        ("2 1 1 issuer",),
        _wrong("verify error: certificate has expired", untrusted("certificate has expired", SIGNED)),
        shows="expired",
        cases="C35 D6",
    ),
    _one("ta-wrong", "The key of another issuer.", ("2 1 1 other",), _wrong(ISSUERS_NOT)),
)
UNUSABLE = (
    _one(
        "pkix-only",
        "Only records that ask for public authorities.",
        ("0 1 1 issuer", "1 1 1 leaf"),
        _useless("usage 0 is not for SMTP; usage 1 is not for SMTP"),
        cases="C35 D5",
    ),
    _one(
        "pkix-clear",
        "The same, and no STARTTLS.",
        ("0 1 1 issuer", "1 1 1 leaf"),
        but(
            no_tls(NOT_OFFERED, SIGNED),
            ("dane dane-sts", REFUSED, NOT_OFFERED),
            ("dane-mandatory", REFUSED, "usage 0 is not for SMTP"),
        ),
        does="no-starttls",
        cases="C35 D5",
    ),
    _one(
        "usage-4", "A usage that nobody knows.", ("4 1 1 leaf",), _useless("unknown usage 4"), cases="C35 D5"
    ),
    _one("usage-255", "The private usage.", ("255 1 1 leaf",), _useless("unknown usage 255"), cases="C35 D5"),
    _one(
        "selector-2",
        "A selector that nobody knows.",
        ("3 2 1 leaf",),
        _useless("unknown selector 2"),
        cases="C35 D5",
    ),
    _one(
        "matching-3",
        "A digest that nobody knows.",
        ("3 1 3 leaf",),
        _useless("unknown matching type 3"),
        cases="C35 D5",
    ),
    _one(
        "length-0",
        "A record without an octet.",
        ("raw",),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-1",
        "A record of one octet.",
        ("raw 03",),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-2",
        "A record of two octets.",
        ("raw 0301",),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-3",
        "A record without a digest.",
        ("raw 030101",),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-19",
        "Half a digest.",
        ("raw 030101" + "5a" * 16,),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-34",
        "A digest that lacks an octet.",
        ("raw 030101" + "5a" * 31,),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "length-36",
        "A digest with an octet more.",
        ("raw 030101" + "5a" * 33,),
        _useless("a record that cannot be read"),
        cases="C35 D9",
    ),
    _one(
        "unusable-and-right",
        "A record for public authorities beside the right one.",
        ("1 1 1 other", "3 1 1 leaf"),
        _right("3 1 1"),
        cases="C35 D5",
    ),
    _one(
        "unusable-and-wrong",
        "A record for public authorities beside a wrong one.",
        ("1 1 1 leaf", "3 1 1 other"),
        _wrong(),
        cases="C35 D5",
    ),
    _one(
        "short-and-right",
        "A record of two octets beside the right one.",
        ("raw 0301", "3 1 1 leaf"),
        _right("3 1 1"),
        cases="C35 D9",
    ),
    _one(
        "short-and-wrong",
        "A record of two octets beside a wrong one.",
        ("raw 0301", "3 1 1 other"),
        _wrong(),
        cases="C35 D9",
    ),
)
SEVERAL = (
    _one(
        "rolling",
        "The next key's record beside the right one.",
        ("3 1 1 other", "3 1 1 leaf"),
        _right("3 1 1"),
    ),
    _one("hundred", "A hundred records, one of them right.", (*_OTHERS, "3 1 1 leaf"), _right("3 1 1")),
    _one(
        "agile",
        "SHA-512 is right and SHA-256 is wrong: the stronger counts.",
        ("3 1 1 other", "3 1 2 leaf"),
        _right("3 1 2"),
    ),
    _one(
        "agile-wrong",
        "SHA-256 is right and SHA-512 is wrong: the stronger counts.",
        ("3 1 1 leaf", "3 1 2 other"),
        _wrong(),
    ),
    _one(
        "ta-or-ee",
        "A wrong host's record beside the right issuer's.",
        ("3 1 1 other", "2 1 1 issuer"),
        _right("2 1 1"),
    ),
    _one(
        "two-keys-ecdsa",
        "Two certificates, and the record of the ECDSA one.",
        ("3 1 1 leaf",),
        _right("3 1 1"),
        shows="two-keys",
    ),
    _one(
        "two-keys-rsa",
        "Two certificates, and only the record of the one that is not shown.",
        ("3 1 1 also",),
        _wrong(),
        shows="two-keys",
    ),
)
STRIPPED = (
    _one(
        "dane-no-starttls",
        "TLSA records, and somebody took STARTTLS away.",
        ("3 1 1 leaf",),
        by_dane(no_tls(NOT_OFFERED, SIGNED), REFUSED, NOT_OFFERED),
        does="no-starttls",
    ),
    _one(
        "dane-454",
        "TLSA records, and STARTTLS is answered 454.",
        ("3 1 1 leaf",),
        by_dane(no_tls(UNEXPECTED, SIGNED), REFUSED, UNEXPECTED),
        does="starttls-454",
    ),
    Inhabitant(
        name="dane-second-host",
        cases=("C35",),
        wrong="The first host's certificate is not of its record; the second's is.",
        hosts=(Host(shows="self-signed"), Host()),
        zone=SIGNED,
        tlsa=("3 1 1 other",),
        records={"_25._tcp.mx2": {"TLSA": ("3 1 1 leaf2",)}},
        expected=unbelieved(
            but(
                by_dane(fine(SIGNED), VERIFIED, "verified yes: DANE-EE 3 1 1"),
                (PV, ENCRYPTED, "verified no: self-signed certificate"),
            )
        ),
    ),
)

INHABITANTS = (*END_ENTITY, *TRUST_ANCHOR, *UNUSABLE, *SEVERAL, *STRIPPED)
