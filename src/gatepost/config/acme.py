"""The configuration of automatic certificates: an authority that speaks ACME, how names are proved to it, which profiles.

Secrets are not in the document: the key of an external account and the key of dynamic DNS updates are kept sealed beside it
(`gatepost acme secret`). R8, RFC 8555 §7.3.4 (external account), §8 (challenges).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from gatepost.config.challenge_ports import HTTP_PORT, TLS_PORT
from gatepost.config.hosts import DnsServerText
from gatepost.config.recipients import MailboxText
from gatepost.config.section import Section
from gatepost.config.values import (
    Duration,
    Fault,
    Flag,
    HostText,
    Name,
    Port,
    WrittenText,
    check_text,
    parse_host_name,
)

MAX_NAMES = 100  # what the large public authorities take
WILDCARD = "*."
_FASTEST, _SLOWEST = 0.1, 0.95


def _directory(value: str) -> str:
    """An https URL (RFC 8555 §6.1), or nothing."""
    check_text(value)
    if not value:
        return value
    try:
        parts = urlsplit(value)
        port_exists = parts.port is None or parts.port > 0
    except ValueError:
        raise Fault("is not a URL", "for example https://acme.example/directory") from None
    if parts.scheme != "https":
        raise Fault("is not an https URL", "an authority is spoken to over https only (RFC 8555)")
    if not parts.hostname or " " in value or not value.isascii() or not port_exists:
        raise Fault("is not a URL", "for example https://acme.example/directory")
    if parts.username is not None or parts.fragment:
        raise Fault("has a user or a fragment", "give the plain URL of the directory")
    return value


def _fraction(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _FASTEST <= value <= _SLOWEST:
        raise Fault(
            "is not a fraction of a certificate's life", f"from {_FASTEST} to {_SLOWEST}, without quotes"
        )
    return float(value)


def parse_certificate_name(text: str) -> str:
    """A DNS name that a certificate may carry, in its comparable form; `*.` may stand for the first label. Raises Fault."""
    plain = text.removeprefix(WILDCARD)
    try:
        name = parse_host_name(plain)
    except Fault as fault:
        raise Fault(fault.text, "a certificate carries host names, for example mx.example.net") from None
    if "_" in name:
        raise Fault("is not a host name", "no authority signs a name with an underscore")
    if "." not in name:
        raise Fault("is not a full name", "write it with its domain, for example mx.example.net")
    return (WILDCARD if plain != text else "") + name


def _certificate_name(value: str) -> str:
    parse_certificate_name(value)
    return value


def _program(value: str) -> str:
    check_text(value)
    if not value.startswith("/"):
        raise Fault("is not the full path of a program", "begin it with /")
    return value


DirectoryText = Annotated[WrittenText, Field(max_length=1_000), AfterValidator(_directory)]
"""The URL of an ACME directory, or an empty text."""

Fraction = Annotated[float, BeforeValidator(_fraction)]
"""A part of a certificate's life."""

CertificateNameText = Annotated[WrittenText, AfterValidator(_certificate_name)]
"""A name for a certificate as written; `parse_certificate_name` gives its comparable form."""

ProgramText = Annotated[WrittenText, Field(max_length=1_000), AfterValidator(_program)]
"""The full path of a program."""


class AcmeChallenge(StrEnum):
    """How the authority sees that a name is ours."""

    HTTP = "http-01"
    DNS = "dns-01"
    TLS_ALPN = "tls-alpn-01"


class AcmeKey(StrEnum):
    """The key of a certificate that is issued."""

    P256 = "p256"
    P384 = "p384"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"

    @property
    def family(self) -> str:
        """`RSA` or `ECDSA`: two certificates side by side are of different families."""
        return "RSA" if self.value.startswith("rsa") else "ECDSA"


class TsigAlgorithm(StrEnum):
    """The hash that authenticates dynamic updates (RFC 8945 §6)."""

    SHA256 = "hmac-sha256"
    SHA384 = "hmac-sha384"
    SHA512 = "hmac-sha512"


class ExternalAccount(Section):
    """An account that the authority knows already; its key is stored with `gatepost acme secret eab`."""

    key_id: Name = Field(description="Identifier that the authority gave with the key.", examples=["kid-1"])


