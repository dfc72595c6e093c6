"""Who reports: the section `tls_reports` of a configuration, with what stands in for what it leaves out; and whether it can sign."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gatepost.certs.dkim_vault import dkim_keys
from gatepost.config.check_tls_reports import report_sender, submitter
from gatepost.core.errors import Problem
from gatepost.policy.tls_report_day import Reporter
from gatepost.store.config_store import ConfigStore

if TYPE_CHECKING:
    from gatepost.config.model import Document

JOB = "tls-reports"


def reporter_of(document: Document, serial: str) -> Reporter:
    """`serial` is the installation's."""
    section, sender = document.tls_reports, report_sender(document)
    return Reporter(
        organization=section.organization or document.system.hostname,
        contact=section.contact or sender,
        sender=sender,
        submitter=submitter(document),
        gateway=serial,
    )


def unsigned_warnings(store: ConfigStore, document: Document) -> Iterator[Problem]:
    """Reports that nothing signs."""
    if not document.tls_reports.send:
        return
    domain = submitter(document)
    if not dkim_keys(store, domain):
        text = f"no key of {domain} is stored to sign reports, so none goes by mail: receivers ignore unsigned ones"
        yield Problem("tls_reports.send", text, f"`gatepost dkim new {domain}` makes one", warning=True)
