"""Who our TLS reports come from, and checks of that: a sender for a header, and a signature that speaks for it."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.findings import Finding
from gatepost.config.model import Document
from gatepost.core.address import normalise_domain

_SECTION = "tls_reports"


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
