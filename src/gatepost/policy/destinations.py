"""Destination controls: which outgoing rule applies to a recipient domain (requirements D).

An entry names a domain (`partner.example`) or everything inside one (`.partner.example`, which does not
mean `partner.example` itself). The exact entry wins, then the longest suffix, then the default. What an
entry leaves out it takes from the default, as the appliance does. An entry whose `until` day has
passed (UTC) is as if it were not there.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gatepost.config.outbound import Dane
from gatepost.core.address import normalise_domain
from gatepost.core.tls import TlsLevel

DEFAULT_PATH = "destination_controls.default"


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """What destination controls say of one recipient domain.

    `domain` is the entry's own text (`partner.example`, `.legacy.example`) or empty for the default, and
    `path` its place in the configuration. `preferred_clear_after` is the number of attempts with a broken
    handshake after which the two preferred levels may go in clear; None is never.
    """

    level: TlsLevel
    domain: str = ""
    path: str = DEFAULT_PATH
    insecure_names: bool = False
    client_certificate: bool = True
    max_connections: int = 500
    max_messages_per_connection: int = 50
    bounce_profile: str = "Default"
    preferred_clear_after: int | None = None
    dane: Dane = Dane.NONE
    mta_sts: bool = False

    @property
    def asks_sts(self) -> bool:
        """The MTA-STS policy of the next-hop domain is heeded."""
        return self.mta_sts and self.level.tries

    @property
    def asks_dane(self) -> bool:
        """TLSA records are looked up. None is final: such an entry asks for nothing (R23)."""
        return self.dane is not Dane.NONE and self.level.tries


@dataclass(frozen=True, slots=True)
class DestinationEntry:
    """One row of the table: its rule, and the last day on which it counts (None: for ever)."""

    rule: DestinationRule
    until: datetime.date | None = None

    def lives(self, today: datetime.date) -> bool:
        """`until` ends with that day, UTC (contract, Values)."""
        return self.until is None or today <= self.until


@dataclass(frozen=True, slots=True)
class DestinationChoice:
    """Which rule counts for a domain, and why. `entry` None: the default. `expired` would have come before it."""

    rule: DestinationRule
    entry: DestinationEntry | None
    expired: tuple[DestinationEntry, ...] = ()


class DestinationTable:
    """The compiled table. Immutable; a look-up costs one dictionary access for each label."""

    def __init__(self, default: DestinationRule, entries: Iterable[DestinationEntry] = ()) -> None:
        self.default = default
        self._entries: dict[str, DestinationEntry] = {}
        for entry in entries:
            text = entry.rule.domain
            partial = text.startswith(".")
            key = "." + normalise_domain(text[1:]) if partial else normalise_domain(text)
            # The first entry for a domain counts; `config check` tells of a second one.
            self._entries.setdefault(key, entry)

    @property
    def asks_sts(self) -> bool:
        """Some destination may want MTA-STS policies."""
        return self.default.asks_sts or any(entry.rule.asks_sts for entry in self._entries.values())

    @property
    def asks_dane(self) -> bool:
        """Some destination may want TLSA records."""
        return self.default.asks_dane or any(entry.rule.asks_dane for entry in self._entries.values())

    def find(self, domain: str, today: datetime.date) -> DestinationRule:
        """The rule for a recipient domain in its normalised form (`core.address.normalise_domain`)."""
        for entry in self._naming(domain):
            if entry.lives(today):
                return entry.rule
        return self.default

    def choose(self, domain: str, today: datetime.date) -> DestinationChoice:
        """What `find` finds, with the entry it comes from and those that have ended."""
        expired: list[DestinationEntry] = []
        for entry in self._naming(domain):
            if entry.lives(today):
                return DestinationChoice(entry.rule, entry, tuple(expired))
            expired.append(entry)
        return DestinationChoice(self.default, None, tuple(expired))

    def _naming(self, domain: str) -> Iterator[DestinationEntry]:
        """The entries that name a domain, the nearest first, ended ones too."""
        entry = self._entries.get(domain)
        if entry is not None:
            yield entry
        start = domain.find(".")
        while start >= 0:
            entry = self._entries.get(domain[start:])
            if entry is not None:
                yield entry
            start = domain.find(".", start + 1)
