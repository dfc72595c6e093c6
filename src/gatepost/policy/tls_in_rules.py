"""The TLS rule of a mail flow policy on one listener, compiled: what is enforced, and what is only monitored.

A policy and what a listener changes of it are layers. A layer with `tls_monitor: true` does not enforce what it says of TLS: what holds is what
holds without these keys, the policy's own where a listener has the layer, and for a policy itself `preferred` where it offers TLS at all. What
would hold, were every layer enforced, hangs on the rule (`InboundTlsRule.monitored`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gatepost.config.clients import ClientIdentity, parse_client_name
from gatepost.config.inbound import TLS_KEYS, PolicyParameters
from gatepost.config.model import Document
from gatepost.core.tls import InboundTls
from gatepost.policy.mailboxes import MailboxTable
from gatepost.policy.tls_in import ClientRule, InboundTlsRule, KnownClient


def compile_tls_rule(document: Document, layers: Sequence[PolicyParameters]) -> InboundTlsRule:
    """The rule of a policy; `layers` are the policy and then, if there is one, the listener's override."""
    written: dict[str, Any] = {"tls": InboundTls.OFF}
    enforced = dict(written)
    for number, layer in enumerate(layers):
        given = {key: value for key in TLS_KEYS if (value := getattr(layer, key)) is not None}
        written |= given
        if not layer.tls_monitor:
            enforced |= given
        elif number == 0 and written["tls"] is not InboundTls.OFF:
            enforced["tls"] = InboundTls.PREFERRED
    rule = _rule(document, enforced)
    if _said(written) == _said(enforced):
        return rule
    return replace(rule, monitored=_rule(document, written))


def _said(keys: dict[str, Any]) -> dict[str, Any]:
    """Without what says the same as nothing: false, no identities."""
    return {key: value for key, value in keys.items() if value}


def _rule(document: Document, keys: dict[str, Any]) -> InboundTlsRule:
    level = keys["tls"]
    client = _client_rule(keys) if keys.get("verify_client_certificate") else None
    name = keys.get("tls_mandatory_for")
    if name is None:
        return InboundTlsRule(level, client=client)
    addresses = document.address_list(name)
    if addresses is None:
        raise KeyError(name)
    return InboundTlsRule(level, MailboxTable.of_texts(addresses.addresses), addresses.name, client)


def _client_rule(keys: dict[str, Any]) -> ClientRule:
    identities = tuple(_known_client(identity) for identity in keys.get("client_identities", ()))
    return ClientRule(identities, bool(keys.get("accept_server_only_certificates")))


def _known_client(identity: ClientIdentity) -> KnownClient:
    authority = identity.authority or ""
    if identity.name is None:
        return KnownClient(authority, key=identity.spki or "")
    name, is_address = parse_client_name(identity.name)
    return KnownClient.named(name, is_address=is_address, authority=authority)
