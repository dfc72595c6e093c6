"""Profiles in and out of the store, and how they are shown.

An `Entry` is what a list shows of one profile; its JSON form has the stable keys of the contract. Keys are sealed by the keeper on the way in, and opened only where `open_profile` is called for it.

How it stays quick. A stored revision never changes, so `Inventory` keeps what was read of it (`Facts`, about a kilobyte)
and what was found (the judge's work is half a millisecond a chain). Findings are kept for the same uses, authorities and revocation lists, for
an hour or a hundredth of the time until the next date in the chain, and never across that date. Both memos are bounded. A store of
10,000 profiles is listed in well under 100 ms once it was listed before (docs/performance.md).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import Any, Generic, TypeVar

from gatepost.certs.authorities import system_bundle
from gatepost.certs.crls import OwnRevocations
from gatepost.certs.findings import Note, profile_findings
from gatepost.certs.times import iso_time
from gatepost.certs.usage import Use, uses
from gatepost.core.ports import Clock
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Pair, Profile
from gatepost.pki.revocation import Crls
from gatepost.pki.text import printable
from gatepost.store.config_store import ConfigStore, Content, StoredProfile, seal_profile
from gatepost.store.secrets import Keeper

DAY = 86_400
KEPT_REVISIONS = 20_000
SHORTEST_SECONDS = 3600.0
KEPT_SHARE = 100
K = TypeVar("K")
V = TypeVar("V")
_TELLING = ("expired", "not-yet-valid", "malformed")  # what a status says before anything else
_MILD = ("demo", "expires-soon", "self-signed")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One served certificate of a profile. `alone`: it is self-signed, so nobody can verify it (R2)."""

    subject: str
    fingerprint: str
    not_after: float
    origin: str
    alone: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What a list needs to know of one revision of a profile. `fault` says why it cannot be read, else it is empty."""

    name: str
    revision: int
    origin: str
    created: float
    has_key: bool
    leaves: tuple[Leaf, ...] = ()
    common_name: str = ""
    issuer: str = ""
    not_before: float = 0.0
    not_after: float = 0.0
    since: str = ""
    until: str = ""
    dates: tuple[float, ...] = ()
    fault: str = ""

    def days_left(self, now: float) -> int | None:
        """Whole days until the first certificate ends, rounded down."""
        return None if self.fault else int((self.not_after - now) // DAY)

    def same_until(self, now: float) -> float:
        """Until when findings made now are good for: never across a date of the chain."""
        coming = [date for date in self.dates if date > now]
        if not coming:
            return now + SHORTEST_SECONDS
        return min(min(coming), now + max(SHORTEST_SECONDS, (min(coming) - now) / KEPT_SHARE))


@dataclass(frozen=True, slots=True)
class Entry:
    """One profile of a version or candidate: its facts, where it is used, what is to be said of it.

    `days_left` are whole days until the first certificate ends, negative when it has ended, None when it cannot be read.
    `document` is the JSON form of a list; it is made once, shared, and not to be changed.
    """

    facts: Facts
    used: tuple[Use, ...]
    notes: tuple[Note, ...]
    days_left: int | None
    document: Mapping[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "document", self._document())

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def status(self) -> str:
        """`valid`, or the code of the finding that matters most."""
        codes = [note.code for note in self.notes]
        errors = [note.code for note in self.notes if note.severity == "error"]
        order = (*_TELLING, *errors, *_MILD)
        return next((code for code in order if code in codes), "valid")

    @property
    def broken(self) -> bool:
        """A finding breaks verification."""
        return any(note.severity == "error" for note in self.notes)

    def _document(self) -> dict[str, Any]:
        facts = self.facts
        return {
            "name": facts.name,
            "common_name": facts.common_name,
            "subject": next((leaf.subject for leaf in facts.leaves), ""),
            "issuer": facts.issuer,
            "not_before": facts.since,
            "not_after": facts.until,
            "days_left": self.days_left,
            "status": self.status,
            "broken": self.broken,
            "origin": facts.origin,
            "used_by": [use.what for use in self.used],
            "findings": [note.document() for note in self.notes],
            "automatic": False,
            "next_renewal": "",
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry with what its findings hold for: these authorities and lists, and the time from `since` to `until`."""

    entry: Entry
    measure: str
    since: float
    until: float

    def holds(self, used: tuple[Use, ...], measure: str, now: float) -> bool:
        return self.since <= now < self.until and self.measure == measure and self.entry.used == used


@dataclass(frozen=True, slots=True)
class _Measure:
    """What certificates are judged by: roots, revocation lists, the time; `name` tells two of them apart."""

    anchors: Anchors
    crls: Crls
    now: float
    name: str


