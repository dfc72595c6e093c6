"""What each inhabitant shows: certificates by the name of a recipe.

A recipe makes a certificate for a domain and its MX host out of the zoo's authorities. Two are trusted by the gateway that lives in the
zoo: `ca`, below which nearly all is issued, and `rsa_ca` for signatures that only RSA keys can make badly. What no library would write is
written by changing the signed octets and signing them again.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from gatepost.app.zoo.ca import (
    CLIENT_AUTH,
    MUST_STAPLE,
    UNKNOWN,
    Authority,
    Issued,
    self_signed,
)
from gatepost.app.zoo.ca_signing import damaged

DAY = datetime.timedelta(days=1)
FAR = datetime.datetime(2060, 1, 1, tzinfo=datetime.UTC)
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")  # AlgorithmIdentifier (RFC 5758 §3.2)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server sends, its own certificate first (DER), with its key (PEM). `also` is a second one of another key type."""

    chain: tuple[bytes, ...]
    key_pem: bytes
    root: bytes = b""
    also: Shown | None = None

    @property
    def leaf(self) -> bytes:
        return self.chain[0]

    @property
    def issuer(self) -> bytes:
        """Whoever signed the host's certificate, sent or not."""
        return self.chain[1] if len(self.chain) > 1 else self.root


class Keepers:
    """The authorities of one zoo."""

    def __init__(self) -> None:
        self.ca = Authority("Gatepost Zoo CA")
        self.sub = self.ca.intermediate("Gatepost Zoo Sub CA")
        self.rsa_ca = Authority("Gatepost Zoo RSA CA", key="rsa2048")

    @property
    def trusted_pem(self) -> bytes:
        """The roots that the zoo's gateway trusts."""
        return self.ca.root_pem + self.rsa_ca.root_pem


@dataclass(frozen=True, slots=True)
class Names:
    """Of whom a certificate is to be."""

    domain: str
    mx: str

    @property
    def both(self) -> list[str]:
        return [self.domain, self.mx]


Recipe = Callable[[Keepers, Names], Issued | Shown]


def make(recipe: str, keepers: Keepers, names: Names) -> Shown:
    """What the recipe of this name gives. Raises KeyError for a name that there is not."""
    made = RECIPES[recipe](keepers, names)
    return made if isinstance(made, Shown) else shown(made)


def shown(issued: Issued) -> Shown:
    """A certificate as its well-behaved server sends it."""
    root = issued.root.public_bytes(Encoding.DER) if issued.root is not None else b""
    return Shown(issued.chain_der, issued.key_pem, root)


def resigned(keepers: Keepers, issued: Issued, old: bytes, new: bytes) -> Shown:
    """The certificate with some octets of its content changed for as many others, signed again by `ca`."""
    body = issued.leaf.tbs_certificate_bytes
    if body.count(old) != 1 or len(old) != len(new):
        raise ValueError("the octets to change are not there once, or of another length")
    key = keepers.ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    changed = body.replace(old, new)
    signature = tlv(0x03, b"\0" + key.sign(changed, ec.ECDSA(SHA256())))
    made = shown(issued)
    return replace(made, chain=(tlv(0x30, changed + _ECDSA_SHA256 + signature), *made.chain[1:]))


def tlv(tag: int, content: bytes) -> bytes:
    """One DER element of less than 64 KiB."""
    size = len(content)
    length = bytes((size,)) if size < 0x80 else bytes((0x82, size >> 8, size & 0xFF))
    return bytes((tag,)) + length + content


# --- recipes that need more than a line -------------------------------------------------------------------


def _broken_date(keepers: Keepers, names: Names) -> Shown:
    """The thirteenth month."""
    issued = keepers.ca.issue(names.both)
    text = issued.leaf.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
    return resigned(keepers, issued, text, text[:2] + b"13" + text[4:])


def _looped(keepers: Keepers, names: Names) -> Issued:
    """Two authorities that vouch for each other, and lead nowhere."""
    one, two = Authority("Loop One"), Authority("Loop Two")
    return one.issue(names.both).sending(extra=[two.cross_sign(one), one.cross_sign(two)])


def _raw(*names: Callable[[Names], bytes]) -> Recipe:
    """dNSName entries octet by octet, and a common name that says nothing."""
    return lambda k, n: k.ca.issue(n.both, common_name="zoo", raw_names=[make_name(n) for make_name in names])


