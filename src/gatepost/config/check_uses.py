"""Checks of what shows a certificate beside a listener's first one: SNI entries, and the links to outside services."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gatepost.config.faults import Loc
from gatepost.config.findings import Finding, dangling, duplicates
from gatepost.config.inbound import Listener
from gatepost.config.links import LINKS
from gatepost.config.model import Document
from gatepost.config.sni import parse_sni_name


def sni_findings(loc: Loc, listener: Listener, certificates: Collection[str]) -> Iterator[Finding]:
    """A name means one certificate, and that exists. Names are compared as a client's are."""
    yield from duplicates(loc, "name", [parse_sni_name(entry.name) for entry in listener.sni])
    for index, entry in enumerate(listener.sni):
        yield from dangling((*loc, index, "certificate"), "certificate", entry.certificate, certificates)


def link_findings(document: Document, certificates: Collection[str]) -> Iterator[Finding]:
    """The certificates of R16 to R18."""
    for link in LINKS:
        name: str | None = getattr(document, link).certificate
        yield from dangling((link, "certificate"), "certificate", name, certificates)
