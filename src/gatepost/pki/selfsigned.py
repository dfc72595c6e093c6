"""Self-signed certificates and signing requests (R2, R3, R4).

A self-signed certificate encrypts and cannot be verified by anyone who does not already have it; it is for the
first start (the demo certificate), for closed circles and as the holder of a request. It is a host
certificate and no CA. Validity begins an hour before `now`, for peers whose clocks are slow.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gatepost.core.address import normalise_domain
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import PrivateKey, key_matches
from gatepost.pki.load import UNREADABLE
from gatepost.pki.names import read_names
from gatepost.pki.text import name_text

MAX_DAYS = 3650 * 3
MAX_NAMES = 100
SLACK = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SubjectFields:
    """The fields of the form, in its order; an empty one is left out. `country` has two letters."""

    common_name: str
    organization: str = ""
    unit: str = ""
    locality: str = ""
    state: str = ""
    country: str = ""

    def name(self) -> x509.Name:
        """Country first, common name last (X.520 order). Raises PkiError for a field that X.509 cannot hold."""
        fields = (
            (NameOID.COUNTRY_NAME, self.country.upper()),
            (NameOID.STATE_OR_PROVINCE_NAME, self.state),
            (NameOID.LOCALITY_NAME, self.locality),
            (NameOID.ORGANIZATION_NAME, self.organization),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, self.unit),
            (NameOID.COMMON_NAME, self.common_name),
        )
        if not self.common_name:
            raise PkiError("a certificate needs a common name")
        if any(not value.isprintable() for _, value in fields):
            raise PkiError("a field of the subject has characters that cannot be printed")
        try:
            return x509.Name([x509.NameAttribute(oid, value) for oid, value in fields if value])
        except ValueError as error:
            raise PkiError(f"the subject cannot be written: {error}") from None


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A certificate (DER) and its private key."""

    certificate: bytes
    key: PrivateKey


def make_self_signed(
    subject: SubjectFields, san: Sequence[str], days: int, key: PrivateKey, now: float
) -> CertifiedKey:
    """A self-signed host certificate for `days` from `now` (seconds since the epoch). Raises PkiError."""
    return _self_signed(subject.name(), alternative_names(subject, san), days, key, now)


def self_signed_again(old: bytes, days: int, key: PrivateKey, now: float) -> CertifiedKey:
    """A self-signed host certificate with the subject and the names of an old one (R8). Raises PkiError."""
    return _self_signed(*_identity(old), days, key, now)


def _self_signed(
    name: x509.Name, names: x509.SubjectAlternativeName | None, days: int, key: PrivateKey, now: float
) -> CertifiedKey:
    if not 1 <= days <= MAX_DAYS:
        raise PkiError(f"the duration goes from 1 to {MAX_DAYS} days")
    start = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - SLACK)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_HOST_USAGE, critical=True)
        .add_extension(_HOST_PURPOSES, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return CertifiedKey(builder.sign(key, _hash(key)).public_bytes(Encoding.DER), key)


def make_csr(subject: SubjectFields, san: Sequence[str], key: PrivateKey) -> bytes:
    """A signing request (PKCS#10, DER) for the same names. Raises PkiError."""
    return _request(subject.name(), alternative_names(subject, san), key)


def request_again(old: bytes, key: PrivateKey) -> bytes:
    """A signing request (DER) with the subject and the names of an old certificate (R8). Raises PkiError."""
    return _request(*_identity(old), key)


def _identity(old: bytes) -> tuple[x509.Name, x509.SubjectAlternativeName | None]:
    """Subject and names; of a certificate that has its name in the CN only, that one, as far as it is a host name."""
    certificate = read_certificate(old)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return certificate.parsed.subject, found.value
    except x509.ExtensionNotFound:
        pass
    try:
        return certificate.parsed.subject, alternative_names(SubjectFields(certificate.common_name), ())
    except PkiError:
        return certificate.parsed.subject, None


def _request(name: x509.Name, names: x509.SubjectAlternativeName | None, key: PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, _hash(key)).public_bytes(Encoding.DER)


def csr_pem(csr: bytes) -> str:
    """The request as PEM, to be given to a CA."""
    return x509.load_der_x509_csr(csr).public_bytes(Encoding.PEM).decode("ascii")


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request asks for: subject and names for people, and the public key (SubjectPublicKeyInfo)."""

    subject: str
    names: tuple[str, ...]
    public_key: bytes = field(repr=False)


def read_request(csr: bytes) -> RequestFacts:
    """What stands in a request of ours. Raises PkiError for one that cannot be read."""
    try:
        request = x509.load_der_x509_csr(csr)
        public = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return RequestFacts(name_text(request.subject), read_names(request).texts(), public)
    except UNREADABLE:
        raise PkiError("the signing request cannot be read") from None


def csr_matches(csr: bytes, key: PrivateKey) -> bool:
    """The request was made with this key."""
    try:
        return key_matches(key, x509.load_der_x509_csr(csr))
    except UNREADABLE:
        return False


def alternative_names(subject: SubjectFields, san: Sequence[str]) -> x509.SubjectAlternativeName:
    """The names as dNSName (A-labels) or iPAddress, each once; without any the common name is one (contract)."""
    texts = list(san) or [subject.common_name]
    if len(texts) > MAX_NAMES:
        raise PkiError(f"at most {MAX_NAMES} names fit")
    entries: dict[str, x509.GeneralName] = {}
    for text in texts:
        entry = _general_name(text)
        entries.setdefault(str(entry.value), entry)
    return x509.SubjectAlternativeName(entries.values())


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    wildcard, plain = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        name = normalise_domain(plain)
    except ValueError as error:
        raise PkiError(f"`{text}` is no name for a certificate: {error}") from None
    if not set(name) <= _NAME_CHARACTERS:
        raise PkiError(f"`{text}` is no name for a certificate", "use a host name or an IP address")
    return x509.DNSName(wildcard + name)


_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


def _hash(key: PrivateKey) -> hashes.SHA256 | None:
    """Ed25519 and Ed448 hash by themselves."""
    return None if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()


_HOST_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_HOST_PURPOSES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