def _extension(oid: x509.ObjectIdentifier, value: bytes) -> Recipe:
    return lambda k, n: k.ca.issue(n.both, extensions=[(x509.UnrecognizedExtension(oid, value), False)])


def _common_name(text: str) -> Recipe:
    """No names but this CN."""
    return lambda k, n: k.ca.issue([], common_name=text.format(domain=n.domain, mx=n.mx))


def _two_keys(keepers: Keepers, names: Names) -> Shown:
    """A server with an ECDSA and an RSA certificate; clients of today get the first."""
    rsa = shown(keepers.sub.issue(names.both, key="rsa2048"))
    return replace(shown(keepers.sub.issue(names.both)), also=rsa)


def _many_names(keepers: Keepers, names: Names) -> Issued:
    """More octets than a handshake may have."""
    more = [f"{number:04d}.{'x' * 50}.{'y' * 50}.{names.domain}" for number in range(600)]
    return keepers.ca.issue([*names.both, *more], common_name="zoo")


def _garbage(keepers: Keepers, names: Names) -> Shown:
    """Octets that are no certificate at all; only a handshake written by hand can show them."""
    return replace(shown(keepers.ca.issue(names.both)), chain=(b"\x30\x06\x02\x01\x01zoo",))


RECIPES: Mapping[str, Recipe] = {
    "good": lambda k, n: k.sub.issue(n.both),
    "web": lambda k, n: k.ca.issue([f"mta-sts.{n.domain}"]),
    "web-expired": lambda k, n: k.ca.issue([f"mta-sts.{n.domain}"], expired=True),
    "web-other": lambda k, n: k.ca.issue(["mta-sts.other.example"]),
    "web-stranger": lambda k, n: Authority("Nobody").issue([f"mta-sts.{n.domain}"]),
    "web-cn": lambda k, n: k.ca.issue([], common_name=f"mta-sts.{n.domain}"),
    # Trust
    "by-root": lambda k, n: k.ca.issue(n.both),
    "self-signed": lambda k, n: self_signed(n.both),
    "unknown-ca": lambda k, n: Authority("Nobody").issue(n.both),
    "same-name-ca": lambda k, n: Authority(k.ca.name).issue(n.both),
    "root-sent": lambda k, n: k.sub.issue(n.both).sending(root=True),
    "unknown-root-sent": lambda k, n: Authority("Nobody").issue(n.both).sending(root=True),
    "missing-intermediate": lambda k, n: k.sub.issue(n.both).sending(leaf_only=True),
    "duplicates": lambda k, n: k.sub.issue(n.both).sending(duplicate=True),
    "wrong-order": lambda k, n: k.ca.descend(3).issue(n.both).sending(reverse=True),
    "strangers": lambda k, n: k.sub.issue(n.both).sending(
        extra=[Authority(f"Stranger {i}").certificate for i in range(5)]
    ),
    "chain-of-ten": lambda k, n: k.ca.descend(8).issue(n.both),
    "chain-of-twenty": lambda k, n: k.ca.descend(18).issue(n.both),
    "loop": _looped,
    "expired-intermediate": lambda k, n: k.ca.intermediate(end=k.ca.at - DAY).issue(n.both),
    "signed-by-leaf": lambda k, n: Authority("Not a CA", parent=k.ca, is_ca=False).issue(n.both),
    "path-length": lambda k, n: k.ca.intermediate(path_length=0).intermediate("Below").issue(n.both),
    "excluded": lambda k, n: k.ca.intermediate(excluded=["example"]).issue(n.both),
    "not-permitted": lambda k, n: k.ca.intermediate(permitted=["other.example"]).issue(n.both),
    "damaged": lambda k, n: replace(issued := k.ca.issue(n.both), leaf=damaged(issued.leaf)),
    # Dates and purposes
    "expired": lambda k, n: k.sub.issue(n.both, expired=True),
    "not-yet-valid": lambda k, n: k.sub.issue(n.both, not_yet_valid=True),
    "after-2050": lambda k, n: k.ca.issue(n.both, end=FAR),
    "broken-date": _broken_date,
    "client-only": lambda k, n: k.ca.issue(n.both, usages=(CLIENT_AUTH,)),
    "no-usage": lambda k, n: k.ca.issue(n.both, usages=None),
    "leaf-is-ca": lambda k, n: k.ca.issue(n.both, is_ca=True),
    "critical-unknown": lambda k, n: k.ca.issue(n.both, extensions=[(UNKNOWN, True)]),
    "must-staple": lambda k, n: k.ca.issue(n.both, extensions=[(MUST_STAPLE, False)]),
    "policies-no-der": _extension(ExtensionOID.CERTIFICATE_POLICIES, b"\x30\x03\x02\x01"),
    "negative-serial": lambda k, n: k.ca.issue(n.both, negative_serial=True),
    "garbage": _garbage,
    # Keys and signatures
    "rsa": lambda k, n: k.rsa_ca.issue(n.both, key="rsa2048"),
    "rsa-1024": lambda k, n: k.rsa_ca.issue(n.both, key="rsa1024"),
    "sha1": lambda k, n: k.rsa_ca.issue(n.both, hash_name="sha1"),
    "md5": lambda k, n: k.rsa_ca.issue(n.both, hash_name="md5"),
    "p521": lambda k, n: k.ca.issue(n.both, key="p521"),
    "ed25519": lambda k, n: k.ca.issue(n.both, key="ed25519"),
    "two-keys": _two_keys,
    # Names
    "wrong-name": lambda k, n: k.sub.issue(["mx.other.example"]),
    "wrong-name-expired": lambda k, n: self_signed(["mx.other.example"], expired=True),
    "domain-only": lambda k, n: k.sub.issue([n.domain]),
    "mx-only": lambda k, n: k.sub.issue([n.mx]),
    "name-in-cn": _common_name("{domain}"),
    "right-cn-wrong-san": lambda k, n: k.ca.issue(["mx.other.example"], common_name=n.domain),
    "mx-in-cn": _common_name("{mx}"),
    "sibling": lambda k, n: k.sub.issue([f"other.{n.domain}"]),
    "wildcard": lambda k, n: k.sub.issue([f"*.{n.domain}"]),
    "wildcard-too-high": lambda k, n: k.ca.issue(["*.example"]),
    "wildcard-two-labels": lambda k, n: k.ca.issue([f"*.{n.domain.partition('.')[2]}", "*.example"]),
    "wildcard-partial": lambda k, n: k.ca.issue([f"m*.{n.domain}", f"{n.domain[0]}*{n.domain[2:]}"]),
    "address": lambda k, n: k.ca.issue(["203.0.113.1"]),
    "address-as-name": _raw(lambda n: b"203.0.113.1"),
    "nul-in-san": _raw(lambda n: n.domain.encode() + b"\0.evil", lambda n: n.mx.encode() + b"\0.evil"),
    "nul-in-cn": _common_name("{domain}\0.evil"),
    "crlf-in-san": _raw(lambda n: n.domain.encode() + b"\r\nInfo: DCID 1 close"),
    "crlf-in-cn": _common_name("{domain}\r\nBcc: x"),
    "percent-in-cn": _common_name("%s%n%x{{0}}"),
    "ansi-in-san": _raw(lambda n: n.domain.encode() + b"\x1b[2J'\""),
    "u-label": _raw(lambda n: "mxü.".encode() + n.domain.encode()),
    "trailing-dot": _raw(lambda n: n.domain.encode() + b".", lambda n: n.mx.encode() + b"."),
    "thousand-names": lambda k, n: k.ca.issue([*(f"n{i}.other.example" for i in range(1_000)), *n.both]),
    "thousand-wrong-names": lambda k, n: k.ca.issue([f"n{i}.other.example" for i in range(1_000)]),
    "empty-san": lambda k, n: k.ca.issue(
        [],
        common_name="zoo",
        extensions=[(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x00"), False)],
    ),
    "many-names": _many_names,
    # Issuers, for DANE-TA
    "expired-by-root": lambda k, n: k.ca.issue(n.both, expired=True),
    "private": lambda k, n: Authority("Private CA").intermediate("Private Sub CA").issue(n.both),
    "private-root-sent": lambda k, n: (
        Authority("Private CA").intermediate("Private Sub CA").issue(n.both).sending(root=True)
    ),
    "private-wrong-name": lambda k, n: (
        Authority("Private CA").intermediate("Private Sub CA").issue(["mx.other.example"])
    ),
    "private-expired": lambda k, n: (
        Authority("Private CA").intermediate("Private Sub CA").issue(n.both, expired=True)
    ),
    "private-leaf-only": lambda k, n: (
        Authority("Private CA").intermediate("Private Sub CA").issue(n.both).sending(leaf_only=True)
    ),
}
