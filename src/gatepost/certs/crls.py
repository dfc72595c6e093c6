"""Revocation lists as an administrator has them: taken in, due, in force, and when they end (R11).

A list is taken in when it can be read, is not older than the one of the same line that is in use, was not made in the future, and a
known authority signed it. Known are the system's roots and the custom list, whether switched on or not, and the intermediates of the stored
profiles. The signature is checked again by the judge for each chain, so a list can revoke nothing but its own authority's certificates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.utils import CryptographyDeprecationWarning

from gatepost.certs.authorities import custom_roots, system_bundle
from gatepost.config.authorities import RevocationSource
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.revocation import (
    NO_CRLS,
    Crls,
    ListFacts,
    RevocationList,
    SignedList,
    read_list,
    require_known_entries,
)
from gatepost.policy.refetch import Standing, When, next_fetch
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.revocations import Fetching, KeptList, counting_lists, kept_list

CLOCK_SLACK = 86_400.0  # seconds by which a list may come from the future
_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Checked:
    """A list that may be used, and whose signature it carries."""

    list: RevocationList
    signer: Certificate


def check_list(data: bytes, known: Iterable[Certificate], now: float) -> Checked:
    """Read a list that came from outside. Raises PkiError with what is wrong and what to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        found = read_list(data)
        require_known_entries(found.der)
    if found.facts.this_update > now + CLOCK_SLACK:
        raise PkiError("the revocation list was made in the future", "look at this machine's clock")
    named = [authority for authority in known if authority.subject_key == found.issuer_key]
    if not named:
        raise PkiError(
            f"the revocation list is by {found.facts.issuer}, which is not known here",
            "import the authority's certificate first, with `gatepost ca import FILE`",
        )
    signer = next((authority for authority in named if found.signed_by(authority)), None)
    if signer is None:
        raise PkiError(
            f"the signature of the revocation list is not by the {found.facts.issuer} that is known here",
            "was it changed on its way, or does the authority have a new key that is to be imported?",
        )
    return Checked(found, signer)


def known_authorities(pem: bytes) -> tuple[Certificate, ...]:
    """Who may sign lists: the system's roots, and those of `pem` (`own_authorities`)."""
    return Anchors.from_pem(system_bundle()[1], pem).certificates


def own_authorities(store: ConfigStore, content: Content) -> str:
    """The custom list and the intermediates of all profiles, as PEM, each once."""
    blocks: dict[str, None] = dict.fromkeys(_blocks(content.authorities))
    for revision in content.profiles.values():
        profile = store.profile(revision)
        if profile is not None:
            blocks.update(dict.fromkeys(_blocks(profile.chain)[1:]))
    return "".join(blocks)


def _blocks(pem: str) -> list[str]:
    return [f"{block.lstrip()}{_END}\n" for block in pem.split(_END) if block.strip()]


def trusted_pem(content: Content) -> bytes:
    """The roots that verify peers under a version: the system's list and the custom one, as far as they are on."""
    section = content.document.get("certificate_authorities") or {}
    system = system_bundle()[1] if section.get("system", True) else b""
    custom = content.authorities.encode("ascii") if section.get("custom", False) else b""
    return system + b"\n" + custom


def when_due(source: RevocationSource, state: Fetching, kept: KeptList | None, now: float) -> When:
    """When a source is to be fetched next."""
    facts = kept.facts if kept is not None else None
    standing = Standing(
        state.tried,
        state.reached,
        state.failures,
        state.wanted > 0,
        facts.this_update if facts else None,
        facts.next_update if facts else None,
    )
    return next_fetch(standing, source.every, now)


def lists_in_force(store: ConfigStore, content: Content) -> list[SignedList]:
    """The lists that count under a version."""
    found = (kept_list(store, one.source) for one in counting_lists(store, content.document))
    return [SignedList(one.der, one.signer) for one in found if one]


def crls_in_force(store: ConfigStore, content: Content) -> Crls:
    """The same for whoever judges a peer's chain outside the mail workers."""
    section = content.document.get("certificate_authorities") or {}
    return Crls(lists_in_force(store, content), refuse_stale=section.get("crl_stale") == "refuse")


class OwnRevocations:
    """The lists by which our own certificates are judged; read again only when others count.

    What a stale list does to peers here is no matter of ours elsewhere, so it never breaks one of them.
    """

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._last: tuple[tuple[str, ...], Crls] = ((), NO_CRLS)

    def crls(self, content: Content) -> Crls:
        """Those that count under a version or candidate."""
        counting = counting_lists(self._store, content.document)
        names = tuple(one.facts.fingerprint for one in counting)
        known, before = self._last
        if names != known:
            self._last = (names, Crls(lists_in_force(self._store, content), before=before))
        return self._last[1]


@dataclass(frozen=True, slots=True)
class Expiring:
    """Something that verifies peers and that ends. `what` is `authority` or `revocation list`."""

    what: str
    name: str
    subject: str
    not_before: float
    not_after: float
    fingerprint: str
    fetched: bool = False  # it renews itself


def expiring(store: ConfigStore, content: Content) -> Sequence[Expiring]:
    """The custom authorities while their list is on, and the revocation lists that count and say when they end."""
    section = content.document.get("certificate_authorities") or {}
    roots = custom_roots(content.authorities).certificates if section.get("custom", False) else ()
    items = [
        Expiring("authority", root.common_name or root.subject, root.subject, root.not_before, root.not_after,
                 root.fingerprint)
        for root in roots
    ]  # fmt: skip
    for one in counting_lists(store, content.document):
        if one.facts.next_update is not None:
            items.append(_ending(one, one.facts, one.facts.next_update))
    return items


def _ending(one: KeptList, facts: ListFacts, end: float) -> Expiring:
    name = facts.issuer if one.from_file else one.source
    return Expiring(
        "revocation list", name, facts.issuer, facts.this_update, end, facts.fingerprint, not one.from_file
    )
