"""The doctor's bundles for stored profiles: what `cert check --repair` puts in place (R6).

Gaps are filled from the intermediates of all other profiles and from the custom list of authorities; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from gatepost.certs.authorities import custom_roots
from gatepost.certs.crls import lists_in_force
from gatepost.certs.findings import Note, profile_findings
from gatepost.certs.inventory import Entry
from gatepost.certs.lifecycle import Change, with_bundles
from gatepost.pki.anchors import Anchors
from gatepost.pki.doctor import Pool, diagnose
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.pki.revocation import Crls
from gatepost.pki.troubleshooting import Step, troubleshoot
from gatepost.store.config_store import ConfigStore, Content

_MENDED_BY_A_BUNDLE = frozenset(
    {
        "missing-intermediate",
        "untrusted-root",
        "duplicate",
        "stale",
        "misordered",
        "unrelated",
        "root-included",
        "expired",
        "not-yet-valid",
        "too-long",
        "bad-signature",
    }
)


class ChainDoctor:
    """Looks at the profiles of one version or candidate with what all of them know."""

    def __init__(self, store: ConfigStore, content: Content, anchors: Anchors, now: float) -> None:
        self._store = store
        self._content = content
        self._anchors = anchors
        self._now = now
        self._crls = Crls(lists_in_force(store, content))

    def may_help(self, entry: Entry) -> bool:
        """One of the findings is of a kind that another bundle mends."""
        return not entry.facts.fault and any(note.code in _MENDED_BY_A_BUNDLE for note in entry.notes)

    def changes(self, revision: int) -> bool:
        """Another bundle is right for the profile than the one it has."""
        stored = self._store.profile(revision)
        if stored is None:
            return False
        profile = Profile.from_document(stored.record)
        return self.repaired(profile).profile != profile

    def findings(self, entry: Entry) -> tuple[Note, ...]:
        """The entry's findings once more, with what is known elsewhere: a gap that can be filled says so."""
        stored = self._store.profile(entry.facts.revision)
        if stored is None:
            return entry.notes
        profile = Profile.from_document(stored.record)
        known, crls = self._known, self._crls
        return tuple(profile_findings(profile, entry.used, self._anchors, self._now, known=known, crls=crls))

    def repaired(self, profile: Profile) -> Change:
        """The profile with the right intermediates behind each certificate."""
        bundles = [
            diagnose(pair.chain, self._anchors, self._now, known=self._known).bundle for pair in profile.pairs
        ]
        return with_bundles(profile, bundles)

    def walk(self, profile: Profile, host: str, mx: Sequence[str]) -> tuple[tuple[Step, ...], ...]:
        """Why each served certificate does not verify, step by step (R37)."""
        return tuple(
            troubleshoot(pair.served, self._anchors, self._now, host=host, mx=mx, known=self._known)
            for pair in profile.pairs
        )

    @cached_property
    def _known(self) -> Pool:
        found: dict[bytes, None] = {}
        for revision in self._content.profiles.values():
            stored = self._store.profile(revision)
            if stored is None:
                continue
            try:
                profile = Profile.from_document(stored.record)
            except PkiError:
                continue
            found.update((der, None) for pair in profile.pairs for der in pair.intermediates)
        found.update((one.der, None) for one in custom_roots(self._content.authorities).certificates)
        return Pool.of(tuple(found))
