"""The configuration of our daily TLS reports to the domains that ask for them (TLSRPT, RFC 8460)."""

from __future__ import annotations

from pydantic import Field

from gatepost.config.recipients import MailboxText
from gatepost.config.section import Section
from gatepost.config.values import Flag, HostText, Text


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
