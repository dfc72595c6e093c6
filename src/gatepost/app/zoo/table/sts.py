"""C36 and D7: MTA-STS policies, their records and their web servers (RFC 8461), alone and beside DANE. `mx` is the host's name."""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.app.zoo.table.expect import (
    ENCRYPTED,
    REFUSED,
    STS,
    VERIFIED,
    Expected,
    but,
    by_policy,
    fine,
    hosted_only,
    no_tls,
    untrusted,
)
from gatepost.app.zoo.table.names import MISMATCH
from gatepost.app.zoo.table.sessions import NOT_OFFERED
from gatepost.app.zoo.table.shape import DnsFault, Fault, Host, Inhabitant, Policy, StruckOut, WebFault, Zone

VERSION, ENFORCE, TESTING = "version: STSv1", "mode: enforce", "mode: testing"
HOST, DAY = "mx: {mx}", "max_age: 86400"
PLAIN = (VERSION, ENFORCE, HOST, DAY)

HEEDED = by_policy(fine(), VERIFIED, "verified yes: {mx} (MTA-STS)")
UNLISTED = by_policy(fine(), REFUSED, "the MTA-STS policy of {domain} does not name {mx}")
SELF_SIGNED = untrusted("self-signed certificate")
BAD = by_policy(SELF_SIGNED, REFUSED, "verify error: MTA-STS: self-signed certificate")


def _one(
    name: str,
    wrong: str,
    policy: Policy,
    expected: Expected,
    *,
    does: str = "proper",
    shows: str = "good",
    zone: Zone = Zone.DARK,
    tlsa: tuple[str, ...] = (),
    records: Mapping[str, Mapping[str, tuple[str, ...]]] | None = None,
    faults: tuple[Fault, ...] = (),
    cases: str = "C36",
) -> Inhabitant:
    return Inhabitant(
        name=name,
        cases=tuple(cases.split()),
        wrong=wrong,
        hosts=(Host(does, shows),),
        zone=zone,
        tlsa=tlsa,
        records=records or {},
        faults=faults,
        policy=policy,
        expected=expected,
    )


def _lines(*lines: str) -> Policy:
    return Policy(lines)


def _unread(name: str, wrong: str, policy: Policy) -> Inhabitant:
    """A policy that does not count: the host, which it would refuse, is used."""
    return _one(name, wrong, policy, SELF_SIGNED, shows="self-signed")


def _read(name: str, wrong: str, policy: Policy) -> Inhabitant:
    """A policy that counts, however odd: the host is refused."""
    return _one(name, wrong, policy, BAD, shows="self-signed")


