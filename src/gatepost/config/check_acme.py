"""Does the section `acme` hold together: proofs that cannot be given, ports taken twice, settings that contradict each other.

A document without a directory, or without certificates, issues nothing; then only what would be wrong in any case is told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from gatepost.config.acme import (
    MAX_NAMES,
    WILDCARD,
    AcmeCertificate,
    AcmeChallenge,
    AcmeDns,
    parse_certificate_name,
)
from gatepost.config.challenge_ports import answering_addresses
from gatepost.config.faults import Loc, shown
from gatepost.config.findings import ANY, Finding, dangling, duplicates
from gatepost.config.inbound import ListenerTls, ListenerType
from gatepost.config.model import Document

TakenPort = tuple[str, str, int]
"""Who has a port, and its address and number."""

_HERE: Loc = ("acme",)
_LIST: Loc = ("acme", "certificates")
_SERVED = ((AcmeChallenge.HTTP, "http_port"), (AcmeChallenge.TLS_ALPN, "tls_port"))
_SHOWN_BY: tuple[Loc, ...] = (
    ("listeners", ANY, "certificate"),
    ("listeners", ANY, "sni", ANY, "certificate"),
    ("listeners", ANY, "name"),
    ("tlsa", "services", ANY, "listener"),
)
"""What says which listener shows a certificate, and whether that one has records."""


def automatic_names(document: Document) -> frozenset[str]:
    """The profiles that exist because they are to be issued: until then a self-signed certificate stands in."""
    return frozenset(item.name for item in document.acme.certificates)


def challenge_addresses(document: Document) -> tuple[str, ...]:
    """Where the ports of challenges are opened."""
    interfaces = {item.name: item.address for item in document.interfaces}
    listening = (item.interface for item in document.listeners)
    return answering_addresses(interfaces, document.acme.interface, listening)


def acme_findings(document: Document, taken: Iterable[TakenPort]) -> Iterator[Finding]:
    """All findings of the section; `taken` are the ports that services of this gateway use."""
    acme = document.acme
    yield from duplicates(_LIST, "name", [item.name for item in acme.certificates])
    if acme.interface is not None:
        known = [item.name for item in document.interfaces]
        yield from dangling((*_HERE, "interface"), "interface", acme.interface, known, ("interfaces",))
    for index, item in enumerate(acme.certificates):
        yield from _certificate((*_LIST, index), item, acme.challenge_of(item))
        if item.wait_for_dane and not _has_records(document, item.name):
            text = "no listener that has TLSA records shows it, so it waits for nothing"
            hint = "assign it to a public listener, or name the listener under tlsa.services"
            where = (*_LIST, index, "wait_for_dane")
            yield Finding(where, text, hint, warning=True, about=(where, *_SHOWN_BY))
    yield from _dns(document)
    if acme.certificates and not acme.directory:
        text = "is not set: no certificate is issued, and self-signed ones stand in"
        yield Finding((*_HERE, "directory"), text, "give the URL of the authority's directory", warning=True)
    if acme.enabled:
        yield from _account(document)
        yield from _ports(document, tuple(taken))


def _certificate(loc: Loc, item: AcmeCertificate, challenge: AcmeChallenge) -> Iterator[Finding]:
    if not 1 <= len(item.names) <= MAX_NAMES:
        text = f"has {len(item.names)} names" if item.names else "is empty"
        yield Finding((*loc, "names"), text, f"a certificate carries 1 to {MAX_NAMES} names")
    first: dict[str, int] = {}
    for number, text in enumerate(item.names):
        name = parse_certificate_name(text)
        if first.setdefault(name, number) != number:
            yield Finding((*loc, "names", number), f"{shown(text)} is given twice", "names are given once")
        if text.startswith(WILDCARD) and challenge is not AcmeChallenge.DNS:
            where: tuple[Loc, ...] = ((*loc, "names", number), (*loc, "challenge"), (*_HERE, "challenge"))
            text = f"a wildcard can be proved by dns-01 only, not by {challenge}"
            yield Finding(where[0], text, "set challenge: dns-01, or name the hosts", about=where)
    if item.also is not None and item.also.family == item.key.family:
        text = f"is {item.also.family} like the key {item.key}: no peer would need it"
        hint = "use rsa2048 beside p256, or leave it out"
        yield Finding((*loc, "also"), text, hint, about=((*loc, "also"), (*loc, "key")))


def _has_records(document: Document, name: str) -> bool:
    """Whether TLSA records may stand somewhere for the certificate: those of a public listener, or as `tlsa.services` says."""
    said = {entry.listener for entry in document.tlsa.services}
    published = {entry.listener for entry in document.tlsa.services if entry.published}
    for listener in document.listeners:
        usual = listener.type is ListenerType.PUBLIC and listener.tls is ListenerTls.STARTTLS
        there = listener.name in published or (usual and listener.name not in said)
        if there and name in (listener.certificate, *(entry.certificate for entry in listener.sni)):
            return True
    return False


def _dns(document: Document) -> Iterator[Finding]:
    acme = document.acme
    loc: Loc = (*_HERE, "dns")
    proved = [
        index for index, item in enumerate(acme.certificates) if acme.challenge_of(item) is AcmeChallenge.DNS
    ]
    if acme.dns is not None:
        yield from _dns_settings(loc, acme.dns)
    elif proved:
        text = f"is not set, and certificates[{proved[0]}] is to be proved by dns-01"
        about: tuple[Loc, ...] = (loc, (*_HERE, "challenge"), (*_LIST, proved[0], "challenge"))
        yield Finding(loc, text, "set hook, or server with key_name", about=about)


def _dns_settings(loc: Loc, dns: AcmeDns) -> Iterator[Finding]:
    if dns.hook is None and dns.server is None:
        either: tuple[Loc, ...] = ((*loc, "hook"), (*loc, "server"))
        hint = "set hook, or server with key_name"
        yield Finding(loc, "says neither hook nor server", hint, about=either)
    if dns.hook is not None and dns.server is not None:
        about: tuple[Loc, ...] = ((*loc, "hook"), (*loc, "server"))
        yield Finding(about[0], "is set together with server", "leave one of them out", about=about)
    if dns.server is not None and dns.key_name is None:
        hint = (
            "a dynamic update is authorised by a key; the key itself comes with `gatepost acme secret tsig`"
        )
        yield Finding((*loc, "key_name"), "is missing beside server", hint)


def _account(document: Document) -> Iterator[Finding]:
    if not document.acme.terms_agreed:
        text = "is not set: no authority gives an account to who does not agree to its terms"
        hint = "read them (`gatepost acme account` shows where), then set terms_agreed: true"
        yield Finding((*_HERE, "terms_agreed"), text, hint)


def _ports(document: Document, taken: tuple[TakenPort, ...]) -> Iterator[Finding]:
    """The ports that an order opens must be free while it runs."""
    acme = document.acme
    used = {acme.challenge_of(item) for item in acme.certificates}
    needed = [(kind, key) for kind, key in _SERVED if kind in used]
    addresses = challenge_addresses(document)
    for kind, key in needed:
        port = getattr(acme, key)
        for who, address, number in taken:
            if number == port and any(_overlap(address, one) for one in addresses):
                loc: Loc = (*_HERE, key)
                text = f"{port} is already taken by {who}, so {kind} cannot be answered"
                yield Finding(loc, text, "choose another port or challenge", about=(loc,))
                break
    if len(needed) == len(_SERVED) and acme.http_port == acme.tls_port:
        both: tuple[Loc, ...] = ((*_HERE, "tls_port"), (*_HERE, "http_port"))
        yield Finding(both[0], "is the same as http_port", "the two challenges need two ports", about=both)


def _overlap(one: str, other: str) -> bool:
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)
