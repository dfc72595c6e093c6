"""Positions in a plain document: from the model's view to the administrator's, and looking up what stands there.

A listener's `policies` may be written as a map or as a list; the model sees a list. The path that is shown, and the
repair of a faulty entry, follow what was written.
"""

from __future__ import annotations

from typing import Any

from gatepost.config.faults import Loc, path_text


def written_loc(loc: Loc, data: object) -> Loc:
    """The position as it was written: an index into what is really a map becomes its key."""
    at: Any = data
    written: list[str | int] = []
    for step in loc:
        if isinstance(step, int) and isinstance(at, dict):
            step = list(at)[step]
        written.append(step)
        at = step_into(at, step)
    return tuple(written)


def shown_path(loc: Loc, data: object) -> str:
    """The path of a problem, `listeners[0].policies.ACCEPTED.tls`."""
    return path_text(written_loc(loc, data))


def step_into(at: Any, step: str | int) -> Any:
    """What stands one step further in a plain value, or None."""
    if isinstance(at, dict):
        return at.get(step)
    if isinstance(at, list) and isinstance(step, int) and 0 <= step < len(at):
        return at[step]
    return None
