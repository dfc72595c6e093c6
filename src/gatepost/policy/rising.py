"""Where a configuration asks for more TLS than another: what an administrator may want to rehearse before it is in force.

Outgoing: the level (by `LEVELS_BY_STRICTNESS`), DANE, MTA-STS, the trust in names of unsigned DNS, for the default and for every domain that an
entry of either side names. Incoming: the level of each policy on each listener, the client's certificate, the list of senders that must use TLS.
A rule that becomes stricter in one way and laxer in another has risen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from gatepost.config.model import Document
from gatepost.config.outbound import Dane
from gatepost.core.tls import InboundTls
from gatepost.policy.admit_rules import effective_policies
from gatepost.policy.destinations import DestinationRule, DestinationTable
from gatepost.policy.outbound import compile_destinations
from gatepost.policy.tls_in import InboundTlsRule
from gatepost.policy.tls_out import LEVELS_BY_STRICTNESS

_DANE = (Dane.NONE, Dane.OPPORTUNISTIC, Dane.MANDATORY)
_INBOUND = (InboundTls.OFF, InboundTls.PREFERRED, InboundTls.REQUIRED)
_SOMEONE = "a"  # a label: what stands before a suffix to make a domain inside it


@dataclass(frozen=True, slots=True)
class Rise:
    """One rule that asks for more: whose it is, what, and from what to what."""

    where: str
    what: str
    before: str
    after: str

    def line(self) -> str:
        return f"{self.where}: {self.what} {self.before} -> {self.after}"


def rises(before: Document, after: Document, today: date) -> tuple[Rise, ...]:
    """All of them, outgoing ones first."""
    return (*_outgoing(before, after, today), *_incoming(before, after))


def _outgoing(before: Document, after: Document, today: date) -> Iterator[Rise]:
    old, new = compile_destinations(before), compile_destinations(after)
    yield from _of_rules("default destination", old.default, new.default)
    named = {
        entry.domain.lower(): None
        for document in (before, after)
        for entry in document.destination_controls.destinations
    }
    for domain in named:
        yield from _of_rules(f"destination {domain}", _rule(old, domain, today), _rule(new, domain, today))


def _rule(table: DestinationTable, written: str, today: date) -> DestinationRule:
    return table.find(_SOMEONE + written if written.startswith(".") else written, today)


def _of_rules(where: str, old: DestinationRule, new: DestinationRule) -> Iterator[Rise]:
    strictness = LEVELS_BY_STRICTNESS.index
    if strictness(new.level) > strictness(old.level):
        yield Rise(where, "tls", old.level.value, new.level.value)
    if new.asks_dane and _DANE.index(new.dane) > _DANE.index(old.dane if old.asks_dane else Dane.NONE):
        yield Rise(where, "dane", old.dane.value, new.dane.value)
    if new.asks_sts and not old.asks_sts:
        yield Rise(where, "mta_sts", "false", "true")
    if new.level.verifies and old.level.verifies and old.insecure_names and not new.insecure_names:
        yield Rise(where, "insecure_names", "allow", "refuse")


def _incoming(before: Document, after: Document) -> Iterator[Rise]:
    for listener in after.listeners:
        old_listener = before.listener(listener.name)
        if old_listener is None:
            continue
        old = effective_policies(before, old_listener)
        for name, policy in effective_policies(after, listener).items():
            if name in old:
                where = f"policy {name} on listener {listener.name}"
                yield from _of_policies(where, old[name].tls_rule, policy.tls_rule)


def _of_policies(where: str, old: InboundTlsRule, new: InboundTlsRule) -> Iterator[Rise]:
    if _INBOUND.index(new.level) > _INBOUND.index(old.level):
        yield Rise(where, "tls", old.level.value, new.level.value)
    if new.client is not None and old.client is None:
        yield Rise(where, "verify_client_certificate", "false", "true")
    if new.senders is not None and new.senders_name != old.senders_name:
        yield Rise(where, "tls_mandatory_for", old.senders_name or "nobody", new.senders_name)
