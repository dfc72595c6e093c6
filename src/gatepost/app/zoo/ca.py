"""A certificate authority for the zoo and the tests: good certificates, and every bad one of case C34 that can be made.

Values only, no files, no network. EC keys by default, so a chain costs about a millisecond; RSA keys are
made once for each size and shared.

    ca = Authority("Example CA")
    good = ca.issue(["mx.partner.example"])
    good.leaf_pem, good.key_pem, good.chain_pem          # chain_pem: leaf first, then the intermediates
    ca.root_pem                                          # what a verifier has to trust

    ca.issue(["mx.example"], expired=True)               # also: not_yet_valid, start=, end=
    ca.issue(["mx.example"], san=False)                  # the name in the CN only
    ca.issue(["*.example.net", "192.0.2.1"])             # wildcards; addresses become iPAddress entries
    ca.issue(["x.example"], raw_names=[b"good.example\\0.evil"])      # dNSName entries byte by byte
    ca.issue(["mx.example"], usages=(CLIENT_AUTH,))      # usages=None: no extended key usage
    ca.issue(["mx.example"], is_ca=True)                 # a leaf with CA:TRUE
    ca.issue(["mx.example"], key="rsa1024")              # also ed25519, p256, p384, p521, rsa2048, rsa3072
    ca.issue(["mx.example"], extensions=[(UNKNOWN, True)])            # a critical unknown extension
    ca.issue(["mx.example"], negative_serial=True)
    Authority("Old CA", key="rsa2048").issue(["mx.example"], hash_name="sha1")   # also md5
    self_signed(["mx.example"])                          # the leaf signed itself

    sub = ca.intermediate("Example Sub CA")              # path_length=, permitted=, excluded=, usages=
    deep = sub.issue(["mx.example"])                     # deep.intermediates holds what has to be sent
    deep.sending(), deep.sending(leaf_only=True), deep.sending(root=True), deep.sending(duplicate=True),
    deep.sending(reverse=True), deep.sending(extra=[other.certificate])      # as another Issued
    ca.descend(8).issue(["mx.example"])                  # a long chain
    sub.again(start=, end=), sub.again(key="p256")       # the same authority's other certificate; with a new key
    a.cross_sign(b), b.cross_sign(a)                     # loops
    damaged(good.leaf)                                   # a signature that does not hold
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gatepost.app.zoo.ca_keys import PrivateKey, hash_for, key_pem, make_key
from gatepost.app.zoo.ca_signing import dns_names_of, sign, with_negative_serial

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A leaf, its key and what a well-behaved server sends with it."""

    leaf: x509.Certificate
    key: PrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()
    root: x509.Certificate | None = None

    @property
    def leaf_pem(self) -> bytes:
        return self.leaf.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        return (self.leaf, *self.intermediates)

    @property
    def chain_pem(self) -> bytes:
        """Leaf and intermediates, as `use_certificate_chain_file` takes them."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in self.certificates)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The same as DER, as a peer sees it."""
        return tuple(c.public_bytes(Encoding.DER) for c in self.certificates)

    def sending(
        self,
        *,
        leaf_only: bool = False,
        root: bool = False,
        duplicate: bool = False,
        reverse: bool = False,
        extra: Sequence[x509.Certificate] = (),
    ) -> Issued:
        """The same leaf with another set of certificates behind it."""
        behind = () if leaf_only else self.intermediates
        if duplicate:
            behind = tuple(c for c in (self.leaf, *behind) for _ in range(2))[1:]
        if root and self.root is not None:
            behind = (*behind, self.root)
        if reverse:
            behind = tuple(reversed(behind))
        return replace(self, intermediates=(*extra, *behind))


