"""Whom a configuration trusts: the roots and the revocation lists of an activation payload (`store.payload`), as the judge takes them."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from gatepost.certs.authorities import system_bundle
from gatepost.config.authorities import StaleRule
from gatepost.config.model import Document
from gatepost.pki.anchors import Anchors
from gatepost.pki.revocation import NO_CRLS, Crls, SignedList


def trusted_roots(authorities: Mapping[str, Any]) -> Anchors:
    """The system's list and the custom one, as far as they are switched on (R11)."""
    bundles = []
    if authorities["system"]:
        bundles.append(system_bundle()[1])
    if authorities["custom_pem"]:
        bundles.append(authorities["custom_pem"].encode())
    return Anchors.from_pem(*bundles)


def revocation_lists(document: Document, payload: Mapping[str, Any], before: Crls = NO_CRLS) -> Crls:
    """The revocation lists that count, and what one out of date does. Those of `before` that stay are not read again."""
    lists = (SignedList(b64decode(one["der"]), one["signer"]) for one in payload.get("crls", ()))
    refuse = document.certificate_authorities.crl_stale is StaleRule.REFUSE
    return Crls(lists, refuse_stale=refuse, before=before)
