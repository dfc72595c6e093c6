"""What a delivery report says to people: what happened, why, and what they can do about it.

Plain, friendly English; no jargon before the technical parts of the report. The text is made of
values that `wire.dsn` has made harmless before, and returned as paragraphs that it wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.envelope import Recipient


class Kind(StrEnum):
    """The Action of RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """The news about one recipient.

    `status` is the enhanced code, `code` the SMTP reply code (`000` or empty without a reply) and `text` what the
    remote host, the network or DNS said; `remote` the host as `name[ip]`. `by_tls`: encryption, or the want of it, kept
    the message back, and `text` is why, in the words of the log. Times are seconds since the epoch, 0 for unknown.
    `address_text` is filled by `wire.dsn`.
    """

    recipient: Recipient
    status: str = ""
    code: str = ""
    text: str = ""
    remote: str = ""
    by_tls: bool = False
    last_attempt: float = 0.0
    retry_until: float = 0.0
    address_text: str = ""


_SUBJECTS = {
    Kind.FAILED: "Your message could not be delivered",
    Kind.DELAYED: "Your message is delayed; we keep trying",
    Kind.RELAYED: "Your message was passed on",
    Kind.DELIVERED: "Your message was delivered",
}

_NEWS = {
    Kind.FAILED: (
        "This is the mail gateway {hostname}. I am sorry: your message could not be delivered to the "
        "recipients below, and I will not try again."
    ),
    Kind.DELAYED: (
        "This is the mail gateway {hostname}. Your message could not be delivered to the recipients below yet. "
        "You need not do anything and should not send it again: I keep trying."
    ),
    Kind.RELAYED: (
        "This is the mail gateway {hostname}. You asked for a receipt. Your message was handed to the next mail "
        "server on its way to the recipients below; that server sends no receipts, so this is the last you will "
        "hear unless something goes wrong."
    ),
    Kind.DELIVERED: (
        "This is the mail gateway {hostname}. You asked for a receipt. Your message was delivered to the "
        "recipients below."
    ),
}

# What to do, by the last two numbers of the enhanced code (RFC 3463, RFC 7505, RFC 6531).
_ADVICE = {
    "1.0": "Check the address for typing mistakes.",
    "1.1": "Check the address for typing mistakes, and ask the recipient in another way whether it is still in use.",
    "1.2": "Check the part of the address behind the @ for typing mistakes.",
    "1.3": "Check the address for typing mistakes: it is not written as a mail address must be.",
    "1.6": "The recipient has moved; ask for the new address in another way.",
    "1.8": "The recipient's server does not accept your own address; ask your administrator for help.",
    "1.10": "This domain takes no mail; ask the recipient in another way for another address.",
    "2.1": "The mailbox is switched off; reach the recipient in another way.",
    "2.2": "The mailbox is full; try again later or reach the recipient in another way.",
    "2.3": "The message is too large for the recipient; send a smaller one, or a link to what is in it.",
    "3.4": "The message is too large for the recipient's server; send a smaller one, or a link to what is in it.",
    "4.4": "Check the part of the address behind the @; if it is right, tell the recipient that their mail server cannot be found.",
    "4.7": "The recipient's server was out of reach all the time; try again later or reach the recipient in another way.",
    "6.7": "The recipient's server does not take addresses with letters beyond ASCII; ask for another address.",
    "6.9": "The recipient's server does not take headers with letters beyond ASCII; rewrite the subject and names, and send it again.",
}
_TLS_ADVICE = (
    "To protect your message it may go to this recipient only over a properly encrypted connection. Please tell your "
    "administrator, or the recipient's: their mail server's encryption or certificate has to be mended. "
    "Sending the message again does not help before that."
)
_REQUIRED_ADVICE = {
    "7.10": (
        "You asked that this message travel only over encrypted connections to servers that prove who they are (REQUIRETLS). Nothing "
        "on the way to this recipient can do that. Ask them for another address, or, if what you wrote need not be protected like this, "
        "send it again without that request."
    ),
    "7.30": (
        "You asked that this message travel only through servers that promise to keep it protected (REQUIRETLS). The recipient's "
        "server makes no such promise. Ask the recipient for another address, or, if what you wrote need not be protected like this, "
        "send it again without that request."
    ),
}  # RFC 8689
_POLICY_ADVICE = (
    "The recipient's server refuses the message by its rules; ask your administrator, or theirs, for help."
)
_OTHER_ADVICE = (
    "If you cannot tell what to do from this, ask your administrator for help and show them this report."
)


def subject(kind: Kind) -> str:
    return _SUBJECTS[kind]


def explanation(
    kind: Kind,
    *,
    hostname: str,
    original_subject: str,
    arrived: str,
    recipients: tuple[RecipientReport, ...],
    date: Callable[[float], str],
) -> list[str]:
    """The part for people as paragraphs; an empty one is an empty line, leading blanks are indentation."""
    paragraphs = ["Hello,", "", _NEWS[kind].format(hostname=hostname), ""]
    if original_subject:
        paragraphs.append(f"    Subject: {original_subject}")
    paragraphs += [f"    Received here: {arrived}", ""]
    for report in recipients:
        paragraphs += _about(kind, report, date)
    paragraphs.append("The details for administrators follow below, then what your message looked like.")
    return paragraphs


def _about(kind: Kind, report: RecipientReport, date: Callable[[float], str]) -> list[str]:
    lines = [f"<{report.address_text}>"]
    if report.text or report.remote:
        lines.append(f"    What happened: {_happening(report)}")
    if kind is Kind.FAILED:
        lines.append(f"    What you can do: {advice(report)}")
    if kind is Kind.DELAYED:
        if report.by_tls:
            lines.append(f"    What you can do: {_TLS_ADVICE}")
        if report.retry_until:
            lines.append(f"    I keep trying until: {date(report.retry_until)}")
    return [*lines, ""]


def _happening(report: RecipientReport) -> str:
    if not report.text:
        return f"it was handed to {report.remote}"
    if report.code in ("", "000"):
        return f"{report.remote}: {report.text}" if report.remote else report.text
    return f"{report.remote or 'the remote server'} answered: {report.code} {report.text}"


def advice(report: RecipientReport) -> str:
    """What the sender can do about a failure."""
    detail = report.status.partition(".")[2]
    if report.by_tls:
        return _REQUIRED_ADVICE.get(detail, _TLS_ADVICE)
    if detail.startswith("7."):
        return _POLICY_ADVICE
    return _ADVICE.get(detail, _OTHER_ADVICE)
