"""Checks of SMTP AUTH: it is offered inside TLS only, and it means nothing where no mail is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gatepost.config.faults import Loc
from gatepost.config.findings import Finding
from gatepost.config.inbound import Listener, ListenerTls, MailFlowPolicy, PolicyAction, PolicyParameters
from gatepost.config.model import Document
from gatepost.config.smtp_auth import AuthLevel
from gatepost.core.tls import InboundTls

CLEAR = "is offered inside TLS only, and tls is off"
_TAKES_MAIL = (PolicyAction.ACCEPT, PolicyAction.RELAY)


def auth_findings(document: Document) -> Iterator[Finding]:
    """Everything about SMTP AUTH, in the policies and in what listeners change of them."""
    names = [mechanism.value for mechanism in document.smtp_auth.mechanisms]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Finding(("smtp_auth", "mechanisms", number), f"{name} is given twice", "leave one out")
    implicit = [listener.tls is ListenerTls.IMPLICIT for listener in document.listeners]
    for index, policy in enumerate(document.mail_flow_policies):
        loc = ("mail_flow_policies", index, "smtp_auth")
        if not _asks(policy):
            continue
        if policy.action not in _TAKES_MAIL:
            yield Finding(loc, f"has no effect with action {policy.action}", "leave it out", warning=True)
        elif not _encrypted(policy) and not any(implicit) and not _mended(document, policy):
            yield Finding(loc, CLEAR, "set tls to preferred or required")
    policies = {item.name: item for item in document.mail_flow_policies}
    for index, listener in enumerate(document.listeners):
        yield from _listener(("listeners", index), listener, policies)


def demands_auth(listener: Listener, name: str | None, policies: dict[str, MailFlowPolicy]) -> bool:
    """Nobody sends mail by this policy on this listener without having said who he is; then he relays."""
    layers = [item for item in (*listener.policies, policies.get(name or "")) if item and item.name == name]
    return _first("smtp_auth", *layers) is AuthLevel.REQUIRED


def _listener(loc: Loc, listener: Listener, policies: dict[str, MailFlowPolicy]) -> Iterator[Finding]:
    """Policies as this listener changes them."""
    if listener.tls is ListenerTls.IMPLICIT:
        return
    for number, override in enumerate(listener.policies):
        base = policies.get(override.name)
        action = override.action or (base.action if base is not None else None)
        if action not in _TAKES_MAIL or base is None:
            continue
        level = _first("smtp_auth", override, base)
        if level not in (None, AuthLevel.OFF) and _first("tls", override, base) in (None, InboundTls.OFF):
            key = "smtp_auth" if override.smtp_auth is not None else "tls"
            if getattr(override, key) is None:
                continue  # the policy itself was told of
            where = (*loc, "policies", number, key)
            text = CLEAR if key == "smtp_auth" else "is off, and smtp_auth is offered inside TLS only"
            yield Finding(where, text, "set tls to preferred or required, or smtp_auth to off")


def _asks(policy: PolicyParameters) -> bool:
    return policy.smtp_auth not in (None, AuthLevel.OFF)


def _encrypted(policy: PolicyParameters) -> bool:
    return policy.tls not in (None, InboundTls.OFF)


def _mended(document: Document, policy: MailFlowPolicy) -> bool:
    """Every listener gives the policy another level of TLS, or no AUTH."""
    overrides = [
        next((item for item in listener.policies if item.name == policy.name), None)
        for listener in document.listeners
    ]
    return bool(overrides) and all(
        item is not None and (_encrypted(item) or item.smtp_auth is AuthLevel.OFF) for item in overrides
    )


def _first(key: str, *layers: PolicyParameters) -> Any:
    return next((value for layer in layers if (value := getattr(layer, key)) is not None), None)
