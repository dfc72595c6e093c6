"""What differs between two documents, and how two changes of one document come together.

Lists whose elements have a name (`listeners`, `host_access`, `destinations` …) are compared by that name, so that a new
row at the top is one change and not a change of every row below. Paths then carry the name: `listeners[IncomingMail].port`.
Lists of plain words (`senders`, `hosts`) are compared as a whole.

`merge` is the three-way merge of a commit (architecture 7): what only one side changed is taken, what both changed alike is
taken, and what they changed differently is a conflict that shows both. The order of rows counts as a value of its
own, since in a HAT or RAT the first match wins: two rows that were added at the same place are a conflict there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatepost.config.load import load_plain, to_plain
from gatepost.config.model import Document
from gatepost.config.yaml_write import write_flow

_NAMES = ("name", "group", "domain", "recipient", "address", "url")
_ORDERED = frozenset({"host_access", "recipient_access"})
_ORDER = "(order)"


class _Absent:
    """The value of a key that is not there."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` or `after` is None for what was added or removed."""

    path: str
    before: str | None
    after: str | None

    def line(self) -> str:
        """One line: `path: before -> after`, `+ path: after`, `- path: before`."""
        if self.before is None:
            return f"+ {self.path}: {self.after}"
        if self.after is None:
            return f"- {self.path}: {self.before}"
        return f"  {self.path}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A value that two changes made different: what it was, and what each made of it (None: not there)."""

    path: str
    base: str | None
    ours: str | None
    theirs: str | None

    def line(self) -> str:
        """One sentence with all three."""
        base, ours, theirs = (value or "absent" for value in (self.base, self.ours, self.theirs))
        return f"{self.path}: was {base}, is now {theirs} in the committed configuration and {ours} in yours"


def diff(before: Document, after: Document) -> tuple[Change, ...]:
    """Every difference of what the two documents set, in the order of the document."""
    return tuple(
        Change(_path(path), _text(old), _text(new))
        for path, old, new in _differences((), to_plain(before), to_plain(after))
    )


def merge(base: Document, ours: Document, theirs: Document) -> Document | tuple[Conflict, ...]:
    """The document with both changes, or every conflict between them.

    The result is not checked for references: one side may have removed what the other began to use.
    """
    conflicts: list[Conflict] = []
    merged = _merge((), to_plain(base), to_plain(ours), to_plain(theirs), conflicts)
    return tuple(conflicts) if conflicts else load_plain(merged)


# --- differences ----------------------------------------------------------------------------------


def _differences(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Any, Any]]:
    if old == new and type(old) is type(new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from _differences((*path, key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif (rows := _named(old)) is not None and (new_rows := _named(new)) is not None:
        for key in (*rows, *(key for key in new_rows if key not in rows)):
            yield from _differences((*path, key), rows.get(key, ABSENT), new_rows.get(key, ABSENT))
        common_old, common_new = [k for k in rows if k in new_rows], [k for k in new_rows if k in rows]
        if common_old != common_new:
            yield (*path, _ORDER), list(rows), list(new_rows)
    else:
        yield path, old, new


def _named(value: Any) -> dict[str, Any] | None:
    """A list of mappings by their names (in brackets, as paths show them); None if they have no names of their own."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    rows: dict[str, Any] = {}
    for item in value:
        name = next((item[key] for key in _NAMES if key in item), None)
        if name is None or f"[{name}]" in rows:
            return None
        rows[f"[{name}]"] = item
    return rows


def _path(path: Path) -> str:
    text = ""
    for step in path:
        text += step if step.startswith("[") or not text else f".{step}"
    return text or "document"


def _text(value: Any) -> str | None:
    return None if value is ABSENT else write_flow(value)


# --- merging --------------------------------------------------------------------------------------


def _merge(path: Path, base: Any, ours: Any, theirs: Any, conflicts: list[Conflict]) -> Any:
    """The merged value, or any of the three after a conflict was noted."""
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return _merge_maps(path, base if isinstance(base, dict) else {}, ours, theirs, conflicts)
    named = [_named([] if value is ABSENT else value) for value in (base, ours, theirs)]
    if isinstance(ours, list) and isinstance(theirs, list) and None not in named:
        rows = [row for row in named if row is not None]
        return _merge_rows(path, rows[0], rows[1], rows[2], conflicts)
    conflicts.append(Conflict(_path(path), _text(base), _text(ours), _text(theirs)))
    return ours


def _merge_maps(
    path: Path,
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    conflicts: list[Conflict],
) -> dict[str, Any]:
    merged = {}
    for key in (*ours, *(key for key in theirs if key not in ours)):
        before, our, their = (side.get(key, ABSENT) for side in (base, ours, theirs))
        value = _merge((*path, key), before, our, their, conflicts)
        if value is not ABSENT:
            merged[key] = value
    return merged


def _merge_rows(
    path: Path,
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    conflicts: list[Conflict],
) -> list[Any]:
    """Named rows: each by itself, then their order."""
    rows = _merge_maps(path, base, ours, theirs, conflicts)
    order = _merge_order(path, list(base), list(ours), list(theirs), conflicts)
    return [rows[key] for key in order if key in rows]


def _merge_order(
    path: Path, base: list[str], ours: list[str], theirs: list[str], conflicts: list[Conflict]
) -> list[str]:
    """The order of rows: the one that was changed, with the other side's new rows behind their neighbours."""
    kept = [key for key in base if key in ours and key in theirs]
    ours_kept, theirs_kept = ([key for key in side if key in kept] for side in (ours, theirs))
    if ours_kept != theirs_kept and kept not in (ours_kept, theirs_kept):
        conflicts.append(Conflict(_path((*path, _ORDER)), _text(base), _text(ours), _text(theirs)))
        return ours
    leading, other = (theirs, ours) if ours_kept == kept and theirs_kept != kept else (ours, theirs)
    order = list(leading)
    for place, key in enumerate(other):
        if key in order or key in base:
            continue
        neighbour = next((name for name in reversed(other[:place]) if name in order), None)
        at = order.index(neighbour) + 1 if neighbour is not None else 0
        if path and path[-1] in _ORDERED and at < len(order) and order[at] not in base:
            conflicts.append(Conflict(_path((*path, _ORDER)), _text(base), _text(ours), _text(theirs)))
        order.insert(at, key)
    return order
