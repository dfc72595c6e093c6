"""What commands print: lines, notes, tables and JSON.

Results go to standard output, notes and warnings to standard error. Text from outside is shown on one line of
printable characters. On a terminal tables and notes are folded to its width; into a pipe each goes whole, since scripts read
a problem as one line. Names are not broken at their hyphens, and paths not at all: they are there to be copied.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import typer

WIDTH = 80
_GAP = "  "
_NARROWEST = 8


def say(text: str = "") -> None:
    """A line on standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """A line on standard error; several on a terminal that is too narrow for it."""
    for line in fitting(text, sys.stderr):
        typer.echo(line, err=True)


def say_json(value: Any) -> None:
    """A value as JSON, readable and stable."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def note_problems(problems: Iterable[Mapping[str, Any]]) -> None:
    """Problems in the contract's form, `path: problem (hint)`, one a line on standard error."""
    for problem in problems:
        note(problem_line(problem))


def problem_line(problem: Mapping[str, Any]) -> str:
    tail = f" ({problem['hint']})" if problem.get("hint") else ""
    return safe(f"{problem['path']}: {problem['text']}{tail}")


def safe(text: str) -> str:
    """One line of printable characters; anything else is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def plural(count: int, word: str, many: str = "") -> str:
    """`1 message`, `2 messages`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def day(iso: str) -> str:
    """The date of an ISO time, or a dash."""
    return iso[:10] or "-"


def local(iso: str) -> str:
    """An ISO time as this machine's people read it, or a dash."""
    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}" if iso else "-"


def duration(seconds: int) -> str:
    """`3 d 4 h`, `5 min 2 s`: the two largest units."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count or (parts and len(parts) < 2):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def size(octets: int) -> str:
    """`512 B`, `1.5 MB`; powers of 1,024."""
    value = float(octets)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def fitting(text: str, stream: TextIO) -> list[str]:
    """The lines of one that goes to `stream`: folded where that is a terminal, else itself."""
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    if not stream.isatty() or len(text) <= columns:
        return [text]
    return textwrap.wrap(
        text, columns, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "") -> None:
    """Rows in aligned columns under headings; where a terminal is too narrow, its widest cells are folded."""
    texts = [[safe(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    if sys.stdout.isatty():
        columns = shutil.get_terminal_size((WIDTH, 24)).columns
        widths = _narrowed(widths, columns - len(indent) - len(_GAP) * (len(widths) - 1))
    for row in [list(headings), *texts]:
        folded = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
        for cells in itertools.zip_longest(*folded, fillvalue=""):
            line = _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            say((indent + line).rstrip())


def _narrowed(widths: Sequence[int], room: int) -> list[int]:
    """The widths for a terminal with that room: the widest columns give way first, to a limit."""
    found = list(widths)
    while sum(found) > room and max(found) > _NARROWEST:
        found[found.index(max(found))] -= 1
    return found


def _folded(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_on_hyphens=False)


def paragraph(head: str, text: str) -> None:
    """A text behind its head, wrapped to the width of a terminal."""
    for line in _lines(text, WIDTH - len(head)):
        say(head + line)
        head = " " * len(head)


def facts(rows: Iterable[tuple[str, object]], *, indent: str = "") -> None:
    """Names and values, one below the other, the values aligned. An empty value is left out."""
    kept = [(name, safe(str(value))) for name, value in rows if value not in ("", None)]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        head = f"{indent}{name.ljust(width)}  "
        # A value without blanks (a key, a record, a path) is there to be copied, and stays whole.
        for line in _lines(value, max(WIDTH - len(head), 20)):
            say((head + line).rstrip())
            head = " " * len(head)


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(safe(text), width, break_long_words=False, break_on_hyphens=False) or [""]
