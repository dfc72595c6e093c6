"""One finding of a check, and the two checks that every section needs: dangling and repeated names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gatepost.config.faults import Loc, near_name, path_text, shown

CERTIFICATE_HINT = "make it with `gatepost cert new` or `gatepost cert import`"

ANY = -1
"""In a position of `Finding.about`: every entry of the list."""

CERTIFICATES: Loc = ("acme", "certificates")
"""Certificates that the document itself brings about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem with its position. `about` are all the positions that it depends on, where there are more."""

    loc: Loc
    text: str
    hint: str = ""
    warning: bool = False
    about: tuple[Loc, ...] = ()


def dangling(
    loc: Loc, kind: str, name: str | None, known: Collection[str], section: Loc = ()
) -> Iterator[Finding]:
    """A reference by name that leads nowhere. `section` is where the names are defined."""
    if name is None or name in known:
        return
    hint = near_name(name, known)
    if not hint:
        hint = CERTIFICATE_HINT if kind == "certificate" else f"define it in {path_text(section)}"
    names = (*(section or CERTIFICATES), ANY, "name")
    yield Finding(loc, f"no {kind} named {shown(name)}", hint, about=(loc, names))


def duplicates(section: Loc, key: str, names: Sequence[str]) -> Iterator[Finding]:
    """Names that are given to two entries of a list."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        before = first.setdefault(name, index)
        if before != index:
            yield duplicate(section, key, name, index, before)


def duplicate(section: Loc, key: str, name: str, index: int, before: int) -> Finding:
    """A name of one entry that an earlier one has already."""
    loc, other = (*section, index, key), (*section, before, key)
    text = f"{shown(name)} is already the {key} of {path_text((*section, before))}"
    return Finding(loc, text, "names are given once", about=(loc, other))
