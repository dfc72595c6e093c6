"""C34, first half: trust, dates, purposes, keys. The names are right."""

from __future__ import annotations

from gatepost.app.zoo.table.expect import Expected, broken, fine, untrusted
from gatepost.app.zoo.table.shape import Host, Inhabitant, StruckOut

NO_ISSUER = "unable to get local issuer certificate"


def _one(name: str, wrong: str, expected: Expected, *, shows: str = "", does: str = "proper") -> Inhabitant:
    hosts = (Host(does, shows or name),)
    return Inhabitant(name=name, cases=("C34",), wrong=wrong, hosts=hosts, expected=expected)


TRUST = (
    _one("self-signed", "Signed by itself.", untrusted("self-signed certificate")),
    _one("unknown-ca", "Of an authority that nobody knows.", untrusted(NO_ISSUER)),
    _one(
        "unknown-root-sent",
        "The same, and its root is sent along.",
        untrusted("self-signed certificate in certificate chain"),
    ),
    _one("same-name-ca", "Of an authority that only has the name of ours.", untrusted(NO_ISSUER)),
    _one("root-sent", "The root is sent along.", fine()),
    _one("missing-intermediate", "The intermediate is not sent.", untrusted(NO_ISSUER)),
    _one("duplicates", "Every certificate is sent twice.", fine()),
    _one("wrong-order", "Three intermediates in the wrong order.", fine()),
    _one("strangers", "Five certificates of strangers are sent along.", fine()),
    _one("chain-of-ten", "A chain of ten certificates.", fine()),
    _one("chain-of-twenty", "A chain of twenty certificates.", untrusted(NO_ISSUER)),
    _one("loop", "Two authorities that signed each other, and no root.", untrusted(NO_ISSUER)),
    _one("damaged", "A signature with one wrong bit.", untrusted("certificate signature failure")),
    _one("expired-intermediate", "The intermediate has expired.", untrusted("certificate has expired")),
    _one(
        "signed-by-leaf",
        "Issued by a certificate that is no authority's.",
        untrusted("issuing certificate is not a CA"),
    ),
    _one(
        "path-length",
        "One authority more than the path length allows.",
        untrusted("path length constraint exceeded"),
    ),
    _one(
        "excluded",
        "The issuer may not issue for names below example.",
        untrusted("name inside an excluded subtree of its issuer"),
    ),
    _one(
        "not-permitted",
        "The issuer may only issue for other.example.",
        untrusted("name outside the permitted subtrees of its issuer"),
    ),
)
DATES = (
    _one("expired", "Expired yesterday.", untrusted("certificate has expired")),
    _one("not-yet-valid", "Valid from tomorrow on.", untrusted("certificate is not yet valid")),
    _one("after-2050", "Ends in 2060: the date is a GeneralizedTime.", fine()),
    _one("broken-date", "Ends in the thirteenth month.", untrusted("the certificate cannot be read")),
)
PURPOSES = (
    _one(
        "client-only",
        "The extended key usage names client authentication only.",
        untrusted("extended key usage does not include server authentication"),
    ),
    _one("no-usage", "No extended key usage.", fine()),
    _one("leaf-is-ca", "The host's certificate says CA:TRUE.", fine()),
    _one(
        "critical-unknown", "A critical extension that nobody knows.", untrusted("unknown critical extension")
    ),
    _one("must-staple", "Must-staple, and no OCSP answer is stapled.", fine()),
    _one(
        "policies-no-der", "Its certificate policies are no DER.", untrusted("the certificate cannot be read")
    ),
    _one("negative-serial", "A negative serial number.", fine()),
    _one(
        "no-certificate",
        "Octets that are no certificate.",
        broken("ASN1 lib"),
        shows="garbage",
        does="by-hand",
    ),
)
KEYS = (
    _one("p521", "An ECDSA key on P-521.", fine()),
    _one("ed25519", "An Ed25519 key.", fine()),
    _one("two-keys", "An ECDSA and an RSA certificate.", fine()),
    _one("sha1", "Signed with SHA-1.", untrusted("signed with SHA1")),
    _one("md5", "Signed with MD5.", untrusted("signed with MD5")),
)

INHABITANTS = (*TRUST, *DATES, *PURPOSES, *KEYS)
STRUCK_OUT = (
    StruckOut(
        "C34",
        "extended key usage serverAuth only, shown by a client",
        "incoming: tests/way/test_client_certificates.py",
    ),
    StruckOut(
        "C34",
        "SNI empty, with a trailing backslash, of 255 octets, an address, unicode, unknown",
        "incoming: tests/net/test_served.py, tests/live/hostile/test_starttls.py",
    ),
    StruckOut(
        "C34",
        "malformed DER of every field",
        "a TLS library shows no certificate that it cannot read: tests/pki/test_der.py",
    ),
    StruckOut(
        "C34",
        "fetching the missing intermediate (AIA)",
        "never during a delivery (architecture 8): the outcome is that of missing-intermediate",
    ),
)
