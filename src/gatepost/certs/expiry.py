"""What expires, and which of its marks were told: certificates, intermediates, authorities of the custom list, revocation lists.

An `Item` is one certificate or list, whatever number of profiles it stands in: an intermediate that three profiles send is told of once,
with the names of all three. It counts as used when one of them is used. What nothing uses is told of as information, and once when it
has expired; what is used is told of every day from then on.

A profile under `acme.certificates` renews itself, so only an overdue renewal is told. Its intermediates come anew with it and
matter only when they end before it does. A revocation list that is fetched renews itself too, often at its last moment: only its end is
told. The system's bundle is the machine's, not ours, and the custom list counts while it is switched on.

The marks that were told stand in the store's small values, by the item's fingerprint, so a restart repeats none (`policy.expiry`
says what a mark is). They are kept while the item is there, and for forty days after it is gone, since a rollback may bring it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gatepost.certs.crls import Expiring, expiring
from gatepost.certs.times import iso_time
from gatepost.certs.usage import uses
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Pair, Profile
from gatepost.pki.text import printable
from gatepost.policy.expiry import DAY, Life, Mark, State, due, next_at, renews_itself, state
from gatepost.store.config_store import ConfigStore, Content, StoredProfile

META = "expiry-told"
KEPT_DAYS = 40
MAX_TOLD = 50_000
LONGEST_LIST = 20  # names of one item that are written out

CERTIFICATE, INTERMEDIATE, AUTHORITY, REVOCATION_LIST = (
    "certificate",
    "intermediate",
    "authority",
    "revocation list",
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that ends. `names` are the profiles that have it; for an authority or a list, its own name."""

    what: str
    names: tuple[str, ...]
    subject: str
    fingerprint: str
    life: Life
    used: bool = True
    automatic: bool = False

    @property
    def name(self) -> str:
        """All names in one text."""
        shown = ", ".join(self.names[:LONGEST_LIST])
        more = len(self.names) - LONGEST_LIST
        return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True, slots=True)
class Due:
    """A mark of an item that is to be told now."""

    item: Item
    mark: Mark
    severity: str  # `information` for what nothing uses
    days: int  # whole days that are left, or that have passed since

    @property
    def expired(self) -> bool:
        return self.mark.expired


@dataclass(frozen=True, slots=True)
class _End:
    """One certificate of a profile. `shadowed`: it comes anew with its leaf, which ends no later."""

    what: str
    subject: str
    fingerprint: str
    not_before: float
    not_after: float
    shadowed: bool = False


class Watch:
    """Collects the items of a version. It remembers what it read of a revision, which never changes."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._read: dict[int, tuple[_End, ...]] = {}

    def items(self, content: Content, *, only_used: bool = False) -> list[Item]:
        """Everything that ends in a version. Blocks for the first reading."""
        used = {use.certificate for use in uses(content.document)}
        renewals = automatic_renewals(content.document)
        chosen = {n: r for n, r in content.profiles.items() if not only_used or n in used}
        read = self._read = {revision: self._ends(revision) for revision in chosen.values()}
        found = _Collection()
        for name, revision in sorted(chosen.items()):
            for end in read[revision]:
                item = _item(name, end, name in used, renewals.get(name))
                if item is not None:
                    found.add(item)
        for verifier in expiring(self._store, content):
            found.add(_verifier(verifier))
        return found.items()

    def _ends(self, revision: int) -> tuple[_End, ...]:
        known = self._read.get(revision)
        if known is None:
            stored = self._store.profile(revision)
            known = tuple(_profile_ends(stored)) if stored is not None else ()
        return known


def automatic_renewals(document: Mapping[str, Any]) -> dict[str, float]:
    """The profiles that renew themselves, and the part of their life that is left when they do."""
    acme = document.get("acme") or {}
    if not acme.get("directory"):
        return {}
    left = 1.0 - float(acme.get("renew_at", 2 / 3))
    return {str(entry["name"]): left for entry in acme.get("certificates") or ()}


def _profile_ends(stored: StoredProfile) -> Iterator[_End]:
    try:
        profile = Profile.from_document(dict(stored.record))
        for pair in profile.pairs:
            yield from _pair_ends(pair)
    except PkiError:
        return  # `cert check` says that it cannot be read; there is no date to tell of


def _pair_ends(pair: Pair) -> Iterator[_End]:
    leaf = pair.leaf
    yield _end(CERTIFICATE, leaf)
    for der in pair.intermediates:
        certificate = read_certificate(der)
        yield replace(_end(INTERMEDIATE, certificate), shadowed=certificate.not_after >= leaf.not_after)


def _end(what: str, certificate: Certificate) -> _End:
    return _End(
        what,
        certificate.subject,
        certificate.fingerprint,
        certificate.not_before,
        certificate.not_after,
    )


def _item(name: str, end: _End, used: bool, renewal: float | None) -> Item | None:
    """The item of one certificate in one profile; None where renewal takes care of it."""
    life = Life(end.not_before, end.not_after)
    automatic = renewal is not None
    if renewal is not None:
        if end.what == INTERMEDIATE and end.shadowed:
            return None
        if end.what == CERTIFICATE:
            life = renews_itself(end.not_before, end.not_after, renewal * life.length)
    return Item(end.what, (name,), end.subject, end.fingerprint, life, used, automatic)


def _verifier(found: Expiring) -> Item:
    """An authority or a revocation list. A list that is fetched is told of when it has ended."""
    life = Life(found.not_before, found.not_after, 0.0 if found.fetched else None)
    name, subject = printable(found.name), printable(found.subject)
    return Item(found.what, (name,), subject, found.fingerprint, life, automatic=found.fetched)


class _Collection:
    """Items as they come: the same certificate in several places is one.

    Where one of the places is renewed by hand, so is the item.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}
        self._names: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, item: Item) -> None:
        key = (item.what, item.fingerprint)
        names = self._names.setdefault(key, {})
        names.update(dict.fromkeys(item.names))
        known = self._items.get(key)
        if known is None:
            self._items[key] = item
        elif (item.used and not known.used) or (known.automatic and not item.automatic):
            by_hand = item if known.automatic else known
            self._items[key] = replace(by_hand, used=known.used or item.used)

    def items(self) -> list[Item]:
        return [
            item if len(names) == 1 else replace(item, names=tuple(names))
            for item, names in zip(self._items.values(), self._names.values(), strict=True)
        ]