HOSTS = (
    _one("sts-enforce", "Nothing: an enforced policy, a good host.", Policy(PLAIN), HEEDED),
    _one(
        "sts-no-starttls",
        "An enforced policy, and no STARTTLS.",
        Policy(PLAIN),
        by_policy(no_tls(NOT_OFFERED), REFUSED, NOT_OFFERED),
        does="no-starttls",
    ),
    _read("sts-self-signed", "An enforced policy, a certificate signed by itself.", Policy(PLAIN)),
    _one(
        "sts-expired",
        "An enforced policy, an expired certificate.",
        Policy(PLAIN),
        by_policy(
            untrusted("certificate has expired"), REFUSED, "verify error: MTA-STS: certificate has expired"
        ),
        shows="expired",
    ),
    _one(
        "sts-wrong-name",
        "An enforced policy, a certificate of another host.",
        Policy(PLAIN),
        by_policy(untrusted(MISMATCH), REFUSED, "verify error: MTA-STS: host name mismatch: {mx}"),
        shows="wrong-name",
    ),
    _one(
        "sts-domain-only",
        "The certificate carries the domain, not the host that the policy names.",
        Policy(PLAIN),
        by_policy(fine(), REFUSED, "verify error: MTA-STS: host name mismatch: {mx}"),
        shows="domain-only",
    ),
    _one(
        "sts-name-in-cn",
        "The host's name stands in the CN only.",
        Policy(PLAIN),
        by_policy(
            hosted_only(MISMATCH),
            REFUSED,
            "verify error: MTA-STS: host name mismatch",
        ),
        shows="mx-in-cn",
    ),
    _one(
        "sts-pattern-not-host",
        "The certificate is of a host that the policy names, not of this one.",
        _lines(VERSION, ENFORCE, "mx: *.{domain}", DAY),
        by_policy(untrusted(MISMATCH), REFUSED, "verify error: MTA-STS: host name mismatch: {mx}"),
        shows="sibling",
    ),
    _one(
        "sts-testing",
        "A policy in testing, and a bad certificate: delivered.",
        _lines(VERSION, TESTING, HOST, DAY),
        SELF_SIGNED,
        shows="self-signed",
    ),
    _one(
        "sts-testing-clear",
        "A policy in testing, and no STARTTLS: delivered.",
        _lines(VERSION, TESTING, HOST, DAY),
        no_tls(NOT_OFFERED),
        does="no-starttls",
    ),
    _one(
        "sts-none",
        "The policy says none, and a bad certificate: delivered.",
        _lines(VERSION, "mode: none", DAY),
        SELF_SIGNED,
        shows="self-signed",
    ),
)
PATTERNS = (
    _one(
        "sts-unlisted",
        "The policy names another host.",
        _lines(VERSION, ENFORCE, "mx: mx.other.example", DAY),
        UNLISTED,
    ),
    _one(
        "sts-wildcard",
        "Nothing: a wildcard for the host.",
        _lines(VERSION, ENFORCE, "mx: *.{domain}", DAY),
        HEEDED,
    ),
    _one(
        "sts-wildcard-deep",
        "A wildcard that would need two labels.",
        _lines(VERSION, ENFORCE, "mx: *.dark.example", DAY),
        UNLISTED,
    ),
    _one(
        "sts-trailing-dot",
        "A dot behind the host's name.",
        _lines(VERSION, ENFORCE, "mx: {mx}.", DAY),
        HEEDED,
    ),
    _one(
        "sts-upper-case",
        "The host's name in other letters.",
        _lines(VERSION, ENFORCE, "mx: MX.Sts-Upper-Case.DARK.example", DAY),
        HEEDED,
    ),
    _one(
        "sts-u-label",
        "A host name with a letter that is not ASCII, beside the right one.",
        _lines(VERSION, ENFORCE, "mx: mü.{domain}", HOST, DAY),
        HEEDED,
    ),
)
FILES = (
    _read("sts-line-feeds", "Lines end with LF.", Policy(PLAIN, end="\n")),
    _read(
        "sts-twice",
        "A key stands twice: the first counts.",
        _lines(VERSION, ENFORCE, "mode: none", HOST, DAY),
    ),
    _read("sts-unknown-key", "A key that nobody knows.", _lines(VERSION, "colour: blue", ENFORCE, HOST, DAY)),
    _read(
        "sts-long-age",
        "A max_age of more than a year counts as a year.",
        _lines(VERSION, ENFORCE, HOST, "max_age: 9999999999"),
    ),
    _unread(
        "sts-age-zero",
        "A max_age of 0: over as soon as it is fetched.",
        _lines(VERSION, ENFORCE, HOST, "max_age: 0"),
    ),
    _unread("sts-no-age", "No max_age.", _lines(VERSION, ENFORCE, HOST)),
    _unread("sts-no-version", "No version.", _lines(ENFORCE, HOST, DAY)),
    _unread("sts-no-host", "Names no host.", _lines(VERSION, ENFORCE, DAY)),
    _unread("sts-mode", "A mode that nobody knows.", _lines(VERSION, "mode: strict", HOST, DAY)),
    _unread("sts-html", "The file is HTML.", Policy(PLAIN, web=WebFault.TYPE)),
    _unread("sts-large", "The file is longer than 64 KiB.", Policy(PLAIN, web=WebFault.LARGE)),
    _unread("sts-cut", "The file breaks off.", Policy(PLAIN, web=WebFault.BREAKS_OFF)),
    _unread("sts-compressed", "The file is compressed.", Policy(PLAIN, web=WebFault.COMPRESSED)),
    _unread("sts-missing", "404 in place of the file.", Policy(PLAIN, web=WebFault.MISSING)),
    _unread("sts-redirect", "A redirect, which is not followed.", Policy(PLAIN, web=WebFault.REDIRECT)),
)
RECORDS = (
    _read(
        "sts-parts", "The TXT record comes in several strings.", Policy(PLAIN, records=("v=STS|v1; id|=1;",))
    ),
    _read(
        "sts-other-record",
        "Another TXT record beside it.",
        Policy(PLAIN, records=("v=STSv1; id=1;", "hello")),
    ),
    _unread("sts-two-records", "Two records.", Policy(PLAIN, records=("v=STSv1; id=1;", "v=STSv1; id=2;"))),
    _unread("sts-no-record", "No record.", Policy(PLAIN, records=())),
    _unread("sts-bad-id", "An id that is none.", Policy(PLAIN, records=("v=STSv1; id=not-one!;",))),
    _one(
        "sts-record-servfail",
        "SERVFAIL for the record: no policy, and no doubt either.",
        Policy(PLAIN),
        untrusted("self-signed certificate", Zone.OWN),
        shows="self-signed",
        zone=Zone.OWN,
        faults=(Fault("_mta-sts", "TXT", DnsFault.SERVFAIL),),
    ),
)
SERVERS = (
    _unread("sts-web-gone", "The web server is not there.", Policy(PLAIN, address="198.51.100.81")),
    _unread(
        "sts-web-loopback", "The web server is at a loopback address.", Policy(PLAIN, address="127.0.0.1")
    ),
    _unread("sts-web-private", "The web server is at a private address.", Policy(PLAIN, address="10.1.2.3")),
    _unread(
        "sts-web-expired", "The web server's certificate has expired.", Policy(PLAIN, shows="web-expired")
    ),
    _unread(
        "sts-web-other", "The web server's certificate is of another name.", Policy(PLAIN, shows="web-other")
    ),
    _unread(
        "sts-web-stranger",
        "The web server's certificate is of an authority that nobody knows.",
        Policy(PLAIN, shows="web-stranger"),
    ),
    _unread("sts-web-cn", "The web server's name stands in the CN only.", Policy(PLAIN, shows="web-cn")),
)
BESIDE_DANE = (
    _one(
        "dane-wrong-sts-right",
        "The certificate is as the policy wants it, and not of the TLSA record.",
        Policy(PLAIN),
        but(
            fine(Zone.SIGNED),
            ("sts", VERIFIED, "verified yes: {mx} (MTA-STS)"),
            (
                "dane dane-mandatory dane-sts",
                REFUSED,
                "verify error: certificate is not of the TLSA records of {mx}",
            ),
        ),
        zone=Zone.SIGNED,
        tlsa=("3 1 1 other",),
        cases="C36 D7",
    ),
    _one(
        "dane-unknown-sts-right",
        "The certificate is as the policy wants it, and the TLSA records cannot be looked up.",
        Policy(PLAIN),
        but(
            fine(Zone.SIGNED),
            ("sts", VERIFIED, "verified yes: {mx} (MTA-STS)"),
            ("dane dane-mandatory dane-sts", REFUSED, "its TLSA records could not be looked up"),
        ),
        zone=Zone.OWN,
        tlsa=("3 1 1 leaf",),
        faults=(Fault("_25._tcp.mx", "TLSA", DnsFault.SERVFAIL),),
        cases="C36 D7",
    ),
    _one(
        "dane-right-sts-wrong",
        "The certificate is of the TLSA record, and not as the policy wants it.",
        Policy(PLAIN),
        but(
            untrusted("self-signed certificate", Zone.SIGNED),
            ("sts", REFUSED, "verify error: MTA-STS: self-signed certificate"),
            ("dane dane-mandatory dane-sts", VERIFIED, "verified yes: DANE-EE 3 1 1"),
        ),
        zone=Zone.SIGNED,
        tlsa=("3 1 1 leaf",),
        shows="self-signed",
        cases="C36 D7",
    ),
    _one(
        "dane-useless-sts-wrong",
        "No TLSA record is usable, and the certificate is not as the policy wants it.",
        Policy(PLAIN),
        but(
            untrusted("self-signed certificate", Zone.SIGNED),
            (STS, REFUSED, "verify error: MTA-STS: self-signed certificate"),
            ("dane", ENCRYPTED, ""),
            ("dane-mandatory", REFUSED, "none of the TLSA records of {mx} is usable"),
        ),
        zone=Zone.SIGNED,
        tlsa=("1 1 1 leaf",),
        shows="self-signed",
        cases="C36 D7",
    ),
    _one(
        "dane-absent-sts-right",
        "No TLSA records, and the certificate is as the policy wants it.",
        Policy(PLAIN),
        by_policy(fine(Zone.SIGNED), VERIFIED, "verified yes: {mx} (MTA-STS)"),
        zone=Zone.SIGNED,
        cases="C36 D7",
    ),
)

INHABITANTS = (*HOSTS, *PATTERNS, *FILES, *RECORDS, *SERVERS, *BESIDE_DANE)
STRUCK_OUT = (
    StruckOut(
        "C36",
        "policies that change: none replaces a cached one, a new id, the web server gone with and without a policy in the cache",
        "they need time and a second look: tests/relay/test_sts.py, tests/live/test_mta_sts.py",
    ),
    StruckOut("C36", "a web server that drips", "the look takes a minute by design: tests/net/test_http.py"),
)
