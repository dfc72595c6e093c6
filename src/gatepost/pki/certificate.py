"""One certificate, read once.

`Certificate` keeps the DER and what the rest of the product asks of it. Reading touches every extension, so
that a certificate with a damaged one is refused as a whole and never half understood.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import AuthorityInformationAccessOID

from gatepost.core.tls import PeerCertificate
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.load import UNREADABLE, load_certificate, serial_number
from gatepost.pki.names import PresentedNames, read_names
from gatepost.pki.text import both_forms, folded_name, printable

MAX_REMEMBERED = 8 * 1024  # octets of a certificate that is kept when it was read
MAX_NAMES_KEPT = 50  # in a `PeerCertificate`; matching looks at all


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """A parsed certificate. Equal to another when the DER is. Times are seconds since the epoch."""

    der: bytes
    parsed: x509.Certificate = field(repr=False)
    extensions: x509.Extensions = field(repr=False)
    names: PresentedNames
    subject: str
    issuer: str
    subject_key: str = field(repr=False)
    issuer_key: str = field(repr=False)
    not_before: float
    not_after: float
    serial: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower-case hex."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def common_name(self) -> str:
        """The first CN of the subject as it stands, or empty."""
        return self.names.common_name

    @property
    def self_issued(self) -> bool:
        """Subject and issuer are the same name; whether it signed itself, `self_signed` says."""
        return self.subject_key == self.issuer_key

    @property
    def self_signed(self) -> bool:
        """The certificate's own key made its signature."""
        return self.self_issued and signed_by(self.parsed, self.parsed)

    @property
    def is_ca(self) -> bool:
        """basicConstraints says CA:TRUE."""
        try:
            return bool(self.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        except x509.ExtensionNotFound:
            return False

    @property
    def public_key_der(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self.parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def issuer_addresses(self) -> tuple[str, ...]:
        """Where it says that its issuer's certificate is (RFC 5280 §4.2.2.1), made safe to show; nothing fetches it."""
        try:
            access = self.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(
            printable(entry.access_location.value)
            for entry in access
            if entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(entry.access_location, x509.UniformResourceIdentifier)
        )

    @property
    def pem(self) -> bytes:
        return self.parsed.public_bytes(Encoding.PEM)

    def described(self) -> PeerCertificate:
        """The short form that a delivery keeps and logs."""
        names = self.names.texts(MAX_NAMES_KEPT)
        more = self.names.count - len(names)
        return PeerCertificate(self.subject, self.issuer, self.fingerprint, self.not_after, names, more)


def read_certificate(der: bytes) -> Certificate:
    """Parse one DER certificate whole. Raises MalformedCertificate.

    The last few hundred of usual size are remembered: the intermediates of the world's mail servers are few.
    """
    return _remembered(der) if len(der) <= MAX_REMEMBERED else _read(der)


@lru_cache(maxsize=512)
def _remembered(der: bytes) -> Certificate:
    return _read(der)


def _read(der: bytes) -> Certificate:
    parsed = load_certificate(der)
    subject, subject_key = both_forms(parsed.subject)
    issuer, issuer_key = both_forms(parsed.issuer)
    return Certificate(
        der,
        parsed,
        parsed.extensions,
        read_names(parsed),
        subject,
        issuer,
        subject_key,
        issuer_key,
        parsed.not_valid_before_utc.timestamp(),
        parsed.not_valid_after_utc.timestamp(),
        serial_number(parsed),
    )


def signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """The issuer's key made the child's signature, and the names agree. Says nothing of trust.

    Names agree as RFC 5280 §7.1 compares them: an authority may write its name in another string type or case.
    """
    if child.issuer != issuer.subject and folded_name(child.issuer) != folded_name(issuer.subject):
        return False
    try:
        return _verify(child, issuer.public_key())
    except (InvalidSignature, *UNREADABLE):
        return False


def signed_with(child: x509.Certificate, public_key_der: bytes) -> bool:
    """The key (SubjectPublicKeyInfo) made the child's signature, whoever holds it."""
    try:
        return _verify(child, load_der_public_key(public_key_der))
    except (InvalidSignature, *UNREADABLE):
        return False


def _verify(child: x509.Certificate, key: PublicKeyTypes) -> bool:
    """Raises InvalidSignature, or what an algorithm raises that is not the key's."""
    signature, body = child.signature, child.tbs_certificate_bytes
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        key.verify(signature, body)
        return True
    used = child.signature_algorithm_parameters
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(used, ec.ECDSA):
        key.verify(signature, body, used)
        return True
    hashed = child.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and isinstance(used, (padding.PKCS1v15, padding.PSS)) and hashed:
        key.verify(signature, body, used, hashed)
        return True
    if isinstance(key, dsa.DSAPublicKey) and hashed:
        key.verify(signature, body, hashed)
        return True
    return False


def describe(der: bytes) -> PeerCertificate:
    """The short form of any bytes that a peer sent as a certificate; never raises for what they hold."""
    try:
        return read_certificate(der).described()
    except MalformedCertificate:
        return PeerCertificate("(unreadable)", "(unreadable)", hashlib.sha256(der).hexdigest(), 0.0)
