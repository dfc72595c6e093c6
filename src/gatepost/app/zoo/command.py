"""`gatepost zoo start` and `gatepost zoo check`: looks at the options, and becomes the zoo."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from gatepost.control.shell.options import JsonOption, group
from gatepost.core.errors import Exit, OperatorError

FolderOption = Annotated[
    str, typer.Option("--folder", metavar="DIR", help="Keep the gateway's home and logs in this new folder.")
]
NamesOption = Annotated[
    list[str] | None, typer.Option("--inhabitant", metavar="NAME", help="Only this one; may be repeated.")
]
LevelsOption = Annotated[
    list[str] | None, typer.Option("--level", metavar="L", help="Only this level; may be repeated.")
]
LevelOption = Annotated[str, typer.Option("--level", metavar="L", help="The level of the zoo's gateway.")]


def make() -> typer.Typer:
    """The group."""
    app = group("zoo", "Broken mail domains on this machine, offline, and what has to come of mail for each.")
    app.command("start")(start)
    app.command("check")(check)
    return app


def start(
    names: NamesOption = None,
    level: LevelOption = "dane-sts",
    as_json: JsonOption = False,
    folder: FolderOption = "",
) -> None:
    """Open the zoo, say who lives there, and stay until Ctrl-C."""
    _become(False, names, [level], as_json, folder)


def check(
    names: NamesOption = None,
    levels: LevelsOption = None,
    as_json: JsonOption = False,
    folder: FolderOption = "",
) -> None:
    """Send a message to everybody at every level, and compare with the table. Exit 1 on a difference."""
    _become(True, names, levels, as_json, folder)


def _become(
    run_table: bool, names: list[str] | None, levels: list[str] | None, as_json: bool, folder: str
) -> None:
    from gatepost.app.zoo import namespace
    from gatepost.app.zoo.needs import require_programs
    from gatepost.app.zoo.options import Options
    from gatepost.app.zoo.table import INHABITANTS, Column

    names, levels = names or [], levels or []
    _known("an inhabitant", names, [one.name for one in INHABITANTS])
    _known("a level", levels, [column.value for column in Column])
    require_programs()
    namespace.check()
    if folder:
        try:
            Path(folder).mkdir(mode=0o700)
        except OSError as error:
            raise OperatorError(
                f"{folder} cannot be made: {error.strerror}", "name a folder that is not there yet"
            ) from None
        folder = os.path.abspath(folder)
    namespace.enter(
        Options(run_table, tuple(names), tuple(levels), as_json, folder, os.geteuid() != 0).text()
    )


def _known(what: str, given: Sequence[str], there: Iterable[str]) -> None:
    known = list(there)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
            raise OperatorError(f"`{name}` is not {what} of the zoo", hint, code=Exit.USAGE)
