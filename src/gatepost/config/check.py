"""Does a document hold together: names that lead nowhere, ports taken twice, rules that cannot work.

`check` gives all problems at once, each with its path and a hint; a warning does not keep the document from being
applied. What is checked and stored but has no effect yet is warned about as `stored, not yet enforced`
(contract README), and only where the document really sets it. The parts are `check_access` (HAT, RAT, policies),
`check_clients` (client certificates), `check_auth` (SMTP AUTH) and `check_delivery` (destinations, routes); each yields findings, which become problems here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

from gatepost.config.check_access import access_findings
from gatepost.config.check_acme import acme_findings, automatic_names
from gatepost.config.check_auth import auth_findings
from gatepost.config.check_clients import client_findings
from gatepost.config.check_delivery import delivery_findings
from gatepost.config.check_dns import dns_findings, tlsa_findings
from gatepost.config.check_public import public_findings
from gatepost.config.check_recipients import bounce_findings, call_ahead_findings
from gatepost.config.check_reputation import reputation_findings
from gatepost.config.check_tls_reports import report_findings
from gatepost.config.check_uses import link_findings, sni_findings
from gatepost.config.faults import Loc, path_text
from gatepost.config.findings import Finding, dangling, duplicates
from gatepost.config.links import LINKS
from gatepost.config.model import Document, Protocol
from gatepost.core.errors import Problem

NOT_ENFORCED = "stored, not yet enforced"


def check(document: Document, certificates: Collection[str], today: date) -> tuple[Problem, ...]:
    """All problems of a document, faults and warnings, in the document's order.

    `certificates` are the names of the profiles that exist; `today` (UTC) decides what is past.
    """
    return tuple(
        Problem(path_text(finding.loc), finding.text, finding.hint, finding.warning)
        for finding in findings(document, certificates, today)
    )


def findings(document: Document, certificates: Collection[str], today: date) -> list[Finding]:
    """The same with positions instead of paths, for `examine`."""
    found: list[Finding] = []
    certificates = {*certificates, *automatic_names(document)}
    for part in (
        _system(document),
        _interfaces(document, certificates),
        _listeners(document, certificates),
        _ports(document),
        access_findings(document),
        client_findings(document),
        auth_findings(document),
        delivery_findings(document, certificates, today),
        reputation_findings(document),
        bounce_findings(document),
        call_ahead_findings(document),
        dns_findings(document),
        tlsa_findings(document),
        report_findings(document),
        link_findings(document, certificates),
        public_findings(document, certificates),
        _other_names(document),
        _alerts(document),
        _old_protocols(document),
        acme_findings(document, [(it.who, it.address, it.port) for it in _services(document)]),
        not_enforced(document),
    ):
        found.extend(part)
    return found


def _system(document: Document) -> Iterator[Finding]:
    if "hostname" not in document.system.model_fields_set:
        yield Finding(
            ("system", "hostname"), "is not set: localhost is used", "name the machine", warning=True
        )


def _interfaces(document: Document, certificates: Collection[str]) -> Iterator[Finding]:
    yield from duplicates(("interfaces",), "name", [item.name for item in document.interfaces])
    for index, item in enumerate(document.interfaces):
        if item.https is not None:
            loc = ("interfaces", index, "https", "certificate")
            yield from dangling(loc, "certificate", item.https.certificate, certificates)


def _listeners(document: Document, certificates: Collection[str]) -> Iterator[Finding]:
    yield from duplicates(("listeners",), "name", [item.name for item in document.listeners])
    interfaces = [item.name for item in document.interfaces]
    for index, item in enumerate(document.listeners):
        loc = ("listeners", index)
        yield from dangling((*loc, "certificate"), "certificate", item.certificate, certificates)
        yield from sni_findings((*loc, "sni"), item, certificates)
        yield from dangling((*loc, "interface"), "interface", item.interface, interfaces, ("interfaces",))


@dataclass(frozen=True, slots=True)
class _Service:
    """Something that wants a port; `loc` is where the port stands, `interface` the number of its interface, or -1."""

    who: str
    interface: int
    address: str
    port: int
    loc: Loc


def _services(document: Document) -> Iterator[_Service]:
    places = {item.name: index for index, item in enumerate(document.interfaces)}
    for index, item in enumerate(document.listeners):
        if (place := places.get(item.interface)) is not None:
            address = document.interfaces[place].address
            yield _Service(f"listener {item.name}", place, address, item.port, ("listeners", index, "port"))
    for index, interface in enumerate(document.interfaces):
        for kind, settings in (("https", interface.https), ("ssh", interface.ssh)):
            if settings is not None:
                who, loc = f"{kind} of interface {interface.name}", ("interfaces", index, kind, "port")
                yield _Service(who, index, interface.address, settings.port, loc)
    if (web := document.public_web) is not None:
        place = places.get(web.interface or "", -1)
        found = web.address if place < 0 else document.interfaces[place].address
        if found is not None:
            yield _Service("public_web", place, found, web.port, ("public_web", "port"))


def _ports(document: Document) -> Iterator[Finding]:
    """Two services on one address and port. An unspecified address takes every address of its family."""
    taken: list[_Service] = []
    for service in _services(document):
        for other in taken:
            if service.port == other.port and _overlap(service.address, other.address):
                about: tuple[Loc, ...] = (service.loc, other.loc)
                if service.interface != other.interface:
                    about += tuple(_address_of(one) for one in (service, other))
                text = f"{_endpoint(service.address, service.port)} is already taken by {other.who}"
                yield Finding(service.loc, text, "choose another port or interface", about=about)
                break
        taken.append(service)


def _address_of(service: _Service) -> Loc:
    if service.interface < 0:
        return "public_web", "address"
    return "interfaces", service.interface, "address"


def _overlap(one: str, other: str) -> bool:
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _other_names(document: Document) -> Iterator[Finding]:
    yield from duplicates(("address_lists",), "name", [item.name for item in document.address_lists])
    yield from duplicates(("bounce_profiles",), "name", [item.name for item in document.bounce_profiles])
    yield from duplicates(("log_subscriptions",), "name", [item.name for item in document.log_subscriptions])
    sources = document.certificate_authorities.crl
    key = "name" if len({item.url for item in sources}) == len(sources) else "url"
    names = [item.title if key == "name" else item.url for item in sources]
    yield from duplicates(("certificate_authorities", "crl"), key, names)
    for index, profile in enumerate(document.bounce_profiles):
        if profile.initial_retry > profile.max_retry:
            loc = ("bounce_profiles", index, "initial_retry")
            yield Finding(loc, "is longer than max_retry, which is used instead", warning=True)


def _alerts(document: Document) -> Iterator[Finding]:
    quiet = document.alerts.suppression
    if quiet.initial > quiet.longest:
        loc = ("alerts", "suppression", "initial")
        yield Finding(loc, "is longer than longest, which is used instead", warning=True)
    yield from duplicates(("alerts", "webhooks"), "url", [item.url for item in document.alerts.webhooks])
    for index, item in enumerate(document.alerts.webhooks):
        if item.url.startswith("http:"):
            text = "is not encrypted: whoever is on the way reads what is wrong with this gateway"
            yield Finding(("alerts", "webhooks", index, "url"), text, "use https", warning=True)


def _old_protocols(document: Document) -> Iterator[Finding]:
    settings = document.tls_settings
    for scope, value in (
        ("inbound", settings.inbound),
        ("outbound", settings.outbound),
        ("web", settings.web),
    ):
        if value.minimum in (Protocol.TLS10, Protocol.TLS11):
            loc = ("tls_settings", scope, "minimum")
            yield Finding(
                loc, f"{value.minimum} is broken and forbidden by RFC 8996", "set TLSv1.2", warning=True
            )


def not_enforced(document: Document) -> Iterator[Finding]:
    """Keys whose feature does not exist yet, where the document asks for it."""
    for loc in _waiting_keys(document):
        yield Finding(loc, NOT_ENFORCED, warning=True)


def _waiting_keys(document: Document) -> Iterator[Loc]:
    for index, interface in enumerate(document.interfaces):
        if interface.https is not None:
            yield "interfaces", index, "https"
        if interface.ssh is not None:
            yield "interfaces", index, "ssh"
    if "web" in document.tls_settings.model_fields_set and document.public_web is None:
        yield "tls_settings", "web"
    for link in LINKS:
        if getattr(document, link).certificate is not None:
            yield link, "certificate"
