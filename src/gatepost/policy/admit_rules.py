"""A document's listeners, compiled for the gates of `admit`: one `ListenerRules` for each, with its own changes of policies applied (R21)."""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.config.bounce_verification import UntaggedBounces
from gatepost.config.inbound import Listener, ListenerTls, PolicyAction, PolicyParameters
from gatepost.config.model import Document
from gatepost.config.senders import AllSenders, parse_sender
from gatepost.config.smtp_auth import AuthLevel
from gatepost.config.values import limit_number, limit_value, parse_host_name
from gatepost.policy.admit import IMPLICIT_GROUP, EffectivePolicy, ListenerRules, Rules, Timeouts
from gatepost.policy.hat import (
    Hat,
    HatGroup,
)
from gatepost.policy.rat import Rat
from gatepost.policy.tls_in_rules import compile_tls_rule


def compile_rules(document: Document) -> Rules:
    """The rules of a checked document. Raises KeyError when a name in it leads nowhere: it was not checked."""
    return Rules({listener.name: compile_listener(document, listener) for listener in document.listeners})


def compile_listener(document: Document, listener: Listener) -> ListenerRules:
    """The rules of one listener."""
    policies = effective_policies(document, listener)
    interface = document.interface(listener.interface)
    if interface is None:
        raise KeyError(listener.interface)
    groups, chosen = _hat_groups(listener, policies)
    timeouts = listener.timeouts
    return ListenerRules(
        name=listener.name,
        interface=interface.name,
        address=interface.address,
        port=listener.port,
        hostname=parse_host_name(interface.hostname or document.system.hostname),
        implicit_tls=listener.tls is ListenerTls.IMPLICIT,
        certificate=listener.certificate,
        banner=listener.banner,
        max_connections=limit_number(listener.max_connections),
        max_hops=listener.max_hops,
        requiretls=listener.requiretls,
        heeds_tls_required_no=listener.heeds_tls_required_no,
        timeouts=Timeouts(
            timeouts.command,
            timeouts.data,
            timeouts.handshake,
            timeouts.session if isinstance(timeouts.session, int) else None,
        ),
        hat=Hat(groups),
        groups=tuple(group.name for group in groups),
        policies=chosen,
        rat=Rat(listener.recipient_access),
        reverse=document.dns.reverse,
        delay_rejection=listener.delay_rejection,
    )


def _hat_groups(
    listener: Listener, policies: Mapping[str, EffectivePolicy]
) -> tuple[tuple[HatGroup, ...], tuple[EffectivePolicy, ...]]:
    """The HAT's rows with their policies, and the default policy as a last row for everybody."""
    groups, chosen = [], []
    for row in listener.host_access:
        policy = policies[row.policy or listener.default_policy or ""]
        senders = tuple(parse_sender(text) for text in row.senders)
        if row.group == IMPLICIT_GROUP and not senders:
            senders = (AllSenders(),)
        decides = policy.action is not PolicyAction.CONTINUE
        groups.append(HatGroup(row.group, senders, decides, policy.strict))
        chosen.append(policy)
    if listener.default_policy is not None:
        policy = policies[listener.default_policy]
        groups.append(HatGroup(IMPLICIT_GROUP, (AllSenders(),), True, policy.strict))
        chosen.append(policy)
    return tuple(groups), tuple(chosen)


def effective_policies(document: Document, listener: Listener) -> dict[str, EffectivePolicy]:
    """Every policy as this listener uses it: the listener's own keys replace the policy's (R21)."""
    overrides = {override.name: override for override in listener.policies}
    found = {}
    for policy in document.mail_flow_policies:
        layers: list[PolicyParameters] = [policy]
        if policy.name in overrides:
            layers.append(overrides[policy.name])
        found[policy.name] = _effective(document, policy.action, layers)
    return found


def _effective(document: Document, action: PolicyAction, layers: list[PolicyParameters]) -> EffectivePolicy:
    values: dict[str, object] = {}
    for layer in layers:
        values.update({key: value for key, value in layer if value is not None})
    merged = PolicyParameters.model_construct(None, **values)
    sizes = {
        key: limit_number(value)
        for key in ("max_messages_per_connection", "max_recipients_per_message", "max_connections_per_ip")
        if (value := getattr(merged, key)) is not None
    }
    if merged.max_message_size is not None:
        sizes["max_message_size"] = merged.max_message_size
    action = merged.action or action
    takes_mail = action in (PolicyAction.ACCEPT, PolicyAction.RELAY)
    return EffectivePolicy(
        name=merged.name,
        action=action,
        tls_rule=compile_tls_rule(document, layers),
        max_recipients_per_hour=limit_value(merged.max_recipients_per_hour or "unlimited"),
        banner=merged.banner or "",
        smtp_auth=(takes_mail and merged.smtp_auth) or AuthLevel.OFF,
        untagged_bounces=merged.untagged_bounces or UntaggedBounces.REJECT,
        **sizes,
    )
