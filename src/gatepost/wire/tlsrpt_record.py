"""The record that asks for TLS reports: TXT of `_smtp._tls.DOMAIN` (RFC 8460 §3).

    v=TLSRPTv1; rua=mailto:tls@example.org,https://reports.example.org/v1

Texts that do not begin with `v=TLSRPTv1` are passed over. With several records, or none, the domain wants no reports. Blanks, an
order of fields and unknown fields do not matter. A destination that is neither mail nor https, or cannot be read, is left out
and named in `ignored`, so that an administrator can be told.

Limits. The first 10 destinations count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from gatepost.core.address import MAX_PATH, normalise_domain

VERSION = "v=TLSRPTv1"
MAX_DESTINATIONS = 10
_MAX_URL = 2_000
_NOT_IN_LOCAL = frozenset(' <>()[]\\,;:@"')


class TlsrptRecordFault(ValueError):
    """A record that does not count; the text says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a report is to go: an address (its domain normalised) or a URL that begins with https."""

    mail: bool
    to: str

    @property
    def uri(self) -> str:
        """As it stands in a record."""
        return f"mailto:{quote(self.to, safe='@+')}" if self.mail else self.to


@dataclass(frozen=True, slots=True)
class TlsrptRecord:
    """What a domain asks for. `ignored` are destinations that no report can go to."""

    destinations: tuple[Destination, ...]
    ignored: tuple[str, ...] = ()


def record_name(domain: str) -> str:
    """Where the record of a domain stands."""
    return f"_smtp._tls.{domain}"


def read_record(texts: Sequence[str]) -> TlsrptRecord | None:
    """The one record among the TXT texts of `record_name`; None where there is none.

    Raises TlsrptRecordFault for several records, or one that names no destination at all.
    """
    records = [text for text in texts if text.strip().partition(";")[0].strip() == VERSION]
    if not records:
        return None
    if len(records) > 1:
        raise TlsrptRecordFault(f"{len(records)} records stand where one belongs")
    written: list[str] = []
    for field in records[0].split(";"):
        name, equals, value = field.partition("=")
        if equals and name.strip() == "rua":
            written += [uri.strip() for uri in value.split(",") if uri.strip()]
    if not written:
        raise TlsrptRecordFault("the record names no destination (rua)")
    found: dict[Destination, None] = {}
    ignored = written[MAX_DESTINATIONS:]
    for uri in written[:MAX_DESTINATIONS]:
        destination = read_destination(uri)
        if destination is None:
            ignored.append(uri)
        else:
            found[destination] = None
    return TlsrptRecord(tuple(found), tuple(ignored))


def read_destination(uri: str) -> Destination | None:
    """A destination, or None for a URI that no report can go to."""
    scheme, _, rest = uri.partition(":")
    if not uri.isascii() or not uri.isprintable() or " " in uri or len(uri) > _MAX_URL:
        return None
    if scheme.lower() == "mailto":
        return _mailbox(rest)
    return _url(uri) if scheme.lower() == "https" else None


def _mailbox(text: str) -> Destination | None:
    # What stands behind "?" would be fields of a header (RFC 6068 §2), behind "!" a size in the manner of DMARC: neither is ours.
    address = unquote(text.partition("?")[0].partition("!")[0])
    local, at, domain = address.rpartition("@")
    dots = local.startswith(".") or local.endswith(".") or ".." in local
    if not at or not local or dots or _NOT_IN_LOCAL & set(local) or not address.isprintable():
        return None
    try:
        domain = normalise_domain(domain)
    except ValueError:
        return None
    if not domain.replace(".", "").replace("-", "").isalnum() or len(local) + len(domain) + 3 > MAX_PATH:
        return None
    return Destination(True, f"{local}@{domain}")


def _url(text: str) -> Destination | None:
    try:
        parts = urlsplit(text)
        if not parts.hostname or parts.port == 0 or parts.username is not None or parts.password is not None:
            return None
    except ValueError:
        return None
    return Destination(False, parts._replace(scheme="https", fragment="").geturl())
