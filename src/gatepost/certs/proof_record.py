"""What is remembered of the last proof, and what follows from it when something broke.

The record is one small value in the store: the version that was proven, the revisions of its certificates, which
expectations were fulfilled, and the same of the version before. So a restart forgets nothing, and a version is proven once.

What broke what worked. An expectation that the version before fulfilled and this one does not has lost its certificate by
the change. The profile behind it goes back to the revision that was shown before, and nothing else of the version does:
a profile whose revision is the same in both has not caused it, and a listener that is out of reach has no
certificate to blame. A version that was made by such a rollback is never rolled back itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gatepost.certs.proof import Difference, Proof
from gatepost.store.config_store import ConfigStore, Version

META = "proof"
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Proven:
    """One version as it was proven: its revisions, and what was on the wire as meant."""

    version: int
    profiles: Mapping[str, int]
    fulfilled: frozenset[Key]


@dataclass(frozen=True, slots=True)
class RollBack:
    """A rollback that was decided: of which version, to which, and the revisions before and after; `done`: it was tried."""

    broken: int
    to: int
    profiles: Mapping[str, int]
    replaced: Mapping[str, int]
    done: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """The last proof. `told` are the differences that were logged and alerted, so that each is told once."""

    now: Proven
    before: Proven | None = None
    at: float = 0.0
    listeners: int = 0
    handshakes: int = 0
    differences: tuple[str, ...] = ()
    told: frozenset[str] = field(default_factory=frozenset)
    rollback: RollBack | None = None

    @property
    def fulfilled(self) -> bool:
        return not self.differences

    @property
    def due_back(self) -> bool:
        """The rollback concerns this very version, and was not tried yet."""
        back = self.rollback
        return back is not None and back.broken == self.now.version and not back.done


def proven(version: Version, proof: Proof) -> Proven:
    """What a proof found of a version."""
    keys = {one.key for one in proof.expectations}
    return Proven(version.number, version.content.profiles, frozenset(keys - proof.broken()))


def rollback_for(
    version: Version, before: Proven | None, differences: Iterable[Difference], earlier: RollBack | None
) -> RollBack | None:
    """What to bring back; None where nothing that worked was broken by a certificate of this version."""
    if before is None or (earlier is not None and version.base == earlier.broken):
        return None
    now = version.content.profiles
    guilty = {
        difference.expectation.profile
        for difference in differences
        if difference.reached and difference.expectation.key in before.fulfilled
    }
    back = {
        name: before.profiles[name]
        for name in sorted(guilty)
        if name in now and before.profiles.get(name, now[name]) != now[name]
    }
    if not back:
        return None
    return RollBack(version.number, before.version, back, {name: now[name] for name in back})


def next_record(previous: Record | None, version: Version, proof: Proof, at: float) -> Record:
    """The record of a proof that was just made."""
    found = proven(version, proof)
    same = previous is not None and previous.now.version == version.number
    if previous is None:
        record = Record(found)
    elif same:
        record = replace(previous, now=found)
    else:
        record = Record(found, previous.now, told=previous.told, rollback=previous.rollback)
    texts = tuple(dict.fromkeys(text_of(one) for one in proof.differences))
    return replace(
        record,
        at=at,
        listeners=proof.listeners,
        handshakes=len(proof.expectations),
        differences=texts,
        told=record.told & frozenset(texts),
    )


def text_of(difference: Difference) -> str:
    """A difference in one line, without what changes from one proof to the next."""
    one = difference.expectation
    name = one.question.sni or "no SNI"
    who = "" if difference.worker is None else f", worker {difference.worker}"
    return f"listener {one.listener} for {name} ({one.question.accepts} keys{who}): {difference.reason}"


# --- in the store ------------------------------------------------------------------------------------


def load_record(store: ConfigStore) -> Record | None:
    """The record of the last proof; None where there is none that this release can read."""
    raw = store.get_meta(META)
    if raw is None:
        return None
    try:
        return _read(orjson.loads(raw))
    except (KeyError, TypeError, ValueError):
        return None


def save_record(store: ConfigStore, record: Record) -> None:
    store.put_meta(META, orjson.dumps(_written(record)))


def rolled_back(store: ConfigStore) -> RollBack | None:
    """The last rollback that a proof has made: whoever renews certificates knows by it what was tried already."""
    record = load_record(store)
    return record.rollback if record is not None else None


def _written(record: Record) -> dict[str, Any]:
    back = record.rollback
    return {
        "now": _proven_written(record.now),
        "before": _proven_written(record.before) if record.before is not None else None,
        "at": record.at,
        "listeners": record.listeners,
        "handshakes": record.handshakes,
        "differences": record.differences,
        "told": sorted(record.told),
        "rollback": _rollback_written(back) if back is not None else None,
    }


def _rollback_written(back: RollBack) -> dict[str, Any]:
    return {
        "broken": back.broken,
        "to": back.to,
        "profiles": dict(back.profiles),
        "replaced": dict(back.replaced),
        "done": back.done,
    }


def _proven_written(found: Proven) -> dict[str, Any]:
    return {
        "version": found.version,
        "profiles": dict(found.profiles),
        "fulfilled": sorted(found.fulfilled),
    }


def _read(value: Mapping[str, Any]) -> Record:
    before, back = value["before"], value["rollback"]
    return Record(
        _read_proven(value["now"]),
        _read_proven(before) if before is not None else None,
        float(value["at"]),
        int(value["listeners"]),
        int(value["handshakes"]),
        tuple(value["differences"]),
        frozenset(value["told"]),
        _read_rollback(back) if back is not None else None,
    )


def _read_rollback(value: Mapping[str, Any]) -> RollBack:
    return RollBack(
        int(value["broken"]), int(value["to"]), value["profiles"], value["replaced"], bool(value["done"])
    )


def _read_proven(value: Mapping[str, Any]) -> Proven:
    keys = frozenset((listener, sni, accepts) for listener, sni, accepts in value["fulfilled"])
    return Proven(int(value["version"]), value["profiles"], keys)
