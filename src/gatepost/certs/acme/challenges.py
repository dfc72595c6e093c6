"""The proofs of control as values: what has to be shown where, for the CA to see it.

http-01: a text at a path, port 80 (RFC 8555 §8.3). dns-01: a TXT record, also for wildcards (§8.4). tls-alpn-01: a
self-signed certificate with the digest in a critical extension, port 443, protocol `acme-tls/1` (RFC 8737). Addresses are
proved by http-01 and tls-alpn-01 only; the latter is asked for by the reverse name (RFC 8738 §6).
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gatepost.pki.keys import SecretBytes, key_pem
from gatepost.wire.acme_objects import (
    MAX_DNS_NAME,
    AcmeNameError,
    ChallengeKind,
    Identifier,
    IdentifierKind,
)
from gatepost.wire.acme_requests import (
    ACME_IDENTIFIER_OID,
    CHALLENGE_PATH,
    RECORD_LABEL,
    acme_identifier,
    key_authorization,
    record_value,
)
from gatepost.wire.jose import SigningKey

_LIFE = datetime.timedelta(days=7)
_SLACK = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Http01:
    """Answer `http://NAME/PATH` with `key_authorization`. `name` is a host name or the text of an address."""

    name: str
    token: str
    key_authorization: str

    @property
    def path(self) -> str:
        return CHALLENGE_PATH + self.token

    @property
    def kind(self) -> ChallengeKind:
        return ChallengeKind.HTTP01


@dataclass(frozen=True, slots=True)
class Dns01:
    """Let the TXT record `record` have `value` among its values; `name` without `*.`. No trailing dot."""

    name: str
    record: str
    value: str

    @property
    def kind(self) -> ChallengeKind:
        return ChallengeKind.DNS01


@dataclass(frozen=True, slots=True)
class TlsAlpn01:
    """Show `certificate` (DER) to who asks for `server_name` with the protocol `acme-tls/1`."""

    name: str
    server_name: str
    certificate: bytes = field(repr=False)
    key: SecretBytes = field(repr=False)

    @property
    def kind(self) -> ChallengeKind:
        return ChallengeKind.TLS_ALPN01


Proof = Http01 | Dns01 | TlsAlpn01


def can_prove(kind: ChallengeKind, identifier: Identifier, *, wildcard: bool) -> bool:
    """A wildcard is proved in DNS only (RFC 8555 §7.1.3), an address never there (RFC 8738 §7)."""
    if wildcard:
        return kind is ChallengeKind.DNS01
    return identifier.kind is IdentifierKind.DNS or kind is not ChallengeKind.DNS01


def make_proof(
    kind: ChallengeKind, identifier: Identifier, token: str, account_key: SigningKey, now: float
) -> Proof:
    """What has to be presented for one challenge. Raises AcmeNameError where no DNS can hold the record."""
    name, authorization = identifier.base, key_authorization(token, account_key)
    match kind:
        case ChallengeKind.HTTP01:
            return Http01(name, token, authorization)
        case ChallengeKind.DNS01:
            record = f"{RECORD_LABEL}.{name}"
            if len(record) > MAX_DNS_NAME:
                raise AcmeNameError(f"`{record}` is too long for DNS: prove {name} by http-01 or tls-alpn-01")
            return Dns01(name, record, record_value(authorization))
        case ChallengeKind.TLS_ALPN01:
            return _tls_alpn01(identifier, name, authorization, now)


def _tls_alpn01(identifier: Identifier, name: str, authorization: str, now: float) -> TlsAlpn01:
    """A key of its own for every proof; the name stands in the SAN alone (RFC 8737 §3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    general: x509.GeneralName = x509.DNSName(name)
    server_name = name
    if identifier.kind is IdentifierKind.IP:
        address = ipaddress.ip_address(name)
        general, server_name = x509.IPAddress(address), address.reverse_pointer
    start = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    extension = x509.UnrecognizedExtension(
        x509.ObjectIdentifier(ACME_IDENTIFIER_OID), acme_identifier(authorization)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _SLACK)
        .not_valid_after(start + _LIFE)
        .add_extension(x509.SubjectAlternativeName([general]), critical=False)
        .add_extension(extension, critical=True)
        .sign(key, hashes.SHA256())
    )
    return TlsAlpn01(name, server_name, certificate.public_bytes(Encoding.DER), key_pem(key))
