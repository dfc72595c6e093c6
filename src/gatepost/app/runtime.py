"""One committed configuration, compiled for a worker: tables, TLS contexts, trusted roots.

This is the slow part of a commit (a private key and a chain for each context, some 150 roots), so it runs in a
thread, before the switch. It raises OperatorError for what only shows here: a key that does not load, a cipher list
that OpenSSL does not take.
"""

from __future__ import annotations

import ipaddress
import secrets
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from gatepost.certs.trust import revocation_lists, trusted_roots
from gatepost.config.inbound import Listener
from gatepost.config.load import load_plain
from gatepost.config.model import Document, TlsScope
from gatepost.config.sni import parse_sni_name
from gatepost.core.address import IPAddress, normalise_domain
from gatepost.core.errors import ConfigurationError, Exit, OperatorError
from gatepost.core.tls import ClientHello
from gatepost.net.errors import ContextError
from gatepost.net.tls import ClientContext, Identity, ServerContext, TlsParameters
from gatepost.pki.revocation import NO_CRLS, Crls
from gatepost.policy.admit import Rules
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.auth import SmtpUsers, compile_auth
from gatepost.policy.bounce_tags import TagRules, compile_tags
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.policy.reputation import compile_scores
from gatepost.relay.services import Runtime
from gatepost.wire.scram import ScramVerifier


def build_runtime(payload: Mapping[str, Any], before: Crls = NO_CRLS) -> Runtime:
    """Compile an activation payload (`store.payload`, keys in clear). Blocks; raises OperatorError.

    `before` are the revocation lists of the configuration in force: those that stay are not read again.
    """
    try:
        return _build(load_plain(payload["document"]), payload, before)
    except ConfigurationError as error:
        raise OperatorError(
            f"version {payload['version']} of the configuration was stored by another release: "
            f"{error.problems[0].line()}",
            "apply a configuration that this release can read, or go back to the release that stored it",
            code=Exit.FAULTY_CONFIGURATION,
        ) from None
    except ContextError as error:
        raise OperatorError(
            f"a TLS context cannot be built: {error}",
            "look at tls_settings and at the certificate it names",
            code=Exit.FAULTY_CONFIGURATION,
        ) from None


def _build(document: Document, payload: Mapping[str, Any], before: Crls) -> Runtime:
    version = int(payload["version"])
    identities = _identities(payload["profiles"])
    outbound = document.destination_controls.global_.certificate
    parameters = tls_parameters(document.tls_settings.outbound)
    own = [ipaddress.ip_address(item.address) for item in document.interfaces]
    names = {item.address: item.hostname or document.system.hostname for item in document.interfaces}
    rules = compile_rules(document)
    return Runtime(
        version=version,
        document=document,
        rules=rules,
        destinations=compile_destinations(document),
        routes=compile_routes(document),
        profiles=_profiles(document),
        server_contexts=_server_contexts(document, identities, version),
        client_contexts={
            (name, form): ClientContext.build(
                parameters, identities=identities.get(name, ()), small=form is ClientHello.SMALL
            )
            for name in ("", outbound)
            for form in ClientHello
        },
        client_certificate=outbound if outbound in identities else "",
        anchors=trusted_roots(payload["authorities"]),
        crls=revocation_lists(document, payload, before),
        hostname=document.system.hostname,
        hello_name=_hello_name(document),
        hello_names=names,
        sources=_sources(document),
        own_names=frozenset(normalise_domain(name) for name in (*names.values(), document.system.hostname)),
        own_addresses=frozenset(own),
        report_mailboxes=document.tls_reports_received.keys,
        asking_contexts=_asking_contexts(document, rules, identities, version),
        scores=compile_scores(document),
        auth=compile_auth(document),
        users=_users(payload),
        tags=_tags(document, payload),
    )


def _users(payload: Mapping[str, Any]) -> SmtpUsers:
    """Who may send. Without the secret for the others, which no worker goes without, one is made up."""
    verifiers = {name: ScramVerifier.of_text(text) for name, text in payload.get("users", {}).items()}
    return SmtpUsers(verifiers, b64decode(payload.get("nobody", "")) or secrets.token_bytes(32))


def _identities(profiles: Mapping[str, Any]) -> dict[str, tuple[Identity, ...]]:
    """The certificates whose keys this worker was given."""
    return {
        name: tuple(
            Identity(chain.encode(), key.encode())
            for chain, key in zip(profile["chains"], profile["keys"], strict=True)
        )
        for name, profile in profiles.items()
        if profile.get("keys")
    }


def tls_parameters(scope: TlsScope) -> TlsParameters:
    """The settings of one use of TLS (`tls_settings`)."""
    groups = "" if scope.groups == "default" else scope.groups
    return TlsParameters(minimum=scope.minimum.value, ciphers=scope.ciphers, groups=groups)


def _server_contexts(
    document: Document, identities: Mapping[str, tuple[Identity, ...]], version: int
) -> dict[str, ServerContext]:
    """A context for each listener that has a certificate."""
    parameters = tls_parameters(document.tls_settings.inbound)
    return {
        listener.name: _server_context(listener, identities, parameters, f"{listener.name}/{version}")
        for listener in document.listeners
        if listener.certificate in identities
    }


def _asking_contexts(
    document: Document, rules: Rules, identities: Mapping[str, tuple[Identity, ...]], version: int
) -> dict[str, ServerContext]:
    """A second context for each listener with a policy that asks clients for a certificate; nobody else is asked."""
    parameters = tls_parameters(document.tls_settings.inbound)
    return {
        listener.name: _server_context(
            listener, identities, parameters, f"{listener.name}/{version}/asking", asking=True
        )
        for listener in document.listeners
        if listener.certificate in identities
        and any(policy.tls_rule.asks_certificate for policy in rules.listeners[listener.name].policies)
    }


def _server_context(
    listener: Listener,
    identities: Mapping[str, tuple[Identity, ...]],
    parameters: TlsParameters,
    scope: str,
    *,
    asking: bool = False,
) -> ServerContext:
    """What a listener shows, also for names of SNI."""
    return ServerContext.build(
        identities[listener.certificate],
        parameters,
        scope=scope,
        by_name={
            parse_sni_name(entry.name): identities[entry.certificate]
            for entry in listener.sni
            if entry.certificate in identities
        },
        request_certificate=asking,
    )


def _profiles(document: Document) -> dict[str, Any]:
    names = {"Default", *(profile.name for profile in document.bounce_profiles)}
    return {name: document.bounce_profile(name) for name in names}


def _tags(document: Document, payload: Mapping[str, Any]) -> TagRules | None:
    """Bounce tags; a payload without opened keys (a candidate that is explained) tags nothing."""
    keys = [(one["number"], b64decode(one["key"])) for one in payload.get("bounce_keys", ()) if "key" in one]
    return compile_tags(document, dict(keys), keys[0][0]) if keys else None


def _sources(document: Document) -> dict[int, IPAddress]:
    """The address of a fixed delivery interface (R28); with `auto` the kernel chooses."""
    interface = document.interface(document.delivery.interface)
    if interface is None:
        return {}
    address = ipaddress.ip_address(interface.address)
    return {address.version: address}


def _hello_name(document: Document) -> str:
    interface = document.interface(document.delivery.interface)
    if interface is None and document.interfaces:
        interface = document.interfaces[0]
    return (interface.hostname if interface else None) or document.system.hostname
