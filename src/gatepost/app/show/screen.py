"""What the show tells, in lines of at most 80 columns.

Text from outside (headers, addresses) passes `safe` before it comes here. A command or a path is never broken, so a
very long folder name may still make a longer line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

COLUMNS = 80


def wrapped(text: str, *, first: str = "", rest: str | None = None) -> list[str]:
    """`text` in lines that begin with `first`, then `rest` (as many blanks, unless given)."""
    filled = textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled or [first.rstrip()]


def chopped(text: str, *, first: str = "", rest: str = "") -> list[str]:
    """The same for text that others wrote: its blanks stay, and an over-long word is cut."""
    lines = []
    lead = first
    while len(lead) + len(text) > COLUMNS:
        room = COLUMNS - len(lead)
        cut = text.rfind(" ", 1, room + 1)
        cut = cut if cut > 0 else room
        lines.append(lead + text[:cut])
        text, lead = text[cut:].removeprefix(" "), rest
    return [*lines, lead + text]


class Screen:
    """Writes lines by `write`, at once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def say(self, text: str = "", *, first: str = "", rest: str | None = None) -> None:
        """One paragraph; an empty text is an empty line."""
        self.lines(wrapped(text, first=first, rest=rest))

    def row(self, name: str, text: str) -> None:
        """A paragraph behind a name in the margin."""
        self.say(text, first=f"{name:<9} ")

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._write(line)
