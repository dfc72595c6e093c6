"""Checks of what is asked about recipients beyond the RAT: bounce verification, and call-ahead."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.faults import Loc
from gatepost.config.findings import Finding, dangling
from gatepost.config.hosts import RouteKind, parse_route_host
from gatepost.config.inbound import Listener, RecipientAction
from gatepost.config.model import Document
from gatepost.config.recipients import EntryKind, parse_mailbox_entry


def bounce_findings(document: Document) -> Iterator[Finding]:
    """Exceptions that lead nowhere."""
    lists = [item.name for item in document.address_lists]
    where, name = ("bounce_verification", "exceptions"), document.bounce_verification.exceptions
    yield from dangling(where, "address list", name, lists, ("address_lists",))


def call_ahead_findings(document: Document) -> Iterator[Finding]:
    """Rows that ask nobody, and rows that ask the MX of a domain, which is most likely this gateway."""
    for index, listener in enumerate(document.listeners):
        for number, rule in enumerate(listener.recipient_access):
            loc = ("listeners", index, "recipient_access", number)
            if rule.call_ahead and rule.action is RecipientAction.REJECT:
                yield Finding((*loc, "call_ahead"), "has no effect: the row refuses anyway", warning=True)
            elif rule.call_ahead_host is not None and not rule.call_ahead:
                text = "has no effect without call_ahead"
                yield Finding((*loc, "call_ahead_host"), text, "set call_ahead: true", warning=True)
            elif rule.call_ahead and rule.call_ahead_host is None and not _routed(document, rule.recipient):
                text = f"no smtp route leads {rule.recipient} anywhere, so its MX is asked, which may be this gateway"
                yield Finding((*loc, "call_ahead"), text, "name a route, or call_ahead_host", warning=True)
        yield from _host_words(("listeners", index, "recipient_access"), listener)


def _host_words(loc: Loc, listener: Listener) -> Iterator[Finding]:
    """`usedns` and `reject` are words of routes and no hosts."""
    for number, rule in enumerate(listener.recipient_access):
        if rule.call_ahead_host is not None and parse_route_host(rule.call_ahead_host).kind in (
            RouteKind.USE_DNS,
            RouteKind.REJECT,
        ):
            yield Finding((*loc, number, "call_ahead_host"), "is no host", "for example [192.0.2.1]:25")


def _routed(document: Document, recipient: str) -> bool:
    """Some smtp route names hosts for the domain of this row, or for everything; rows without one domain are not judged."""
    entry = parse_mailbox_entry(recipient)
    if entry.kind not in (EntryKind.DOMAIN, EntryKind.MAILBOX):
        return True
    for route in document.smtp_routes:
        words = {parse_route_host(host).kind for host in route.hosts}
        names = route.domain.lower()
        fits = names in ("all", entry.domain) or (names.startswith(".") and entry.domain.endswith(names))
        if fits and not words & {RouteKind.USE_DNS, RouteKind.REJECT}:
            return True
    return False
