"""Options that many commands share, and a group of commands in the house's manner."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="DIR", help="The home; else GATEPOST_HOME, else the default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]
CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="What the history says of it.")]
PendingOption = Annotated[
    bool, typer.Option("--pending", help="Leave the change pending; `gatepost config commit` makes it live.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class _Group(TyperGroup):
    """A group whose help shows the first sentence of each command whole, folded between words where it is long."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for command in self.commands.values():
            if command.short_help is None and command.help:
                command.short_help = first_sentence(command.help)


def first_sentence(text: str) -> str:
    """What a command does, from its description."""
    words = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    sentence, end, _ = words.partition(". ")
    return sentence + end.rstrip()


def group(name: str, about: str) -> typer.Typer:
    """A group of commands: plain help, no completion machinery, no tracebacks with values."""
    return typer.Typer(
        name=name,
        cls=_Group,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
