"""Checks of the way out: destination controls, routes, the delivery interface (R14, R23 to R28)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from datetime import date

from gatepost.config.faults import Loc
from gatepost.config.findings import Finding, dangling, duplicate, duplicates
from gatepost.config.hosts import RouteHost, RouteKind, parse_route_host
from gatepost.config.model import DEFAULT_PROFILE, Document
from gatepost.config.outbound import Destination, SmtpRoute
from gatepost.config.recipients import EntryKind, parse_mailbox_entry
from gatepost.core.tls import TlsLevel

AUTO = "auto"
_PINNED = (TlsLevel.REQUIRED_VERIFY, TlsLevel.REQUIRED_VERIFY_HOSTED)


def delivery_findings(document: Document, certificates: Collection[str], today: date) -> Iterator[Finding]:
    """Everything about where mail goes and how."""
    yield from _destinations(document, certificates, today)
    yield from _routes(document)
    yield from _verified_addresses(document)
    if document.delivery.interface != AUTO:
        names = [AUTO, *(item.name for item in document.interfaces)]
        loc = ("delivery", "interface")
        yield from dangling(loc, "interface", document.delivery.interface, names, ("interfaces",))


def _destinations(document: Document, certificates: Collection[str], today: date) -> Iterator[Finding]:
    controls = document.destination_controls
    root: Loc = ("destination_controls",)
    yield from dangling(
        (*root, "global", "certificate"), "certificate", controls.global_.certificate, certificates
    )
    profiles = [DEFAULT_PROFILE, *(item.name for item in document.bounce_profiles)]
    section = ("bounce_profiles",)
    loc: Loc = (*root, "default", "bounce_profile")
    yield from dangling(loc, "bounce profile", controls.default.bounce_profile, profiles, section)
    yield from _twice(document)
    for index, item in enumerate(controls.destinations):
        loc = (*root, "destinations", index)
        yield from dangling(
            (*loc, "bounce_profile"), "bounce profile", item.bounce_profile, profiles, section
        )
        if item.until is not None and item.until < today:
            text = f"{item.until} is past: the entry has no effect any more"
            yield Finding((*loc, "until"), text, "remove the entry or set a later day", warning=True)
        yield from _unmonitored(loc, item)


def _twice(document: Document) -> Iterator[Finding]:
    """A domain has one entry that is enforced, and beside it one that is monitored."""
    controls = document.destination_controls
    first: dict[tuple[str, bool], int] = {}
    for index, item in enumerate(controls.destinations):
        before = first.setdefault((comparable(item.domain), item.monitor), index)
        if before != index:
            yield duplicate(
                ("destination_controls", "destinations"), "domain", comparable(item.domain), index, before
            )


def _unmonitored(loc: Loc, item: Destination) -> Iterator[Finding]:
    """Settings that have nothing to do with a refusal, in an entry that is only monitored."""
    if not item.monitor:
        return
    for key in ("max_connections", "max_messages_per_connection", "bounce_profile", "client_hello"):
        if getattr(item, key) is not None:
            text = f"{key} has no effect while the entry is in monitor mode"
            yield Finding((*loc, key), text, "give it to an entry that is enforced", warning=True)
    if all(getattr(item, key) is None for key in ("tls", "dane", "mta_sts", "insecure_names")):
        text = "monitor has nothing to evaluate: the entry sets no tls, dane, mta_sts or insecure_names"
        yield Finding((*loc, "monitor"), text, "set what is to be tried", warning=True)


def comparable(domain: str) -> str:
    """A domain entry in the form in which two are the same: `example.net`, `.example.net`, `[192.0.2.1]`, `ALL`."""
    entry = parse_mailbox_entry(domain)
    if entry.kind is EntryKind.ALL:
        return "ALL"
    return f".{entry.domain}" if entry.kind is EntryKind.PARTIAL else entry.domain


def _routes(document: Document) -> Iterator[Finding]:
    yield from duplicates(
        ("smtp_routes",), "domain", [comparable(item.domain) for item in document.smtp_routes]
    )
    own = _own_endpoints(document)
    for index, route in enumerate(document.smtp_routes):
        hosts = [parse_route_host(text) for text in route.hosts]
        for number, host in enumerate(hosts):
            loc = ("smtp_routes", index, "hosts", number)
            if host.kind in (RouteKind.USE_DNS, RouteKind.REJECT) and len(hosts) > 1:
                yield Finding(
                    loc, f"{host.kind} stands beside other hosts", f"{host.kind} is a route by itself"
                )
            if host in hosts[:number]:
                yield Finding(loc, "is given twice", warning=True)
            if host.kind is RouteKind.ADDRESS:
                yield from _address_host(loc, host, own)


def _own_endpoints(document: Document) -> dict[tuple[str, int], str]:
    addresses = {item.name: item.address for item in document.interfaces}
    return {
        (addresses[item.interface], item.port): item.name
        for item in document.listeners
        if item.interface in addresses
    }


def _address_host(loc: Loc, host: RouteHost, own: Mapping[tuple[str, int], str]) -> Iterator[Finding]:
    """An address that nobody can be reached at, or at which only we are."""
    address = ipaddress.ip_address(host.host)
    if address.is_unspecified or address.is_multicast:
        yield Finding(
            loc, f"no mail server can have the address {host.host}", "name the address of the next hop"
        )
    elif (listener := own.get((host.host, host.port))) is not None:
        text = f"leads back to our own listener {listener}"
        yield Finding(loc, text, "name the address of the next hop", warning=True)


def _verified_addresses(document: Document) -> Iterator[Finding]:
    """Levels that verify a name, where the route leads to an address that has none (architecture 4, Routes)."""
    routes = {comparable(item.domain): item for item in document.smtp_routes}
    controls = document.destination_controls
    for index, item in enumerate(controls.destinations):
        level = item.tls if item.tls is not None else controls.default.tls
        if level in _PINNED:
            loc: Loc = ("destination_controls", "destinations", index, "tls")
            yield from _if_address(loc, level, _route_of(comparable(item.domain), routes))
    level = controls.default.tls
    own = {comparable(item.domain) for item in controls.destinations}
    if level in _PINNED:
        for domain, route in routes.items():
            if domain not in own:
                yield from _if_address(("destination_controls", "default", "tls"), level, route)


def _route_of(domain: str, routes: Mapping[str, SmtpRoute]) -> SmtpRoute | None:
    """The route of a domain: the exact one, the longest suffix, or the one for all."""
    candidate = domain
    while candidate:
        if candidate in routes:
            return routes[candidate]
        _, dot, rest = candidate.lstrip(".").partition(".")
        candidate = f".{rest}" if dot else ""
    return routes.get("ALL")


def _if_address(loc: Loc, level: TlsLevel, route: SmtpRoute | None) -> Iterator[Finding]:
    if route is not None and any(parse_route_host(text).kind is RouteKind.ADDRESS for text in route.hosts):
        text = f"{level} over the route for {route.domain} to an address matches the recipient domain or an IP SAN only"
        yield Finding(loc, text, "name the host in the route instead", warning=True)
