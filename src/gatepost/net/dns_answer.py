"""What a look-up says. "Could not tell" is an answer of its own, never an empty one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class DnsStatus(StrEnum):
    """`NO_DATA`: the name exists without such records; `TEMPORARY`: no server gave an answer."""

    FOUND = "found"
    NO_DATA = "no-data"
    NXDOMAIN = "nxdomain"
    TEMPORARY = "temporary"


@dataclass(frozen=True, slots=True)
class DnsAnswer(Generic[T]):
    """One answer. `secure`: every part of it was validated by a resolver that is trusted for that.

    `ttl` is in seconds, already within the cache's bounds. `detail` says why an answer is temporary. `canonical` is the
    name at the end of the aliases, the asked one without any.
    """

    status: DnsStatus
    values: tuple[T, ...] = ()
    secure: bool = False
    ttl: float = 0.0
    detail: str = ""
    canonical: str = ""

    @property
    def found(self) -> bool:
        return self.status is DnsStatus.FOUND

    @property
    def temporary(self) -> bool:
        return self.status is DnsStatus.TEMPORARY


@dataclass(frozen=True, slots=True)
class Mx:
    """One MX record. `host` is empty for the null MX (RFC 7505): the domain takes no mail."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class HostName:
    """The confirmed name of an address: its PTR name has that address."""

    name: str


@dataclass(frozen=True, slots=True)
class NoName:
    """The address has no PTR record, or none that is confirmed; `claimed` is the unconfirmed name, if any."""

    claimed: str = ""


@dataclass(frozen=True, slots=True)
class Undetermined:
    """DNS did not answer in time; `reason` is for the log."""

    reason: str


PtrAnswer = HostName | NoName | Undetermined
