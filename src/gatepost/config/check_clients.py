"""Checks of client certificates in mail flow policies (R22): entries that name nobody, and keys that have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.clients import ClientIdentity, parse_client_name
from gatepost.config.faults import Loc
from gatepost.config.findings import Finding
from gatepost.config.inbound import Listener, ListenerTls, MailFlowPolicy, PolicyParameters
from gatepost.config.model import Document
from gatepost.core.tls import InboundTls

_DEPENDENT = ("client_identities", "accept_server_only_certificates")


def client_findings(document: Document) -> Iterator[Finding]:
    """Everything about whom a policy accepts by certificate, in the policies and in what listeners change of them."""
    for index, policy in enumerate(document.mail_flow_policies):
        loc = ("mail_flow_policies", index)
        overrides = [
            item for listener in document.listeners for item in listener.policies if item.name == policy.name
        ]
        implicit = any(listener.tls is ListenerTls.IMPLICIT for listener in document.listeners)
        encrypted = implicit or any(_offers(item) for item in (policy, *overrides))
        asks = any(item.verify_client_certificate for item in (policy, *overrides))
        yield from _policy(loc, policy, encrypted=encrypted, asks=asks)
    policies = {item.name: item for item in document.mail_flow_policies}
    for index, listener in enumerate(document.listeners):
        for number, override in enumerate(listener.policies):
            where = ("listeners", index, "policies", number)
            yield from _override(where, listener, override, policies.get(override.name))


def _override(
    loc: Loc, listener: Listener, override: PolicyParameters, base: MailFlowPolicy | None
) -> Iterator[Finding]:
    layers = (override, base) if base is not None else (override,)
    encrypted = listener.tls is ListenerTls.IMPLICIT or _offers(
        next((layer for layer in layers if layer.tls is not None), override)
    )
    said = [
        layer.verify_client_certificate for layer in layers if layer.verify_client_certificate is not None
    ]
    yield from _policy(loc, override, encrypted=encrypted, asks=bool(said and said[0]))


def _offers(policy: PolicyParameters) -> bool:
    return policy.tls not in (None, InboundTls.OFF)


def _policy(loc: Loc, policy: PolicyParameters, *, encrypted: bool, asks: bool) -> Iterator[Finding]:
    if policy.verify_client_certificate and not encrypted:
        yield Finding(
            (*loc, "verify_client_certificate"),
            "asks for a certificate, and without TLS no client can show one",
            "set tls to preferred or required",
            warning=True,
        )
    for key in _DEPENDENT:
        if getattr(policy, key) and not asks:
            yield Finding((*loc, key), "has no effect", "set verify_client_certificate to true", warning=True)
    identities = policy.client_identities or ()
    for number, identity in enumerate(identities):
        where = (*loc, "client_identities", number)
        yield from _identity(where, identity)
        if _comparable(identity) in [_comparable(other) for other in identities[:number]]:
            yield Finding(where, "is given twice", warning=True)


def _identity(loc: Loc, identity: ClientIdentity) -> Iterator[Finding]:
    if identity.spki is not None and (identity.name is not None or identity.authority is not None):
        key = "name" if identity.name is not None else "authority"
        yield Finding(
            (*loc, key),
            "stands beside spki, and a pinned key stands for its owner alone",
            "leave it out, or make two entries",
        )
    elif identity.spki is None and identity.name is None and identity.authority is None:
        yield Finding(loc, "names nobody", "give it a name, an authority, or spki")


def _comparable(identity: ClientIdentity) -> tuple[str, str, str]:
    name = parse_client_name(identity.name)[0] if identity.name is not None else ""
    authority = " ".join((identity.authority or "").casefold().split())
    return authority, name, identity.spki or ""
