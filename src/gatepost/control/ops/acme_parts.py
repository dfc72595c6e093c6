"""Automatic certificates as they touch every commit: a stand-in for what is not issued yet, a warning for a missing secret."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from gatepost.certs.acme_secrets import Secret, has_secret
from gatepost.certs.inventory import keep_profile, with_profiles
from gatepost.certs.making import DEFAULT_DAYS, new_self_signed
from gatepost.config.acme import AcmeChallenge
from gatepost.config.model import Document
from gatepost.control.alert_hooks import webhook_warnings
from gatepost.control.ops.bounce_keys import bounce_warnings
from gatepost.control.ops.registry import Context
from gatepost.control.tls_reporter import unsigned_warnings
from gatepost.core.errors import OperatorError, Problem
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import SubjectFields
from gatepost.store.config_store import ConfigStore, Content

MAX_COMMON_NAME = 64  # RFC 5280, upper bound of a common name


async def with_stand_ins(context: Context, content: Content) -> Content:
    """The content with a self-signed certificate for every profile under `acme.certificates` that there is not yet.

    So a listener may name the profile from the start, and speaks TLS until the authority has answered.
    """
    new = [item for item in _listed(content.document) if item["name"] not in content.profiles]
    revisions = {}
    for item in new:
        try:
            profile = await asyncio.to_thread(_stand_in, item, context.clock.now())
        except PkiError as error:
            raise OperatorError(
                f"no certificate can stand in for {item['name']}: {error.text}", error.hint
            ) from None
        revisions[profile.name] = await keep_profile(context.store, context.keeper, profile, context.clock)
    return with_profiles(content, revisions) if revisions else content


def _listed(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((document.get("acme") or {}).get("certificates") or ())


def _stand_in(item: Mapping[str, Any], now: float) -> Profile:
    names = [str(name) for name in item["names"]]
    first = names[0] if len(names[0]) <= MAX_COMMON_NAME else str(item["name"])[:MAX_COMMON_NAME]
    return new_self_signed(item["name"], SubjectFields(first), names, DEFAULT_DAYS, KeyKind.P256, now)


def secret_warnings(context: Context, document: Document | None) -> tuple[Problem, ...]:
    """What the sections `acme`, `alerts` and `tls_reports` need beside the document, and do not have."""
    if document is None:
        return ()
    return (
        *_missing_secrets(context.store, document),
        *webhook_warnings(context.store, document),
        *bounce_warnings(context.store, document),
        *unsigned_warnings(context.store, document),
    )


def _missing_secrets(store: ConfigStore, document: Document) -> Iterator[Problem]:
    acme = document.acme
    if not acme.enabled:
        return
    if acme.eab is not None and not has_secret(store, Secret.EAB):
        text, hint = "the key of this account is not stored", "`gatepost acme secret eab` stores it"
        yield Problem("acme.eab", text, hint, warning=True)
    by_dns = any(acme.challenge_of(item) is AcmeChallenge.DNS for item in acme.certificates)
    if by_dns and acme.dns is not None and acme.dns.server and not has_secret(store, Secret.TSIG):
        text, hint = "the key of that name is not stored", "`gatepost acme secret tsig` stores it"
        yield Problem("acme.dns.key_name", text, hint, warning=True)