class Inventory:
    """The profiles of one store, as they are shown; remembers what it read. May be used from several threads."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._facts = _Memo[int, Facts](KEPT_REVISIONS)
        self._found = _Memo[int, _Found](KEPT_REVISIONS)
        self._roots: tuple[bytes, str, Anchors] = (b"", "", Anchors())
        self._revocations = OwnRevocations(store)

    def anchors(self, content: Content) -> Anchors:
        """The roots that a certificate of ours is judged by: the system's and the custom ones, switched on or not.

        Peers trust what they trust; which list verifies *them* is another question.
        """
        bundle = system_bundle()[1]
        known = self._roots
        if known[:2] != (bundle, content.authorities):
            roots = Anchors.from_pem(bundle, content.authorities.encode("ascii"))
            known = self._roots = (bundle, content.authorities, roots)
        return known[2]

    def entries(
        self,
        content: Content,
        now: float,
        names: Iterable[str] | None = None,
        *,
        anchors: Anchors | None = None,
    ) -> list[Entry]:
        """The profiles of a version or candidate by name, or those of some names."""
        roots = self.anchors(content) if anchors is None else anchors
        crls = self._revocations.crls(content)
        measure = _Measure(roots, crls, now, f"{roots.version} {crls.state(now)}")
        used: dict[str, list[Use]] = {}
        for use in uses(content.document):
            used.setdefault(use.certificate, []).append(use)
        chosen = sorted(content.profiles if names is None else set(names) & content.profiles.keys())
        return [self._entry(content.profiles[name], tuple(used.get(name, ())), measure) for name in chosen]

    def facts(self, revision: int) -> Facts:
        """What a list needs of one revision."""
        found = self._facts.get(revision)
        if found is None:
            found = _facts(self._store.profile(revision), revision)
            self._facts.put(revision, found)
        return found

    def _entry(self, revision: int, used: tuple[Use, ...], by: _Measure) -> Entry:
        found, now = self._found.get(revision), by.now
        if found is None or not found.holds(used, by.name, now):
            facts = self.facts(revision)
            notes = self._look(facts, used, by)
            entry = Entry(facts, used, notes, facts.days_left(now))
            found = _Found(entry, by.name, now, facts.same_until(now))
            self._found.put(revision, found)
        elif found.entry.days_left != found.entry.facts.days_left(now):
            found = replace(found, entry=replace(found.entry, days_left=found.entry.facts.days_left(now)))
            self._found.put(revision, found)
        return found.entry

    def _look(self, facts: Facts, used: Sequence[Use], by: _Measure) -> tuple[Note, ...]:
        stored = self._store.profile(facts.revision)
        try:
            if facts.fault or stored is None:
                raise PkiError(facts.fault)
            profile = Profile.from_document(stored.record)
            return tuple(profile_findings(profile, used, by.anchors, by.now, crls=by.crls))
        except PkiError as error:
            return (Note("malformed", "error", error.text, "import the certificate again with --replace"),)


class _Memo(Generic[K, V]):
    """A bounded mapping for several threads; the oldest go first."""

    __slots__ = ("_held", "_limit", "_turn")

    def __init__(self, limit: int) -> None:
        self._held: dict[K, V] = {}
        self._limit = limit
        self._turn = threading.Lock()

    def get(self, key: K) -> V | None:
        return self._held.get(key)

    def put(self, key: K, value: V) -> None:
        with self._turn:
            self._held.pop(key, None)
            while len(self._held) >= self._limit:
                del self._held[next(iter(self._held))]
            self._held[key] = value


def _facts(stored: StoredProfile | None, revision: int) -> Facts:
    if stored is None:
        return Facts("", revision, "", 0.0, False, fault=f"revision {revision} is not in the store")
    try:
        profile = Profile.from_document(stored.record)
        chains = [[read_certificate(der) for der in pair.chain] for pair in profile.pairs]
    except PkiError as error:
        return Facts(stored.name, revision, "", stored.at, bool(stored.sealed), fault=error.text)
    leaf = chains[0][0]
    return Facts(
        stored.name,
        revision,
        intern(profile.origin.value),
        stored.at,
        bool(stored.sealed),
        tuple(_leaf(pair) for pair in profile.pairs),
        printable(leaf.common_name),
        intern(leaf.issuer),
        leaf.not_before,
        leaf.not_after,
        iso_time(leaf.not_before),
        iso_time(leaf.not_after),
        tuple(date for chain in chains for one in chain for date in (one.not_before, one.not_after)),
    )


def _leaf(pair: Pair) -> Leaf:
    leaf = pair.leaf
    return Leaf(
        leaf.subject, leaf.fingerprint, leaf.not_after, intern(pair.origin.value), not pair.verifiable
    )


def stored_text(store: ConfigStore, revision: int) -> str:
    """One revision of a profile in a few words that tell it from any other: subject, last day, fingerprint."""
    stored = store.profile(revision)
    if stored is None:
        return f"revision {revision}"
    try:
        profile = Profile.from_document(stored.record)
    except PkiError:
        return f"revision {revision}, unreadable"
    text = " and ".join(
        f"{leaf.subject}, until {iso_time(leaf.not_after)[:10]}, SHA-256 {leaf.fingerprint[:16]}…"
        for leaf in (pair.leaf for pair in profile.pairs)
    )
    return f"{text}, with an open request" if profile.waiting else text


# --- in and out -------------------------------------------------------------------------------------


async def keep_profile(store: ConfigStore, keeper: Keeper, profile: Profile, clock: Clock) -> int:
    """Put a profile into the store with its keys sealed; returns its revision. Nothing uses it yet."""
    return await seal_profile(
        store,
        keeper,
        profile.name,
        profile.certificate_pem,
        profile.document(),
        profile.secret().reveal(),
        clock.now,
    )


async def open_profile(keeper: Keeper, stored: StoredProfile) -> Profile:
    """A stored profile with its keys, for a change or an export. Raises PkiError for one without keys."""
    if not stored.sealed:
        raise PkiError(f"the private key of {stored.name} is not at hand", "import it again with its key")
    secret = await keeper.open(stored.name, stored.revision, stored.sealed)
    return Profile.from_document(stored.record, SecretBytes(secret))


def with_profile(content: Content, name: str, revision: int) -> Content:
    """The content with a profile added or replaced."""
    return with_profiles(content, {name: revision})


def with_profiles(content: Content, revisions: Mapping[str, int]) -> Content:
    """The content with profiles added or replaced."""
    return Content(content.document, {**content.profiles, **revisions}, content.authorities, content.users)


def without_profile(content: Content, name: str) -> Content:
    """The content with a profile taken out; whether something uses it is the caller's to know."""
    profiles = {known: revision for known, revision in content.profiles.items() if known != name}
    return Content(content.document, profiles, content.authorities, content.users)
