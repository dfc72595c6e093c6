"""Two changes of one content come together, or the conflicts between them are named (architecture 7).

The document is merged by `config.diff`; certificates and users by name; the list of authorities by certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from gatepost.config.diff import merge
from gatepost.config.load import load_plain, to_plain
from gatepost.config.model import Document
from gatepost.core.errors import Problem
from gatepost.store.config_store import Content, Version

V = TypeVar("V", int, str)


@dataclass
class MergeConflict(Exception):
    """What both sides changed differently; `version` is the other side's."""

    version: Version
    problems: tuple[Problem, ...]


def merge_content(base: Content, ours: Content, latest: Version) -> Content:
    """`ours` with what happened between `base` and the latest version. Raises MergeConflict with everything."""
    theirs = latest.content
    problems: list[Problem] = []
    document = merge(*(load_plain(dict(side.document)) for side in (base, ours, theirs)))
    if not isinstance(document, Document):
        problems += [
            _problem(found.path, found.base, found.theirs, found.ours, latest.number) for found in document
        ]
    profiles = _merge_names(
        "certificates", base.profiles, ours.profiles, theirs.profiles, latest.number, problems
    )
    users = _merge_names("users", base.users, ours.users, theirs.users, latest.number, problems)
    authorities = _merge_lists(base.authorities, ours.authorities, theirs.authorities)
    if problems or not isinstance(document, Document):
        raise MergeConflict(latest, tuple(problems))
    return Content(to_plain(document), profiles, authorities, users)


def _problem(path: str, base: str | None, theirs: str | None, ours: str | None, number: int) -> Problem:
    was, now, mine = (value or "absent" for value in (base, theirs, ours))
    return Problem(path, f"was {was}, is {now} in version {number}, and {mine} in your change")


def _merge_names(
    section: str,
    base: Mapping[str, V],
    ours: Mapping[str, V],
    theirs: Mapping[str, V],
    number: int,
    problems: list[Problem],
) -> dict[str, V]:
    merged: dict[str, V] = {}
    for name in sorted({*base, *ours, *theirs}):
        was, mine, now = base.get(name), ours.get(name), theirs.get(name)
        value = now if mine == was else mine
        if mine != was and now != was and mine != now:
            words = {True: "removed", False: "replaced"}
            text = (
                f"was {words[now is None] if was is not None else 'made'} in version {number}, "
                f"and {words[mine is None] if was is not None else 'made differently'} in your change"
            )
            problems.append(Problem(f"{section}[{name}]", text))
        if value is not None:
            merged[name] = value
    return merged


def _merge_lists(base: str, ours: str, theirs: str) -> str:
    """The custom authorities: what either side added is there, what either side removed is gone."""
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    before, mine, others = (_blocks(text) for text in (base, ours, theirs))
    kept = [block for block in others if block in mine or block not in before]
    return "".join([*kept, *(block for block in mine if block not in before and block not in kept)])


def _blocks(pem: str) -> list[str]:
    end = "-----END CERTIFICATE-----\n"
    return [block + end for block in pem.split(end) if block.strip()]
