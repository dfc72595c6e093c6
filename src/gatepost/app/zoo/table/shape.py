"""What a line of the table is made of: plain values, no behaviour.

An inhabitant is a mail domain `NAME.zoo.example` (signed) or `NAME.dark.example` (not signed) with one host or two, each on an
address of its own. What a host does and shows is named by a word; `behaviours` and `certificates` know what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Column(StrEnum):
    """A setting of the destination controls; those behind the levels are DANE and MTA-STS beside the level `preferred`.

    In the last two the gateway asks a resolver that validates nothing and says that it does (D10). Only inhabitants that are about DANE
    have outcomes there.
    """

    NONE = "none"
    PREFERRED = "preferred"
    PREFERRED_VERIFY = "preferred-verify"
    REQUIRED = "required"
    REQUIRED_VERIFY = "required-verify"
    REQUIRED_VERIFY_HOSTED = "required-verify-hosted"
    STS = "sts"
    DANE = "dane"
    DANE_MANDATORY = "dane-mandatory"
    DANE_STS = "dane-sts"
    DANE_UNVALIDATED = "dane-unvalidated"
    DANE_MANDATORY_UNVALIDATED = "dane-mandatory-unvalidated"

    @property
    def validated(self) -> bool:
        """The gateway's resolver validates."""
        return self not in (Column.DANE_UNVALIDATED, Column.DANE_MANDATORY_UNVALIDATED)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of `destination_controls.default`."""
        dane = {
            Column.DANE: "opportunistic",
            Column.DANE_MANDATORY: "mandatory",
            Column.DANE_STS: "opportunistic",
            Column.DANE_UNVALIDATED: "opportunistic",
            Column.DANE_MANDATORY_UNVALIDATED: "mandatory",
        }
        beside = self in (Column.STS, *dane)
        return {
            "tls": Column.PREFERRED.value if beside else self.value,
            "dane": dane.get(self, "none"),
            "mta_sts": self in (Column.STS, Column.DANE_STS),
        }


class Verdict(StrEnum):
    """What becomes of a message."""

    CLEAR = "clear"  # delivered without TLS
    ENCRYPTED = "encrypted"  # delivered over TLS to nobody knows whom
    VERIFIED = "verified"  # delivered over TLS to the right host
    REFUSED = "refused"  # not delivered; it waits for the next attempt
    BOUNCED = "bounced"  # given back to its sender


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is part of what the gateway says of it; `{domain}` and `{mx}` stand for the inhabitant's names."""

    verdict: Verdict
    reason: str = ""


class Zone(StrEnum):
    """Where the names of an inhabitant are kept."""

    DARK = "dark"  # below dark.example, which is not signed
    SIGNED = "zoo"  # below zoo.example, which is signed
    OWN = "own"  # a signed zone of its own below zoo.example, on a name server of its own
    OWN_DARK = "own-dark"  # one of its own that is not signed
    BOGUS = "bogus"  # one of its own whose signatures are of another key than its parent says

    @property
    def above(self) -> str:
        return "dark.example" if self is Zone.DARK else "zoo.example"

    @property
    def own(self) -> bool:
        return self in (Zone.OWN, Zone.OWN_DARK, Zone.BOGUS)

    @property
    def signed(self) -> bool:
        return self in (Zone.SIGNED, Zone.OWN, Zone.BOGUS)


class DnsFault(StrEnum):
    """How the name server misbehaves for one name and type."""

    SERVFAIL = "servfail"
    SILENT = "silent"  # no answer at all
    TRUNCATED = "truncated"  # nothing but TC over UDP, the whole over TCP
    BOGUS = "bogus"  # a signature that does not hold
    NXDOMAIN = "nxdomain"  # denies a name that exists
    UNSIGNED = "unsigned"  # leaves the signatures out
    GARBAGE = "garbage"  # octets that are no DNS message


@dataclass(frozen=True, slots=True)
class Fault:
    """`name` is relative to the domain; an empty `kind` means every type."""

    name: str
    kind: str
    what: DnsFault


@dataclass(frozen=True, slots=True)
class Host:
    """One SMTP server. `does` is a behaviour, `shows` the recipe of a certificate."""

    does: str = "proper"
    shows: str = "good"


class WebFault(StrEnum):
    """What the web server of a policy does instead of giving it."""

    REDIRECT = "redirect"
    TYPE = "type"  # text/html
    MISSING = "missing"  # 404
    LARGE = "large"  # more than 64 KiB
    BREAKS_OFF = "breaks-off"  # half of what Content-Length said
    COMPRESSED = "compressed"


@dataclass(frozen=True, slots=True)
class Policy:
    """An MTA-STS policy, its record, and its web server. `lines` go into the file, each with `end` behind it.

    `address` replaces that of the web server (a name of a place, or an address), `shows` the recipe of its certificate.
    """

    lines: tuple[str, ...]
    end: str = "\r\n"
    records: tuple[str, ...] = ("v=STSv1; id=1;",)
    web: WebFault | None = None
    shows: str = "web"
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inhabitant:
    """One line. `records` replaces what the zone has under a name (relative, or absolute with a dot at the end): `{address}`,
    `{address2}` and `{domain}` are filled in, a TLSA record is `3 1 1 leaf` (leaf, issuer, root, other) or `raw HEX`.

    `attempts` are made of each message, the later ones by hand; `clear_after` is the entry's `preferred_clear_after`; `unasked`
    says that nobody may ask for TLSA records (D2).
    """

    name: str
    cases: tuple[str, ...]
    wrong: str
    expected: Mapping[Column, Outcome]
    hosts: tuple[Host, ...] = (Host(),)
    zone: Zone = Zone.DARK
    tlsa: tuple[str, ...] = ()
    records: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    policy: Policy | None = None
    attempts: int = 1
    clear_after: int | None = None
    unasked: bool = False

    @property
    def domain(self) -> str:
        return f"{self.name}.{self.zone.above}"

    @property
    def mx(self) -> str:
        """The first host's name, as it is unless `records` say otherwise."""
        return f"mx.{self.domain}"


class Judge(StrEnum):
    """Another program that knows DANE."""

    POSTTLS_FINGER = "posttls-finger"
    OPENSSL = "openssl"
    LDNS_DANE = "ldns-dane"


@dataclass(frozen=True, slots=True)
class Dissent:
    """Where a judge does not come to our verdict: it `differs`, or by its nature cannot judge; and why."""

    inhabitant: str
    judge: Judge
    differs: bool
    why: str


@dataclass(frozen=True, slots=True)
class StruckOut:
    """A part of a case that has no inhabitant."""

    case: str
    part: str
    reason: str
