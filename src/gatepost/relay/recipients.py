"""RCPT: may this recipient be added to the message in hand, under which address, and who else has to be asked.

The table and the limits are `policy.admit`'s, bounce tags `policy.bounce_tags`'s, the question to another host is `call_ahead`'s; here they
are put in order: the tag is taken off first, since everything else is about the address behind it, and the other host is asked last, since that takes
time and a sender must be let that far. Nothing here answers; `receive.Reception` does.

Sources: RFC 5321 §4.5.1 (postmaster).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gatepost.core.address import Address
from gatepost.core.envelope import Recipient
from gatepost.core.reply import Refusal
from gatepost.policy.admit import TOO_MANY_THIS_HOUR, Action, Admission, check_recipient
from gatepost.policy.bounce_tags import TagRules, TagVerdict, judge_recipient
from gatepost.relay.report_mail import is_for_reports

if TYPE_CHECKING:
    from gatepost.relay.accept import Session


def without_tag(
    session: Session, admission: Admission, tags: TagRules, address: Address, *, report: bool
) -> TagVerdict:
    """The recipient without a bounce tag, and why it is refused where a report needs one."""
    assert admission.policy is not None
    exempt = admission.action is Action.RELAY or is_for_reports(session.runtime, address)
    asked = None if exempt else admission.policy.untagged_bounces
    return judge_recipient(tags, address, report=report, untagged=asked, now=session.services.clock.now())


def refusal_of(session: Session, admission: Admission, address: Address, accepted: int) -> Refusal | None:
    """Why the recipient is refused by what we know ourselves; one that is not is counted for its sender's hour."""
    refusal = check_recipient(session.rules, admission, address, accepted)
    if refusal is not None or admission.policy is None:
        return refusal
    limit = admission.policy.max_recipients_per_hour
    if limit is None:
        return None
    key = f"{session.rules.name}/{admission.network}"
    return None if session.services.limits.count_recipients(key, 1, limit) else TOO_MANY_THIS_HOUR


def asked_host(session: Session, admission: Admission, address: Address) -> str | None:
    """The host that is to be asked about an accepted recipient, empty for where its mail goes; None: nobody is."""
    rat = session.rules.rat
    if not rat.calls_ahead or admission.action is Action.RELAY:
        return None
    host = rat.decide(address).ahead
    return None if host is None or is_for_reports(session.runtime, address) else host


async def refusal_ahead(
    session: Session, admission: Admission, address: Address, host: str
) -> Refusal | None:
    """Why that host does not want the recipient."""
    services = session.services
    assert services.call_aheads is not None
    return await services.call_aheads.refusal(services, address, host, admission.network)


def routable(recipient: Recipient, hostname: str) -> Recipient:
    """`postmaster` without a domain is the postmaster of this host (RFC 5321 §4.5.1)."""
    address = recipient.address
    if address.domain:
        return recipient
    return replace(recipient, address=Address(f"{address.local}@{hostname}", address.local, hostname))
