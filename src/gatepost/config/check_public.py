"""Does what the world reaches over HTTPS hold together: the port, the MTA-STS policies and the URLs for TLS reports.

Whether a certificate carries the name of its host is said where certificates are at hand (`control.ops.sni_warnings`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gatepost.config.faults import Loc, shown
from gatepost.config.findings import Finding, dangling, duplicates
from gatepost.config.model import Document
from gatepost.config.own_domains import OwnDomains
from gatepost.config.public_web import LONGEST_AGE, MtaStsPolicy, PolicyMode, parse_mx_pattern
from gatepost.config.tls_reports_received import mailbox_key
from gatepost.config.values import format_duration

SHORT_AGE = (
    86_400  # seconds: below it an enforced policy protects hardly anybody (RFC 8461 §3.2 speaks of weeks)
)
_WEB: Loc = ("public_web",)
_POLICIES: Loc = ("mta_sts_policies",)
_REPORTS: Loc = ("tls_reports_received", "https")


def public_findings(document: Document, certificates: Collection[str]) -> Iterator[Finding]:
    """All findings of the three sections."""
    yield from _web(document)
    domains = [item.comparable_domain for item in document.mta_sts_policies]
    yield from duplicates(_POLICIES, "domain", domains)
    for index, item in enumerate(document.mta_sts_policies):
        loc = (*_POLICIES, index)
        yield from dangling((*loc, "certificate"), "certificate", item.certificate, certificates)
        yield from _policy(loc, item)
    if document.mta_sts_policies and document.public_web is None:
        text = "are served by nobody here, since there is no public_web"
        yield Finding(_POLICIES, text, "add the section public_web", warning=True, about=(_POLICIES, _WEB))
    yield from _report_hosts(document, certificates)
    yield from _report_mailboxes(document)


def _report_mailboxes(document: Document) -> Iterator[Finding]:
    loc: Loc = ("tls_reports_received", "mailboxes")
    ours, seen = OwnDomains(document), set()
    for index, text in enumerate(document.tls_reports_received.mailboxes):
        local, _, domain = text.rpartition("@")
        key = mailbox_key(local, domain)
        if key in seen:
            yield Finding((*loc, index), f"{shown(text)} is given twice", "mailboxes are given once")
        seen.add(key)
        if not ours.has(key[1]):
            about: tuple[Loc, ...] = ((*loc, index), ("listeners",))
            text = f"no public listener accepts mail for {key[1]}, so no report comes in there"
            yield Finding((*loc, index), text, "add it to recipient_access", warning=True, about=about)


def _report_hosts(document: Document, certificates: Collection[str]) -> Iterator[Finding]:
    entries = document.tls_reports_received.https
    yield from duplicates(_REPORTS, "host", [item.comparable_host for item in entries])
    policies = {item.host for item in document.mta_sts_policies}
    for index, item in enumerate(entries):
        loc = (*_REPORTS, index)
        yield from dangling((*loc, "certificate"), "certificate", item.certificate, certificates)
        if item.comparable_host in policies:
            text = f"{item.comparable_host} serves an MTA-STS policy"
            yield Finding((*loc, "host"), text, "take another name", about=((*loc, "host"), _POLICIES))
    if entries and document.public_web is None:
        text = "take nothing, since there is no public_web"
        yield Finding(_REPORTS, text, "add the section public_web", about=(_REPORTS, _WEB))


def _web(document: Document) -> Iterator[Finding]:
    web = document.public_web
    if web is None:
        return
    both: tuple[Loc, ...] = ((*_WEB, "interface"), (*_WEB, "address"))
    if web.interface is None and web.address is None:
        yield Finding(_WEB, "says neither interface nor address", "name the interface", about=(_WEB, *both))
    if web.interface is not None and web.address is not None:
        yield Finding(both[0], "is set together with address", "leave one of them out", about=both)
    known = [item.name for item in document.interfaces]
    yield from dangling(both[0], "interface", web.interface, known, ("interfaces",))
    if not document.public_hosts:
        text = "has nothing to serve, so every handshake is refused"
        about: tuple[Loc, ...] = (_WEB, _POLICIES, _REPORTS)
        yield Finding(_WEB, text, "add a policy under mta_sts_policies", warning=True, about=about)


def _policy(loc: Loc, item: MtaStsPolicy) -> Iterator[Finding]:
    if item.max_age > LONGEST_AGE:
        yield Finding((*loc, "max_age"), "is longer than a policy may last", f"at most {LONGEST_AGE}s")
    if item.mode is PolicyMode.NONE:
        return
    if not item.mx:
        text = f"is empty, and a policy in mode {item.mode} names the MX hosts"
        yield Finding(
            (*loc, "mx"), text, "name them as the MX records do", about=((*loc, "mx"), (*loc, "mode"))
        )
    seen: set[str] = set()
    for number, pattern in enumerate(map(parse_mx_pattern, item.mx)):
        if pattern in seen:
            yield Finding((*loc, "mx", number), f"{pattern} is given twice", "names are given once")
        seen.add(pattern)
    if item.mode is PolicyMode.ENFORCE and item.max_age < SHORT_AGE:
        text = f"is {format_duration(item.max_age)}: senders that write less often are never protected"
        yield Finding((*loc, "max_age"), text, "at least 1d, better some weeks", warning=True)
