"""Which of our reference names a certificate is valid for (RFC 9525), the only such rule in the product.

- dNSName entries of subjectAltName count; the subject's common name counts only where the certificate has no
  dNSName at all (architecture 4; RFC 9525 §2 would not look at it, the appliance's guide does).
- Comparison is of A-labels, ASCII case aside (§6.3). A presented name that is not plain ASCII host
  syntax (U-labels, NUL, blanks, empty labels, a trailing dot) matches nothing.
- `*` must be the whole left-most label and stands for exactly one label (§6.3); at least two
  labels follow it, so `*.example` matches nothing (as in OpenSSL).
- An address matches only an iPAddress entry with the same octets, never a name or a common name (§6.5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from gatepost.core.tls import NameMatch, ReferenceName
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.load import load_certificate
from gatepost.pki.text import printable

_MAX_REMEMBERED = 8 * 1024  # octets of a certificate
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


@dataclass(frozen=True, slots=True)
class PresentedNames:
    """The identities that a certificate presents, raw: hostile text is still in them.

    `common_name` is the first CN of the subject, or empty.
    """

    dns: tuple[str, ...] = ()
    addresses: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...] = ()
    common_name: str = ""

    @property
    def count(self) -> int:
        """How many `texts` there are."""
        return len(self.dns) + len(self.addresses) or int(bool(self.common_name))

    def texts(self, limit: int | None = None) -> tuple[str, ...]:
        """`DNS:…` and `IP:…`, or `CN:…` where there is neither; escaped, at most `limit`."""
        found = [f"DNS:{printable(name)}" for name in self.dns[:limit]]
        found += [f"IP:{address}" for address in self.addresses[:limit]]
        if not found and self.common_name:
            found = [f"CN:{printable(self.common_name)}"]
        return tuple(found[:limit])


def read_names(certificate: x509.Certificate | x509.CertificateSigningRequest) -> PresentedNames:
    """The names of a certificate that `load_certificate` has read, or of a signing request of ours."""
    dns: list[str] = []
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        pass
    else:
        for entry in alternatives:
            if isinstance(entry, x509.DNSName):
                dns.append(entry.value)
            elif isinstance(entry, x509.IPAddress) and isinstance(
                entry.value, (ipaddress.IPv4Address, ipaddress.IPv6Address)
            ):
                addresses.append(entry.value)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    value = common[0].value if common else ""
    return PresentedNames(tuple(dns), tuple(addresses), value if isinstance(value, str) else "")


def presented_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names as a log shows them."""
    return read_names(certificate).texts()


def match_names(presented: PresentedNames | bytes, references: Sequence[ReferenceName]) -> NameMatch | None:
    """The first reference name that the certificate is valid for, in the order given; None for none.

    `presented` may be the DER of a certificate; one that cannot be read matches nothing.
    """
    names = _of_der(presented) if isinstance(presented, bytes) else presented
    for reference in references:
        found = _match_address(names, reference) if reference.is_address else _match_host(names, reference)
        if found:
            return NameMatch(reference, found)
    return None


def usable_name(presented: str) -> bool:
    """Some host can match this dNSName entry: a host name, or one whole wildcard label before at least two others."""
    if not presented.isascii():
        return False
    name = presented.lower()
    if name.startswith("*."):
        return _is_host(name[2:]) and "." in name[2:]
    return _is_host(name)


def _of_der(der: bytes) -> PresentedNames:
    """Those of the last few hundred certificates of usual size are remembered: one host shows the same again and again."""
    return _remembered(der) if len(der) <= _MAX_REMEMBERED else _read(der)


@lru_cache(maxsize=512)
def _remembered(der: bytes) -> PresentedNames:
    return _read(der)


def _read(der: bytes) -> PresentedNames:
    try:
        return read_names(load_certificate(der))
    except MalformedCertificate:
        return PresentedNames()


def _match_address(names: PresentedNames, reference: ReferenceName) -> str:
    try:
        wanted = ipaddress.ip_address(reference.name)
    except ValueError:
        return ""
    return next((f"IP:{address}" for address in names.addresses if address == wanted), "")


def _match_host(names: PresentedNames, reference: ReferenceName) -> str:
    wanted = reference.name.removesuffix(".").lower() if reference.name.isascii() else ""
    if not _is_host(wanted):
        return ""
    for presented in names.dns:
        if _covers(presented, wanted):
            return f"DNS:{printable(presented)}"
    if not names.dns and names.common_name and _covers(names.common_name, wanted):
        return f"CN:{printable(names.common_name)}"
    return ""


def _covers(presented: str, wanted: str) -> bool:
    """A presented name, with or without wildcard, is valid for the host `wanted` (lower case)."""
    if not presented.isascii():  # lower() would make ASCII of some look-alikes, the Kelvin sign for one
        return False
    name = presented.lower()
    if not name.startswith("*."):
        return name == wanted
    suffix = name[1:]
    first, dot, rest = wanted.partition(".")
    return bool(first) and dot + rest == suffix and "." in rest


def _is_host(name: str) -> bool:
    """Lower-case ASCII labels, none empty, and not the text of an IPv4 address."""
    return (
        0 < len(name) <= 255
        and _HOST_CHARACTERS.issuperset(name)
        and all(0 < len(label) <= 63 for label in name.split("."))
        and not name.rpartition(".")[2].isdigit()
    )
