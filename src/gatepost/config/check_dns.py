"""Checks of name resolution where DANE depends on it (architecture 4, DNS; D10), and of where our own TLSA records stand."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gatepost.config.findings import Finding, dangling, duplicates
from gatepost.config.model import Document
from gatepost.config.outbound import Dane
from gatepost.core.address import normalise_domain
from gatepost.core.tls import TlsLevel


def dns_findings(document: Document) -> Iterator[Finding]:
    """The names of the probe, and resolvers that DANE cannot believe."""
    for key in ("signed", "bogus"):
        name = getattr(document.dns.probe, key)
        if name != "." and not _is_name(name):
            yield Finding(
                ("dns", "probe", key), f"{name} is no name that DNS can hold", "name a zone or a host"
            )
    if not _asks_dane(document):
        return
    if not document.dns.validate_dnssec:
        text = "DANE is asked for, and without validation no TLSA record is believed"
        yield Finding(("dns", "validate_dnssec"), text, "set it to true", warning=True)
    elif document.dns.servers and not any(_on_loopback(text) for text in document.dns.servers):
        text = "DANE is asked for, and none of the name servers is on this machine, so no TLSA record is believed"
        hint = "run a validating resolver, such as unbound, on this machine and name its address"
        yield Finding(("dns", "servers"), text, hint, warning=True)


def tlsa_findings(document: Document) -> Iterator[Finding]:
    """Services of listeners that do not exist, and two entries that contradict each other."""
    loc = ("tlsa", "services")
    yield from duplicates(loc, "name", [item.name for item in document.tlsa.services])
    listeners = [item.name for item in document.listeners]
    for index, item in enumerate(document.tlsa.services):
        yield from dangling((*loc, index, "listener"), "listener", item.listener, listeners, ("listeners",))
        others = [other for other in document.tlsa.services if other.listener == item.listener]
        if not item.published and any(other.published for other in others):
            text = f"records of {item.listener} are published by another entry"
            yield Finding((*loc, index, "published"), text, "leave one of the two out")


def _asks_dane(document: Document) -> bool:
    controls = document.destination_controls
    level, dane = controls.default.tls, controls.default.dane
    rules = [(level, dane)]
    rules += [(item.tls or level, item.dane or dane) for item in controls.destinations]
    return any(one is not TlsLevel.NONE and other is not Dane.NONE for one, other in rules)


def _is_name(text: str) -> bool:
    try:
        return bool(normalise_domain(text))
    except ValueError:
        return False


def _on_loopback(text: str) -> bool:
    """`ADDR`, `ADDR:PORT`, `[V6]:PORT`, as the model has checked them."""
    address = text[1:].partition("]")[0] if text.startswith("[") else text
    if address.count(":") == 1:
        address = address.partition(":")[0]
    return ipaddress.ip_address(address).is_loopback
