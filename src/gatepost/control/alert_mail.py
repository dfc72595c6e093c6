"""One alert as a mail in the queue: recipients by class and severity, the text, and a worker that keeps it.

The mail is delivered by the gateway itself, as any mail is: its recipients' routes and TLS levels apply. Its text is the alert's,
behind a line that says which gateway speaks, and before one that says why the reader gets it.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatepost.control.ports import Gateway
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Alert
from gatepost.policy.alert import Suppression, recipients_of
from gatepost.wire.notice import Notice, make_notice

if TYPE_CHECKING:
    from gatepost.config.model import Document

SUBMIT = "mail.submit"
NOTICE_SUBJECT = "Gatepost has an alert for you that could not be delivered over TLS"
NOTICE_TEXT = (
    "The Gatepost gateway {host} has an alert for you that could not be delivered over TLS.\n\n"
    "  Time:  {when}\n\n"
    "This mail came in clear, so it says nothing else. The alert itself waits in the gateway's queue until TLS to your mail server works "
    "again; on the gateway, `gatepost queue list` and `gatepost log find` tell what it is about.\n"
)


@dataclass(frozen=True, slots=True)
class Sent:
    """The mails that were queued for an alert: their MIDs and all recipients, none where nobody subscribed.

    `suppression` is how long the same trouble is quiet now, by the configuration that named the recipients.
    """

    mids: tuple[int, ...]
    recipients: tuple[str, ...]
    suppression: Suppression


async def send_alert(
    gateway: Gateway, document: Mapping[str, Any], alert: Alert, token: str, now: float
) -> Sent:
    """Put an alert into the queue. Raises OperatorError when no worker keeps it.

    `token` is unique to the alert and the same at each attempt: it makes the Message-ID, and a worker that has kept the mail
    already does not keep it twice.
    """
    from gatepost.config.load import (
        load_plain,
    )  # slow to load, and most starts of a desk tell nobody anything

    settings = load_plain(document)
    recipients = recipients_of(settings.alerts, alert.severity)
    plain = [_transportable(address) for address in recipients]
    mids = []
    # A recipient that needs SMTPUTF8 must not keep the others from being told.
    groups = ([a for a in plain if a.isascii()], [a for a in plain if not a.isascii()])
    for number, group in enumerate(groups):
        if group:
            mids.append(await _submit(gateway, settings, alert, group, f"{token}.{number}", now))
    quiet = settings.alerts.suppression
    return Sent(tuple(mids), recipients, Suppression(quiet.initial, quiet.longest))


async def send_notice(
    gateway: Gateway, settings: Document, recipients: Sequence[str], token: str, now: float
) -> None:
    """Say in clear that an alert waits which TLS keeps back: the gateway's name and the time, and nothing of the alert.

    Raises OperatorError when no worker keeps it. `token` as in `send_alert`.
    """
    host = normalise_domain(settings.system.hostname)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    groups = ([a for a in recipients if a.isascii()], [a for a in recipients if not a.isascii()])
    for number, group in enumerate(groups):
        if not group:
            continue
        notice = Notice(
            sender=_sender(settings, host),
            recipients=group,
            subject=NOTICE_SUBJECT,
            text=NOTICE_TEXT.format(host=host, when=when),
            message_id=f"{token}.{number}@{host}",
            at=now,
        )
        content = b64encode(make_notice(notice)).decode("ascii")
        args = {"token": f"{token}.{number}", "recipients": group, "content": content, "notice": True}
        await keep_somewhere(gateway, args)


def _sender(settings: Document, host: str) -> str:
    return _transportable(settings.alerts.sender or f"alert@{host}")


async def _submit(
    gateway: Gateway, settings: Document, alert: Alert, recipients: Sequence[str], token: str, now: float
) -> int:
    host = normalise_domain(settings.system.hostname)
    notice = Notice(
        sender=_sender(settings, host),
        recipients=recipients,
        subject=f"{alert.severity.capitalize()} <System> {host}: {alert.subject}",
        text=_text(alert, host, now),
        message_id=f"{token}@{host}",
        at=now,
    )
    content = b64encode(make_notice(notice)).decode("ascii")
    args = {"token": token, "recipients": list(recipients), "content": content}
    return await keep_somewhere(gateway, args)


async def keep_somewhere(gateway: Gateway, args: Mapping[str, Any]) -> int:
    """The MID at the first worker that takes a mail of ours (`mail.submit`); always in the same order, so that a second attempt meets the same worker."""
    reasons = []
    for row in (await gateway.status())["workers"]:
        for answer in await gateway.ask_workers(SUBMIT, args, row["index"]):
            if not answer.error:
                return int(answer.result["mid"])
            reasons.append(answer.error)
    reason = "; ".join(dict.fromkeys(reasons)) or "there is no mail worker"
    raise OperatorError(reason, "it is tried again", code=Exit.TRY_AGAIN)


def _text(alert: Alert, host: str, now: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    return (
        f"{alert.severity.capitalize()} of the Gatepost gateway {host}, {when}:\n\n"
        f"{alert.subject}\n\n{alert.text.strip()}\n\n"
        "--\nYou are told because `alerts.recipients` of its configuration names you for System alerts\n"
        f"of severity {alert.severity}.\n"
    )


def _transportable(address: str) -> str:
    """The address with its domain in A-labels, which every server understands."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{normalise_domain(domain)}"
