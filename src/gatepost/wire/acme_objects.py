"""What an ACME server says, as values (RFC 8555 §7.1): directory, account, order, authorization, challenge, problem.

They are made by `wire.acme` from JSON that may hold anything; here every text is bounded, every URL may be asked, and what
is shown to people is one printable line. An unknown status is refused when it is read, so that a value's
status is always one of the RFC's.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.address import normalise_domain

MAX_SHOWN = 500  # characters of one sentence of a CA
MAX_SHOWN_LINES = 20
MAX_DNS_NAME = 253  # octets of a name in text form, RFC 1035 §2.3.4
ERROR_PREFIX = "urn:ietf:params:acme:error:"  # RFC 8555 §6.7
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class AcmeNameError(ValueError):
    """A text that no certificate can be ordered for; the sentence says why."""


class IdentifierKind(StrEnum):
    """What a certificate can name (RFC 8555 §9.7.7, RFC 8738)."""

    DNS = "dns"
    IP = "ip"


class ChallengeKind(StrEnum):
    """The proofs of control that we can give (RFC 8555 §8, RFC 8737)."""

    HTTP01 = "http-01"
    DNS01 = "dns-01"
    TLS_ALPN01 = "tls-alpn-01"


class Status(StrEnum):
    """The statuses of all objects together (RFC 8555 §7.1.6)."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


def shown(text: str, limit: int = MAX_SHOWN) -> str:
    """A CA's words as one printable line: other characters become escapes, over-long text ends with `…`."""
    cut = text[:limit] + "…" if len(text) > limit else text
    flat = " ".join(cut.split())
    return flat if flat.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in flat)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True)
class Identifier:
    """One name of an order. `value` is lower-case A-labels or the text of an address, in an order perhaps with `*.`."""

    kind: IdentifierKind
    value: str

    @property
    def wildcard(self) -> bool:
        return self.value.startswith("*.")

    @property
    def base(self) -> str:
        """The name that has to be proved: without `*.`."""
        return self.value.removeprefix("*.")

    def document(self) -> dict[str, str]:
        return {"type": self.kind.value, "value": self.value}


def identifier_of(name: str) -> Identifier:
    """A host name, `*.domain` or an IP address as an identifier. Raises AcmeNameError.

    A name goes into DNS records, URLs and the arguments of programs: only letters, digits, `-`, `_` and dots pass, in
    labels that DNS can hold; a line end in a name is refused here (C41).
    """
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        if "%" in name:
            raise AcmeNameError(f"`{shown(name)}` has a zone, which is known on this machine only")
        return Identifier(IdentifierKind.IP, address.compressed)  # RFC 8738 §3: as in RFC 5952
    star = "*." if name.startswith("*.") else ""
    try:
        host = normalise_domain(name.removeprefix("*."))
    except ValueError as error:
        raise AcmeNameError(f"`{shown(name)}` is no name for a certificate: {error}") from None
    if not set(host) <= _NAME_CHARACTERS or len(star + host) > MAX_DNS_NAME:
        raise AcmeNameError(f"`{shown(name)}` is no name for a certificate: use a host name or an IP address")
    if host.rpartition(".")[2].isdigit():
        raise AcmeNameError(f"`{shown(name)}` looks like an address and is none")
    return Identifier(IdentifierKind.DNS, star + host)


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a CA's resources are (RFC 8555 §7.1.1). An empty URL: the CA does not have it.

    `profiles` are the names of the kinds of certificate that the CA issues, each with its description (ACME profiles).
    """

    url: str
    new_nonce: str
    new_account: str
    new_order: str
    revoke_certificate: str = ""
    key_change: str = ""
    renewal_info: str = ""
    terms: str = ""
    external_account_required: bool = False
    profiles: tuple[tuple[str, str], ...] = ()

    @property
    def profile_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.profiles)


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as the CA has it (RFC 8555 §7.1.2)."""

    status: Status
    contact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in the CA's words (RFC 7807, RFC 8555 §6.7).

    `kind` is the last part of an ACME error (`badNonce`, `rateLimited`), or the whole type where it is another's.
    """

    kind: str
    detail: str = ""
    status: int = 0
    identifier: Identifier | None = None
    subproblems: tuple[Problem, ...] = ()

    @property
    def text(self) -> str:
        """One line without the parts: `detail (kind)`."""
        words = shown(self.detail) or "no reason given"
        line = f"{words} ({shown(self.kind, 80)})" if self.kind else words
        return f"{self.identifier.value}: {line}" if self.identifier else line

    def lines(self) -> tuple[str, ...]:
        """The whole: the parts, each with its name, where there are some; at most twenty lines."""
        parts = [line for part in self.subproblems for line in part.lines()]
        return (self.text, *parts)[:MAX_SHOWN_LINES]


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate on its way (RFC 8555 §7.1.3). `expires` is in seconds since the epoch."""

    status: Status
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    expires: float | None = None
    problem: Problem | None = None
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove control of a name (RFC 8555 §7.1.5)."""

    kind: ChallengeKind
    url: str
    status: Status
    token: str
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the CA wants to see for one name (RFC 8555 §7.1.4). Kinds of challenge that we do not know are left out.

    `offered` are the kinds by name, those that we do not know too: for the message when none fits.
    """

    identifier: Identifier
    status: Status
    challenges: tuple[Challenge, ...]
    wildcard: bool = False
    offered: tuple[str, ...] = ()
    expires: float | None = None

    @property
    def problem(self) -> Problem | None:
        """The reason of a failed challenge, where one has it."""
        return next((c.problem for c in self.challenges if c.problem is not None), None)


@dataclass(frozen=True, slots=True)
class SuggestedWindow:
    """When the CA would like a certificate to be renewed (RFC 9773 §4.2); seconds since the epoch."""

    start: float
    end: float
    explanation: str = ""
