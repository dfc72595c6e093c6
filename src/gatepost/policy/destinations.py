"""Destination controls: which outgoing rule applies to a recipient domain (requirements D).

An entry names a domain (`partner.example`) or everything inside one (`.partner.example`, which does not
mean `partner.example` itself). The exact entry wins, then the longest suffix, then the default. What an
entry leaves out it takes from the default, as the appliance does. An entry whose `until` day has
passed (UTC) is as if it were not there.

An entry in monitor mode is enforced by nobody: `find` gives the rule that holds without it, and on that rule hangs what
would hold were it enforced (`DestinationRule.monitored`). For one domain an entry in monitor mode may stand beside one that is enforced;
it is the proposal for its place.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gatepost.config.outbound import Dane
from gatepost.core.address import normalise_domain
from gatepost.core.tls import ClientHello, TlsLevel

DEFAULT_PATH = "destination_controls.default"
NOTICE_PATH = "alerts.clear_notice"  # what the record of a notice names as its rule


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """What destination controls say of one recipient domain.

    `domain` is the entry's own text (`partner.example`, `.legacy.example`) or empty for the default, and
    `path` its place in the configuration. `preferred_clear_after` is the number of attempts with a broken
    handshake after which the two preferred levels may go in clear; None is never. `monitored` is the rule that is evaluated beside
    this one and not enforced.
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
    bounce_tags: bool = True
    client_hello: ClientHello = ClientHello.DEFAULT
    monitored: DestinationRule | None = None

    @property
    def asks_sts(self) -> bool:
        """The MTA-STS policy of the next-hop domain is heeded."""
        return self.mta_sts and self.level.tries

    @property
    def asks_dane(self) -> bool:
        """TLSA records are looked up. None is final: such an entry asks for nothing (R23)."""
        return self.dane is not Dane.NONE and self.level.tries

    @property
    def heeds_dnssec(self) -> bool:
        """It matters whether DNS is signed: TLSA records are looked for, or names of the certificate are compared."""
        if self.asks_dane or self.level.verifies:
            return True
        return self.monitored is not None and self.monitored.heeds_dnssec

    @property
    def looks_up_sts(self) -> bool:
        """The policy is looked for: this rule heeds it, or the one that is monitored would."""
        return self.asks_sts or (self.monitored is not None and self.monitored.asks_sts)

    @property
    def looks_up_tlsa(self) -> bool:
        """TLSA records are looked for: this rule heeds them, or the one that is monitored would."""
        return self.asks_dane or (self.monitored is not None and self.monitored.asks_dane)


def notice_rule(rule: DestinationRule) -> DestinationRule:
    """The rule under which the notice of an alert goes that TLS keeps back: in clear, since nothing else gets through."""
    return replace(rule, level=TlsLevel.NONE, path=NOTICE_PATH, monitored=None)


@dataclass(frozen=True, slots=True)
class DestinationEntry:
    """One row of the table: its rule, and the last day on which it counts (None: for ever). `monitor`: it is not enforced."""

    rule: DestinationRule
    until: datetime.date | None = None
    monitor: bool = False

    def lives(self, today: datetime.date) -> bool:
        """`until` ends with that day, UTC (contract, Values)."""
        return self.until is None or today <= self.until


@dataclass(frozen=True, slots=True)
class DestinationChoice:
    """Which rule counts for a domain, and why. `entry` None: the default. `expired` would have come before it.

    `monitor` is the entry whose rule is monitored, None where that is the default's, or none is.
    """

    rule: DestinationRule
    entry: DestinationEntry | None
    expired: tuple[DestinationEntry, ...] = ()
    monitor: DestinationEntry | None = None


class DestinationTable:
    """The compiled table. Immutable; a look-up costs one dictionary access for each label."""

    def __init__(self, default: DestinationRule, entries: Iterable[DestinationEntry] = ()) -> None:
        self.default = default
        self._entries: dict[str, DestinationEntry] = {}
        self._monitors: dict[str, DestinationEntry] = {}
        for entry in entries:
            text = entry.rule.domain
            partial = text.startswith(".")
            key = "." + normalise_domain(text[1:]) if partial else normalise_domain(text)
            # The first entry for a domain counts; `config check` tells of a second one.
            (self._monitors if entry.monitor else self._entries).setdefault(key, entry)

    @property
    def asks_sts(self) -> bool:
        """Some destination may want MTA-STS policies, if only to be monitored."""
        return any(rule.looks_up_sts for rule in self._rules())

    @property
    def asks_dane(self) -> bool:
        """Some destination may want TLSA records, if only to be monitored."""
        return any(rule.looks_up_tlsa for rule in self._rules())

    @property
    def heeds_dnssec(self) -> bool:
        """For some destination it matters whether DNS is signed, if only to be monitored."""
        return any(rule.heeds_dnssec for rule in self._rules())

    def _rules(self) -> Iterator[DestinationRule]:
        yield self.default
        for table in (self._entries, self._monitors):
            yield from (entry.rule for entry in table.values())

    def find(self, domain: str, today: datetime.date) -> DestinationRule:
        """The rule for a recipient domain in its normalised form (`core.address.normalise_domain`)."""
        if self._monitors:
            return self.choose(domain, today).rule
        for entry in _naming(self._entries, domain):
            if entry.lives(today):
                return entry.rule
        return self.default

    def choose(self, domain: str, today: datetime.date) -> DestinationChoice:
        """What `find` finds, with the entries it comes from and those that have ended."""
        expired: list[DestinationEntry] = []
        chosen: DestinationEntry | None = None
        monitor: DestinationEntry | None = None
        for entry in self._naming(domain):
            if not entry.lives(today):
                expired.append(entry)
            elif not entry.monitor:
                chosen = entry
                break
            elif monitor is None:
                monitor = entry
        rule = self.default if chosen is None else chosen.rule
        if monitor is not None:
            rule = replace(rule, monitored=monitor.rule)
        return DestinationChoice(rule, chosen, tuple(expired), monitor)

    def _naming(self, domain: str) -> Iterator[DestinationEntry]:
        """The entries that name a domain, the nearest first, ended ones too; at one place the one in monitor mode comes first."""
        for key in _keys(domain):
            if (entry := self._monitors.get(key)) is not None:
                yield entry
            if (entry := self._entries.get(key)) is not None:
                yield entry


def _naming(entries: Mapping[str, DestinationEntry], domain: str) -> Iterator[DestinationEntry]:
    for key in _keys(domain):
        entry = entries.get(key)
        if entry is not None:
            yield entry


def _keys(domain: str) -> Iterator[str]:
    """`a.example.net`, `.example.net`, `.net`."""
    yield domain
    start = domain.find(".")
    while start >= 0:
        yield domain[start:]
        start = domain.find(".", start + 1)
