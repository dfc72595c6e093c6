"""The configuration of our daily TLS reports to the domains that ask for them (TLSRPT, RFC 8460)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from gatepost.config.findings import Finding
from gatepost.config.recipients import MailboxText
from gatepost.config.section import Section
from gatepost.config.values import Flag, HostText, Text
from gatepost.core.address import normalise_domain

if TYPE_CHECKING:
    from gatepost.config.model import Document

_SECTION = "tls_reports"


class TlsReports(Section):
    """Daily reports of how TLS went, to the recipient domains that ask for them (RFC 8460)."""

    send: Flag = Field(default=False, description="Sessions are counted, and reports are sent.")
    organization: Text | None = Field(
        default=None,
        description="Name of whoever reports; absent: the system's host name.",
        examples=["Example Ltd"],
    )
    contact: MailboxText | None = Field(
        default=None, description="Mailbox for questions about a report; absent: `from`."
    )
    sender: MailboxText | None = Field(
        default=None, alias="from", description="Sender of reports; absent: tls-reports@ the system."
    )
    dkim_domain: HostText | None = Field(
        default=None,
        description="Domain whose keys sign reports (`gatepost dkim new`), and which is named as the submitter; absent: "
        "the domain of `from`.",
    )


def report_sender(document: Document) -> str:
    """The mailbox that reports come from, its domain as A-labels."""
    section = document.tls_reports
    local, _, domain = (section.sender or f"tls-reports@{document.system.hostname}").rpartition("@")
    return f"{local}@{normalise_domain(domain)}"


def submitter(document: Document) -> str:
    """The domain that reports, and whose keys sign."""
    section = document.tls_reports
    return normalise_domain(section.dkim_domain or report_sender(document).rpartition("@")[2])


def report_findings(document: Document) -> Iterator[Finding]:
    """A sender that cannot be written into a report's header, and one that the signature's domain does not speak for."""
    section = document.tls_reports
    if not section.send:
        return
    sender, domain = report_sender(document), submitter(document)
    local, _, host = sender.rpartition("@")
    if "." not in host:
        text = f"is needed: {host} is no domain that mail comes from"
        yield Finding((_SECTION, "from"), text, "name a mailbox of your domain")
    if not local.isascii():
        yield Finding(
            (_SECTION, "from"), "is not ASCII, as the header of a report is", "name a plain mailbox"
        )
    if host != domain and not host.endswith(f".{domain}"):
        text = (
            f"{host} is neither {domain} nor below it, so receivers may take the signature for a stranger's"
        )
        yield Finding(
            (_SECTION, "dkim_domain"), text, "name the sender's domain, or one above it", warning=True
        )
