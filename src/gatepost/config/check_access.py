"""Checks of the way in: HAT, RAT and mail flow policies of every listener (asyncos 2.3, 2.6; R19, R21)."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.check_auth import demands_auth
from gatepost.config.faults import Loc
from gatepost.config.findings import Finding, dangling, duplicates
from gatepost.config.inbound import (
    TLS_KEYS,
    Listener,
    ListenerType,
    MailFlowPolicy,
    PolicyAction,
    PolicyParameters,
    SenderGroup,
)
from gatepost.config.model import Document
from gatepost.config.recipients import EntryKind, parse_mailbox_entry
from gatepost.config.senders import NameSender, parse_sender
from gatepost.core.tls import InboundTls

ALL = "ALL"


def catches_all(group: SenderGroup) -> bool:
    """The group matches every sender: it is called ALL and lists none, or it lists `ALL`."""
    return (group.group == ALL and not group.senders) or any(s.upper() == ALL for s in group.senders)


def access_findings(document: Document) -> Iterator[Finding]:
    """Everything about who may send what to whom."""
    policies = {item.name: item for item in document.mail_flow_policies}
    yield from duplicates(
        ("mail_flow_policies",), "name", [item.name for item in document.mail_flow_policies]
    )
    lists = [item.name for item in document.address_lists]
    for index, policy in enumerate(document.mail_flow_policies):
        yield from _policy(("mail_flow_policies", index), policy, policy.tls, lists)
    for index, listener in enumerate(document.listeners):
        loc = ("listeners", index)
        yield from _overrides(loc, listener, policies, lists)
        yield from _policy_names(loc, listener, policies)
        yield from _host_access(loc, listener, policies)
        if not document.dns.reverse:
            yield from _names_without_look_ups(loc, listener)
        yield from _recipient_access(loc, listener, policies)


def _policy(
    loc: Loc, policy: PolicyParameters, tls: InboundTls | None, lists: list[str]
) -> Iterator[Finding]:
    where = (*loc, "tls_mandatory_for")
    yield from dangling(where, "address list", policy.tls_mandatory_for, lists, ("address_lists",))
    if policy.tls_mandatory_for is not None and tls in (None, InboundTls.OFF):
        yield Finding(
            where,
            "asks for TLS that the policy does not offer",
            "set tls to preferred",
            about=(where, (*loc, "tls")),
        )
    if policy.tls_monitor and all(getattr(policy, key) is None for key in TLS_KEYS):
        text = "has nothing to evaluate: nothing is said of TLS here"
        yield Finding(
            (*loc, "tls_monitor"), text, "set what is to be tried, such as tls: required", warning=True
        )


def _overrides(
    loc: Loc, listener: Listener, policies: dict[str, MailFlowPolicy], lists: list[str]
) -> Iterator[Finding]:
    """The policies that a listener changes."""
    yield from duplicates((*loc, "policies"), "name", [item.name for item in listener.policies])
    for index, override in enumerate(listener.policies):
        where = (*loc, "policies", index)
        yield from dangling((*where, "name"), "policy", override.name, policies, ("mail_flow_policies",))
        base = policies.get(override.name)
        tls = override.tls if override.tls is not None or base is None else base.tls
        yield from _policy(where, override, tls, lists)


def _policy_names(loc: Loc, listener: Listener, policies: dict[str, MailFlowPolicy]) -> Iterator[Finding]:
    """Policies that groups and the listener name."""
    section = ("mail_flow_policies",)
    yield from dangling((*loc, "default_policy"), "policy", listener.default_policy, policies, section)
    for index, group in enumerate(listener.host_access):
        where = (*loc, "host_access", index, "policy")
        yield from dangling(where, "policy", group.policy, policies, section)
        if group.policy is None and listener.default_policy is None:
            yield Finding(where, "is missing", "name a policy, or give the listener a default_policy")


def action_of(
    listener: Listener, name: str | None, policies: dict[str, MailFlowPolicy]
) -> PolicyAction | None:
    """What the listener does by a policy, its own changes applied; None for a policy that does not exist."""
    for override in listener.policies:
        if override.name == name and override.action is not None:
            return override.action
    return policies[name].action if name is not None and name in policies else None


def _host_access(loc: Loc, listener: Listener, policies: dict[str, MailFlowPolicy]) -> Iterator[Finding]:
    """The HAT must decide about everybody, and every row must be within reach."""
    table = (*loc, "host_access")
    yield from duplicates(table, "group", [item.group for item in listener.host_access])
    decided_by = -1
    for index, group in enumerate(listener.host_access):
        where = (*table, index)
        if group.group == ALL and group.senders:
            yield Finding(
                (*where, "senders"), "the group ALL takes no senders", "leave them out: it means everybody"
            )
        if decided_by >= 0:
            text = f"is never reached: host_access[{decided_by}] already matches every sender"
            yield Finding(
                where, text, "move the group for ALL to the end", True, (where, (*table, decided_by))
            )
        elif (
            catches_all(group)
            and action_of(listener, group.policy or listener.default_policy, policies)
            is not PolicyAction.CONTINUE
        ):
            decided_by = index
    default = action_of(listener, listener.default_policy, policies)
    if default is PolicyAction.CONTINUE:
        where = (*loc, "default_policy")
        yield Finding(
            where, "is a policy that decides nothing", "name a policy that accepts, relays or rejects"
        )
    elif decided_by < 0 and listener.default_policy is None:
        yield Finding(
            table,
            "senders that no group names are refused",
            "end it with {group: ALL, policy: …}, or give the listener a default_policy, to say it yourself",
            warning=True,
        )


def _names_without_look_ups(loc: Loc, listener: Listener) -> Iterator[Finding]:
    """Host names in the HAT while nobody looks names up."""
    for index, group in enumerate(listener.host_access):
        for number, text in enumerate(group.senders):
            if isinstance(parse_sender(text), NameSender):
                where = (*loc, "host_access", index, "senders", number)
                text = "never matches: dns.reverse is false, so no host name is known"
                yield Finding(
                    where, text, "use addresses, or set dns.reverse", True, (where, ("dns", "reverse"))
                )
                break


def _recipient_access(loc: Loc, listener: Listener, policies: dict[str, MailFlowPolicy]) -> Iterator[Finding]:
    """The RAT: rows out of reach, and listeners that can take no mail at all."""
    table = (*loc, "recipient_access")
    decided_by = -1
    for index, rule in enumerate(listener.recipient_access):
        if decided_by >= 0:
            where = (*table, index)
            text = f"is never reached: recipient_access[{decided_by}] already matches every recipient"
            yield Finding(where, text, "move the row for ALL to the end", True, (where, (*table, decided_by)))
        elif parse_mailbox_entry(rule.recipient).kind is EntryKind.ALL:
            decided_by = index
    names = {group.policy or listener.default_policy for group in listener.host_access} | {
        listener.default_policy
    }
    accepts = any(
        action_of(listener, name, policies) is PolicyAction.ACCEPT
        and not demands_auth(listener, name, policies)
        for name in names
    )
    if accepts and not listener.recipient_access:
        private = listener.type is ListenerType.PRIVATE
        hint = (
            "use a policy with action relay, or name recipients"
            if private
            else "name the domains that are yours"
        )
        yield Finding(
            table, "is empty: senders that are only accepted can reach no recipient", hint, warning=True
        )
