"""The configuration of TLS reports that come in about our own domains (TLSRPT, RFC 8460 §3 and §5): by mail, and over HTTPS."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt

from gatepost.config.recipients import MailboxText, comparable_domain, comparable_local
from gatepost.config.section import Section
from gatepost.config.values import Fault, Flag, HostText, Name, WrittenText, parse_host_name

MAX_MAILBOXES = 50
MAX_HOSTS = 50
_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,200}", re.ASCII)

Days = Annotated[StrictInt, Field(ge=1, le=3_650)]


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise Fault(
            "is not a path", "begin with /; letters, digits and . _ ~ - are taken, for example /tlsrpt"
        )
    return value


UrlPathText = Annotated[WrittenText, AfterValidator(_path)]
"""The exact path of a URL, without a query."""


class ReportHost(Section):
    """An https URL that takes reports: `rua=https://HOST/PATH` in the record `_smtp._tls`."""

    host: HostText = Field(description="Host name of the URL.", examples=["tlsrpt.example.net"])
    path: UrlPathText = Field(default="/tlsrpt", description="Exact path of the URL.")
    certificate: Name = Field(
        default="Demo", description="Certificate profile that is presented for the host name."
    )

    @property
    def comparable_host(self) -> str:
        """The host as it is compared: lower-case A-labels."""
        return parse_host_name(self.host)


class ReceivedTlsReports(Section):
    """TLS reports about our domains: how they come in, and how long they are kept (RFC 8460)."""

    mailboxes: tuple[MailboxText, ...] = Field(
        default=(),
        max_length=MAX_MAILBOXES,
        description="Mailboxes whose reports the gateway takes (`rua=mailto:`). Other mail for them goes on as usual.",
        examples=[["tls-reports@example.net"]],
    )
    deliver: Flag = Field(
        default=False, description="Reports that were taken from the mail go on to their mailbox too."
    )
    https: tuple[ReportHost, ...] = Field(
        default=(), max_length=MAX_HOSTS, description="URLs at the public port that take reports."
    )
    verified_only: Flag = Field(
        default=True,
        description="A report that came by mail raises alerts only where a DKIM signature proves its submitter.",
    )
    days: Days = Field(default=400, description="Days for which reports are kept.")

    @property
    def keys(self) -> frozenset[tuple[str, str]]:
        """The mailboxes as recipients are compared with them: local part and domain."""
        return frozenset(mailbox_key(*text.rpartition("@")[::2]) for text in self.mailboxes)


def mailbox_key(local: str, domain: str) -> tuple[str, str]:
    """What a mailbox is compared by. `domain` may be an address literal."""
    return comparable_local(local), comparable_domain(domain)