class AcmeDns(Section):
    """How records for dns-01 come into the DNS: a program, or dynamic updates (RFC 2136)."""

    hook: ProgramText | None = Field(
        default=None,
        description="Program that is run to add and to remove a record.",
    )
    server: DnsServerText | None = Field(
        default=None, description="ADDR, ADDR:PORT or [V6]:PORT of the server that takes dynamic updates."
    )
    zone: HostText | None = Field(
        default=None,
        description="Zone that is updated; the names to be proved lie in it, or lead there by CNAME. Absent: the closest one.",
    )
    key_name: HostText | None = Field(
        default=None,
        description="Name of the key for dynamic updates; the key itself is stored with `gatepost acme secret tsig`.",
    )
    algorithm: TsigAlgorithm = Field(
        default=TsigAlgorithm.SHA256, description="Algorithm of the key for dynamic updates."
    )
    wait: Duration = Field(
        default=120, description="How long a record may take to be visible on all servers of its zone."
    )


class AcmeCertificate(Section):
    """A profile whose certificate is issued and renewed by itself; until the first one is there, a self-signed one stands in."""

    name: Name = Field(description="Name of the certificate profile.", examples=["gw"])
    names: tuple[CertificateNameText, ...] = Field(
        description="DNS names in the certificate; `*.` for a wildcard needs dns-01.",
        examples=[["mx.example.net"]],
    )
    key: AcmeKey = Field(default=AcmeKey.P256, description="Kind of the key.")
    also: AcmeKey | None = Field(
        default=None,
        description="A second certificate with a key of the other kind, served beside the first.",
    )
    challenge: AcmeChallenge | None = Field(
        default=None, description="How these names are proved. Absent: as `acme.challenge` says."
    )
    profile: Name | None = Field(
        default=None, description="The authority's own profile, for example `shortlived`."
    )
    preferred_chain: Name | None = Field(
        default=None,
        description="Common name of the issuer that the chain should end with, where there is a choice.",
    )
    new_key: Flag = Field(default=True, description="Make a new key for every renewal.")
    wait_for_dane: Flag = Field(
        default=False,
        description="Serve a new certificate only when its TLSA record has been visible long enough.",
    )


class Acme(Section):
    """Certificates that are issued and renewed by themselves (R8)."""

    directory: DirectoryText = Field(
        default="", description="URL of the authority's directory; empty: nothing is issued."
    )
    contact: MailboxText | None = Field(
        default=None, description="Mailbox that the authority may write to about the account."
    )
    terms_agreed: Flag = Field(
        default=False, description="The authority's terms of service have been read and are agreed to."
    )
    eab: ExternalAccount | None = Field(default=None, description="Binding to an account at the authority.")
    challenge: AcmeChallenge = Field(
        default=AcmeChallenge.HTTP, description="How names are proved to be ours."
    )
    http_port: Port = Field(
        default=HTTP_PORT,
        description="Port for http-01, open only while an order runs. The authority asks at port 80.",
    )
    tls_port: Port = Field(
        default=TLS_PORT,
        description="Port for tls-alpn-01, open only while an order runs. The authority asks at port 443.",
    )
    interface: Name | None = Field(
        default=None,
        description="Interface on which these ports are opened. Absent: every interface that has a listener.",
    )
    dns: AcmeDns | None = Field(default=None, description="How dns-01 is done.")
    renew_at: Fraction = Field(
        default=0.66,
        description="Part of its life after which a certificate is renewed, unless the authority names a time.",
    )
    certificates: tuple[AcmeCertificate, ...] = Field(default=(), description="The certificates.")

    @property
    def enabled(self) -> bool:
        """There is something to be issued, and somebody to issue it."""
        return bool(self.directory and self.certificates)

    def certificate(self, name: str) -> AcmeCertificate | None:
        """The automatic certificate of that profile."""
        return next((item for item in self.certificates if item.name == name), None)

    def challenge_of(self, certificate: AcmeCertificate) -> AcmeChallenge:
        """How the names of a certificate are proved."""
        return certificate.challenge or self.challenge
