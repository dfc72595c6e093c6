"""What the routed host's answer about a recipient means for whoever wants to send to it.

The host's RCPT decides: 2yz accepts, 5yz refuses for good, 4yz for now. Everything else is "could not tell", and defers with 451: no
host, no TLS as the destination asks for it, no answer in time, and a host that refuses the null sender with which it is asked (it must not, RFC 5321
§4.5.5, and it says nothing of the recipient). What the host said stands in the log; the sender gets its code, and words of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.config.call_ahead import CallAhead
from gatepost.core.reply import Refusal, Reply

REJECTED = "Rejected by call-ahead"  # the log's phrase
TOO_MANY_INVALID = Refusal(
    452,
    "4.7.1",
    "Too many recipients that do not exist, try again later",
    cause="Too many invalid recipients",
)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known of a recipient: why it is refused, or None, and for how many seconds that is so.

    `invalid`: the host does not know the recipient, which counts against whoever asks for many such.
    """

    refusal: Refusal | None
    keep: float = 0.0
    invalid: bool = False


def read_answer(mail: Reply, rcpt: Reply, settings: CallAhead) -> Ahead:
    """The meaning of the host's replies to MAIL and RCPT."""
    if mail.code >= 300:
        return could_not_tell("4.4.0", f"the null sender is refused: {mail.code} {mail.text}")
    if rcpt.code < 300:
        return Ahead(None, settings.keep_positive)
    if not rcpt.permanent:
        enhanced = rcpt.enhanced if rcpt.enhanced.startswith("4.") else "4.3.0"
        text = "The recipient's mail server cannot take it now, try again later"
        return Ahead(Refusal(451, enhanced, text, cause=_cause(f"{rcpt.code} {rcpt.text}")))
    enhanced = rcpt.enhanced if rcpt.enhanced.startswith("5.") else "5.1.1"
    refusal = Refusal(
        550, enhanced, "The recipient's mail server refuses it", cause=_cause(f"{rcpt.code} {rcpt.text}")
    )
    return Ahead(refusal, settings.keep_negative, invalid=True)


def invalid_key(network: str) -> str:
    """What recipients that do not exist are counted under; `network` is `Admission.network`. No listener's name begins so."""
    return f"\0call-ahead/{network}"


def could_not_tell(status: str, why: str) -> Ahead:
    """No answer about the recipient. `status` begins with `4.`."""
    text = "The recipient's mail server does not answer, try again later"
    return Ahead(Refusal(451, status, text, cause=_cause(why)))


def cannot_be_sent(why: str) -> Ahead:
    """The address cannot be put into a command to this host, so no mail for it could be delivered there."""
    text = "The recipient's mail server does not take internationalised addresses"
    return Ahead(Refusal(550, "5.6.7", text, cause=_cause(why)))


def _cause(why: str) -> str:
    return f"{REJECTED} ({why})"
