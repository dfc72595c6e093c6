"""The configuration of alerts: who is told of what needs a person, how, and how often (R30)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gatepost.config.recipients import MailboxText
from gatepost.config.section import Section
from gatepost.config.values import Duration, Fault, Flag, WrittenText, check_text

MAX_WEBHOOKS = 20


def _url(value: str) -> str:
    check_text(value)
    hint = "for example https://alerts.example.net/gatepost"
    try:
        parts = urlsplit(value)
        port_exists = parts.port is None or parts.port > 0
    except ValueError:
        raise Fault("is not a URL", hint) from None
    if parts.scheme not in ("http", "https"):
        raise Fault("is not an http or https URL", hint)
    if not parts.hostname or not value.isascii() or " " in value or not port_exists:
        raise Fault("is not a URL", hint)
    if parts.username is not None or parts.fragment:
        raise Fault("has a user or a fragment", "give the plain URL; what is posted is signed")
    return value


WebhookUrl = Annotated[WrittenText, Field(max_length=1_000), AfterValidator(_url)]
"""An http or https URL."""


class AlertClass(StrEnum):
    ALL = "all"
    SYSTEM = "system"


class AlertSeverity(StrEnum):
    ALL = "all"
    CRITICAL = "critical"
    WARNING = "warning"
    INFORMATION = "information"


class AlertRecipient(Section):
    """Somebody who is told of problems."""

    address: MailboxText = Field(description="Mailbox of the recipient.", examples=["admin@example.net"])
    classes: tuple[AlertClass, ...] = Field(
        default=(AlertClass.ALL,), description="Kinds of alerts.", examples=[["all"]]
    )
    severities: tuple[AlertSeverity, ...] = Field(
        default=(AlertSeverity.ALL,), description="Severities of alerts.", examples=[["all"]]
    )


class AlertWebhook(Section):
    """A service that is told of problems over HTTP, by a signed JSON document (`gatepost alert secret`)."""

    url: WebhookUrl = Field(
        description="Where it is posted to. It may be on an inside address.",
        examples=["https://alerts.example.net/gatepost"],
    )
    classes: tuple[AlertClass, ...] = Field(
        default=(AlertClass.ALL,), description="Kinds of alerts.", examples=[["all"]]
    )
    severities: tuple[AlertSeverity, ...] = Field(
        default=(AlertSeverity.ALL,), description="Severities of alerts.", examples=[["all"]]
    )


class AlertSuppression(Section):
    """How long the same trouble is not mailed again. Each mail about it doubles the time."""

    initial: Duration = Field(default=300, description="Quiet after the first mail about a trouble.")
    longest: Duration = Field(default=3_600, description="Longest quiet, not below `initial`.")


class Alerts(Section):
    """Mail to administrators."""

    sender: MailboxText | None = Field(
        default=None, alias="from", description="Sender of alerts; absent: alert@ the system."
    )
    recipients: tuple[AlertRecipient, ...] = Field(default=(), description="Who is told.")
    webhooks: tuple[AlertWebhook, ...] = Field(
        default=(), max_length=MAX_WEBHOOKS, description="Services that are told over HTTP."
    )
    clear_notice: Flag = Field(
        default=True,
        description="When TLS has kept an alert from a recipient domain for 15 minutes, say so there in clear, without its content.",
    )
    suppression: AlertSuppression = Field(
        default=AlertSuppression(), description="How long the same trouble is not mailed again."
    )