# --- marks ------------------------------------------------------------------------------------------


class Told:
    """The last mark that was told of each item, in seconds before its end."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._marks = _read_marks(store.get_meta(META))

    def due(self, items: Sequence[Item], now: float) -> list[Due]:
        """What is to be told now, the soonest end first."""
        found = []
        for item in items:
            known = self._marks.get(item.fingerprint)
            mark = due(item.life, now, known[0] if known is not None else None)
            if mark is None:
                continue
            if not item.used and mark.expired and known is not None and known[0] <= 0:
                continue
            found.append(_due(item, mark, now))
        return sorted(found, key=lambda one: one.item.life.not_after)

    def keep(self, told: Iterable[Due], items: Iterable[Item], now: float) -> None:
        """Remember that these were told, durably; forget what is long gone."""
        for one in told:
            self._marks[one.item.fingerprint] = (one.mark.left, now)
        present = {item.fingerprint for item in items}
        kept = {
            key: (left, now if key in present else seen)
            for key, (left, seen) in self._marks.items()
            if key in present or now - seen < KEPT_DAYS * DAY
        }
        self._marks = dict(list(kept.items())[-MAX_TOLD:])
        self._store.put_meta(META, orjson.dumps(self._marks))


def _due(item: Item, mark: Mark, now: float) -> Due:
    days = int(abs(item.life.not_after - now) // DAY)
    return Due(item, mark, mark.severity if item.used else "information", days)


def _read_marks(data: bytes | None) -> dict[str, tuple[float, float]]:
    """What was told, by fingerprint: the mark, and when the item was there last. Nothing where it cannot be read."""
    try:
        raw = orjson.loads(data or b"{}")
        return {str(key): (float(left), float(seen)) for key, (left, seen) in raw.items()}
    except (orjson.JSONDecodeError, TypeError, ValueError, AttributeError):
        return {}


def next_mark(items: Iterable[Item], now: float) -> float:
    """When the next mark comes; in a day where there is none before."""
    return min((next_at(item.life, now) for item in items), default=now + DAY)


# --- for status, lists and metrics --------------------------------------------------------------------


def life_state(
    name: str, document: Mapping[str, Any], not_before: float, not_after: float, now: float
) -> State:
    """Whether a profile's certificate is valid, expiring or expired, by the measure of its own life."""
    renewal = automatic_renewals(document).get(name)
    if renewal is None:
        return state(Life(not_before, not_after), now)
    return state(renews_itself(not_before, not_after, renewal * max(0.0, not_after - not_before)), now)


def summary(items: Iterable[Item], now: float) -> dict[str, Any]:
    """The numbers of what is in use: how many, expiring, expired, and what ends first."""
    used = [item for item in items if item.used]
    states = [state(item.life, now) for item in used]
    soonest = min(used, key=lambda item: item.life.not_after, default=None)
    return {
        "used": len(used),
        "expiring": states.count(State.EXPIRING),
        "expired": states.count(State.EXPIRED),
        "soonest": None if soonest is None else item_document(soonest, now),
        "telling": [
            item_document(item, now)
            for item, its in sorted(zip(used, states, strict=True), key=lambda pair: pair[0].life.not_after)
            if its is not State.VALID
        ],
    }


def item_document(item: Item, now: float) -> dict[str, Any]:
    """The JSON form of one item."""
    return {
        "what": item.what,
        "name": item.name,
        "subject": item.subject,
        "not_after": iso_time(item.life.not_after),
        "seconds_left": int(item.life.not_after - now),
        "status": state(item.life, now).value,
        "automatic": item.automatic,
    }
