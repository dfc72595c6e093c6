"""What the configuration says of a recipient domain: which destination entry counts and why, where each setting comes from, the smtp route.

This branch needs neither DNS nor a running gateway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import assert_never

from gatepost.config.model import Document
from gatepost.policy.destinations import (
    DestinationChoice,
    DestinationEntry,
    DestinationTable,
)
from gatepost.policy.outbound import Setting, entry_of, settings_of
from gatepost.policy.route import FixedHosts, Reject, RouteHost, Routes, UseAddress, UseDns
from gatepost.probe.tree import Node

_EVALUATED = frozenset({"tls", "dane", "mta_sts", "insecure_names", "preferred_clear_after"})


class Match(StrEnum):
    """How an entry names a domain."""

    EXACT = "exact"
    SUFFIX = "suffix"
    DEFAULT = "default"


class RouteKind(StrEnum):
    """Where the next hop comes from."""

    DNS = "dns"  # the MX records of the recipient domain
    HOSTS = "hosts"  # the smtp route
    ADDRESS = "address"  # the address that the recipient names
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class SettingView(Node):
    """One setting; `source` is its place in the configuration, empty for the product's default."""

    name: str
    value: str | int | bool
    source: str


@dataclass(frozen=True, slots=True)
class Ended(Node):
    """An entry that would count if its last day had not passed."""

    path: str
    domain: str
    reason: str
    until: date | None


@dataclass(frozen=True, slots=True)
class EntryView(Node):
    """The entry that counts; `domain` is its own text, empty for the default."""

    path: str
    domain: str
    match: Match
    reason: str
    until: date | None
    settings: tuple[SettingView, ...]
    ended: tuple[Ended, ...]


@dataclass(frozen=True, slots=True)
class MonitorView(Node):
    """The entry in monitor mode, which is evaluated and not enforced; `domain` is empty for the default.

    `settings` are those that decide what passes; the others have no effect.
    """

    path: str
    domain: str
    reason: str
    until: date | None
    settings: tuple[SettingView, ...]


@dataclass(frozen=True, slots=True)
class RouteView(Node):
    """The next hop. `path` and `domain` are those of the smtp route, empty without one; `detail` says why there is none."""

    kind: RouteKind
    path: str
    domain: str
    hosts: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class Rules(Node):
    """All that the configuration says of a domain."""

    entry: EntryView
    route: RouteView
    monitor: MonitorView | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """A configuration with its outgoing tables, and the day, UTC, on which it is looked at."""

    document: Document
    destinations: DestinationTable
    routes: Routes
    today: date


def rules_for(tables: Tables, domain: str) -> Rules:
    """The branch for a recipient domain in its normalised form."""
    choice = tables.destinations.choose(domain, tables.today)
    entry = _entry(tables.document, choice)
    return Rules(entry, _route(tables.routes, domain), _monitor(tables.document, choice))


def _entry(document: Document, choice: DestinationChoice) -> EntryView:
    written = entry_of(document, choice.rule)
    match = Match.DEFAULT
    if choice.entry is not None:
        match = Match.SUFFIX if choice.rule.domain.startswith(".") else Match.EXACT
    return EntryView(
        choice.rule.path,
        choice.rule.domain,
        match,
        (written and written.reason) or "",
        choice.entry.until if choice.entry is not None else None,
        _settings(settings_of(document, choice.rule)),
        tuple(_ended(document, entry) for entry in choice.expired),
    )


def _settings(found: Iterable[Setting]) -> tuple[SettingView, ...]:
    return tuple(SettingView(one.key, one.value, one.path) for one in found)


def _monitor(document: Document, choice: DestinationChoice) -> MonitorView | None:
    rule = choice.rule.monitored
    if rule is None:
        return None
    written = entry_of(document, rule)
    return MonitorView(
        rule.path,
        rule.domain,
        (written and written.reason) or "",
        choice.monitor.until if choice.monitor is not None else None,
        _settings(one for one in settings_of(document, rule, monitored=True) if one.key in _EVALUATED),
    )


def _ended(document: Document, entry: DestinationEntry) -> Ended:
    written = entry_of(document, entry.rule)
    return Ended(entry.rule.path, entry.rule.domain, (written and written.reason) or "", entry.until)


def _route(routes: Routes, domain: str) -> RouteView:
    choice = routes.choose(domain)
    hop = choice.next_hop
    kind, detail = RouteKind.DNS, ""
    hosts: tuple[str, ...] = ()
    match hop:
        case UseDns(name):
            hosts = (name,)
        case UseAddress(address):
            kind, hosts = RouteKind.ADDRESS, (str(address),)
        case FixedHosts(written):
            kind, hosts = RouteKind.HOSTS, tuple(_host(one) for one in written)
        case Reject(reason):
            kind, detail = RouteKind.REJECT, reason
        case _:
            assert_never(hop)
    return RouteView(kind, choice.path, choice.domain, hosts, detail)


def _host(host: RouteHost) -> str:
    """As it is written in the configuration: brackets mean that no MX records are asked for."""
    text = host.host if host.mx else f"[{host.host}]"
    return text if host.port == 25 else f"{text}:{host.port}"
