"""The recipient access table: may a sender that is only accepted reach this recipient (asyncos 2.6)?

The first row that matches decides; without a match the recipient is refused. What keeps the gateway from being an open
relay (C29) is decided here:
- a source route is already gone, and the address behind it is looked up like any other (RFC 5321 §3.6.1);
- a local part that holds another route (`user%victim`, `victim!user`, `"user@victim"`) is refused even in a domain of
  ours, because the server behind us might follow it; only a row for exactly that mailbox lets it through;
- domains are compared as lower-case A-labels without trailing dot, literals by the address that they mean.

`postmaster` without a domain is always taken, whatever the rows say (RFC 5321 §4.5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.config.inbound import RecipientAction, RecipientRule
from gatepost.config.recipients import EntryKind, comparable_local
from gatepost.core.address import Address
from gatepost.core.reply import Refusal
from gatepost.policy.mailboxes import MailboxTable

REJECTED_BY_RAT = "Rejected by RAT"  # the log's phrase
ROUTING = frozenset("%!@")  # marks of a route inside a local part
RELAYING_DENIED = Refusal(550, "5.7.1", "Relaying denied", cause=REJECTED_BY_RAT)


@dataclass(frozen=True, slots=True)
class RatDecision:
    """What the table says: `refusal` is None for an accepted recipient; `row` is the deciding row, if any.

    `ahead` is the host that is asked about an accepted recipient, empty for where its mail goes; None: nobody is asked.
    """

    refusal: Refusal | None
    row: int | None = None
    ahead: str | None = None


ACCEPTED_POSTMASTER = RatDecision(None)


class Rat:
    """A compiled table. Immutable once built."""

    __slots__ = ("_decisions", "_table", "calls_ahead")

    def __init__(self, rules: Sequence[RecipientRule]) -> None:
        self._table = MailboxTable.of_texts([rule.recipient for rule in rules])
        self._decisions = tuple(
            RatDecision(_refusal(rule), row, _ahead(rule)) for row, rule in enumerate(rules)
        )
        self.calls_ahead = any(decision.ahead is not None for decision in self._decisions)

    def decide(self, recipient: Address) -> RatDecision:
        """May mail for this recipient come in?"""
        if not recipient.domain and comparable_local(recipient.local) == "postmaster":
            return ACCEPTED_POSTMASTER
        row = self._table.find(recipient)
        if row is None:
            return RatDecision(RELAYING_DENIED)
        decision = self._decisions[row]
        if (
            decision.refusal is None
            and holds_route(recipient)
            and self._table.kind(row) is not EntryKind.MAILBOX
        ):
            return RatDecision(RELAYING_DENIED, row)
        return decision


def holds_route(recipient: Address) -> bool:
    """The local part asks the next server to send the mail elsewhere."""
    return not ROUTING.isdisjoint(recipient.local)


def _ahead(rule: RecipientRule) -> str | None:
    asked = rule.call_ahead and rule.action is RecipientAction.ACCEPT
    return (rule.call_ahead_host or "") if asked else None


def _refusal(rule: RecipientRule) -> Refusal | None:
    if rule.action is RecipientAction.ACCEPT:
        return None
    if rule.response is None:
        return RELAYING_DENIED
    return Refusal(550, "5.7.1", rule.response, cause=REJECTED_BY_RAT)