class Authority:
    """A root (or, with `parent`, an intermediate) that issues whatever it is told to.

    `at` is the moment around which certificates are valid, now by default. A CA certificate is valid
    from 30 days before it for ten years; `start` and `end` set other dates.
    """

    __test__ = False  # the tests call it TestAuthority, and it is none

    def __init__(
        self,
        name: str = "Gatepost Zoo CA",
        *,
        parent: Authority | None = None,
        key: str | PrivateKey = "p256",
        at: datetime.datetime | None = None,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        path_length: int | None = None,
        permitted: Sequence[str] = (),
        excluded: Sequence[str] = (),
        usages: Sequence[x509.ObjectIdentifier] | None = None,
        is_ca: bool = True,
        key_identifiers: bool = True,
        hash_name: str = "sha256",
    ) -> None:
        self.name = name
        self.parent = parent
        self.at: datetime.datetime = at or (
            parent.at if parent else datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        )
        self.key = make_key(key) if isinstance(key, str) else key
        self.key_identifiers = key_identifiers
        builder = self._builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            self.key,
            start or self.at - 30 * _DAY,
            end or self.at + 3650 * _DAY,
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=is_ca, path_length=path_length if is_ca else None), critical=True
        ).add_extension(_key_usage(certificates=is_ca), critical=True)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        if permitted or excluded:
            constraints = x509.NameConstraints(_subtrees(permitted), _subtrees(excluded))
            builder = builder.add_extension(constraints, critical=True)
        signer = parent or self
        self.certificate = sign(builder, signer.key, hash_name)

    @property
    def root_pem(self) -> bytes:
        """The certificate at the top: what has to be trusted."""
        return self.top.certificate.public_bytes(Encoding.PEM)

    @property
    def root_der(self) -> bytes:
        return self.top.certificate.public_bytes(Encoding.DER)

    @property
    def top(self) -> Authority:
        return self.parent.top if self.parent else self

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """This authority's certificate and those above it, without the root."""
        return (self.certificate, *self.parent.intermediates) if self.parent else ()

    def intermediate(self, name: str = "Gatepost Zoo Sub CA", **choices: Any) -> Authority:
        """An authority below this one; `choices` as for the constructor."""
        return Authority(name, parent=self, **choices)

    def again(self, **choices: Any) -> Authority:
        """An authority of this name and key with a certificate of its own: last year's, or next year's."""
        return Authority(self.name, parent=self.parent, **{"key": self.key, "at": self.at, **choices})

    def descend(self, levels: int) -> Authority:
        """The lowest of `levels` authorities below this one."""
        authority = self
        for level in range(levels):
            authority = authority.intermediate(f"{self.name} level {level + 1}")
        return authority

    def cross_sign(self, other: Authority) -> x509.Certificate:
        """A certificate for the other authority's name and key, signed by this one."""
        builder = self._builder(
            other.certificate.subject, other.key, self.at - 30 * _DAY, self.at + 3650 * _DAY, parent=self
        ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return sign(builder, self.key, "sha256")

    def issue(
        self,
        names: Sequence[str],
        *,
        common_name: str | None = None,
        san: bool = True,
        raw_names: Sequence[bytes] = (),
        expired: bool = False,
        not_yet_valid: bool = False,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        key: str | PrivateKey = "p256",
        usages: Sequence[x509.ObjectIdentifier] | None = (SERVER_AUTH, CLIENT_AUTH),
        is_ca: bool | None = False,
        key_usage: x509.KeyUsage | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        hash_name: str = "sha256",
        negative_serial: bool = False,
    ) -> Issued:
        """A leaf for these names (addresses in text form are taken as such); see the module's page for the choices.

        `is_ca=None` leaves basicConstraints out. The common name is the first name, `""` none.
        """
        if expired:
            start, end = self.at - 20 * _DAY, self.at - _DAY
        if not_yet_valid:
            start, end = self.at + _DAY, self.at + 20 * _DAY
        leaf_key = make_key(key) if isinstance(key, str) else key
        text = (names[0] if names else "") if common_name is None else common_name
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])
        builder = self._builder(
            subject, leaf_key, start or self.at - _DAY, end or self.at + 90 * _DAY, parent=self
        )
        if is_ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        builder = builder.add_extension(key_usage or _key_usage(certificates=bool(is_ca)), critical=True)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        if raw_names:
            builder = builder.add_extension(dns_names_of(raw_names), critical=False)
        elif san and names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=not text)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        leaf = sign(builder, self.key, hash_name)
        if negative_serial:
            leaf = with_negative_serial(leaf, self.key)
        return Issued(leaf, leaf_key, self.intermediates, self.top.certificate)

    def revocation_list(
        self, *revoked: x509.Certificate, end: datetime.datetime | None = None, critical: bool = False
    ) -> bytes:
        """A CRL of this authority as DER; `critical` makes it one for a part of the certificates."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(self.at - 10 * _DAY)
            .next_update(end or self.at + 10 * _DAY)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(self.at - _DAY).build())
        if critical:
            part = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
            builder = builder.add_extension(part, critical=True)
        return builder.sign(self.key, hash_for(self.key)).public_bytes(Encoding.DER)

    def _builder(
        self,
        subject: x509.Name,
        key: PrivateKey,
        start: datetime.datetime,
        end: datetime.datetime,
        *,
        parent: Authority | None = None,
    ) -> x509.CertificateBuilder:
        issuer = parent or self.parent
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
        if not self.key_identifiers:
            return builder
        signing = (issuer.key if issuer else key).public_key()
        return builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing), critical=False)


def self_signed(names: Sequence[str], *, at: datetime.datetime | None = None, **choices: Any) -> Issued:
    """A leaf that signed itself; `choices` as for `issue`."""
    key = choices.pop("key", "p256")
    own = make_key(key) if isinstance(key, str) else key
    authority = Authority(names[0], key=own, at=at)
    issued = authority.issue(names, key=own, **choices)
    return replace(issued, intermediates=(), root=issued.leaf)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _subtrees(names: Sequence[str]) -> list[x509.GeneralName] | None:
    return [x509.DNSName(name) for name in names] or None
