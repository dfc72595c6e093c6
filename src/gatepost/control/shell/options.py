"""Options that many commands share, and a group of commands in the house's manner."""

from __future__ import annotations

from typing import Annotated

import typer

HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="DIR", help="The home; else GATEPOST_HOME, else the default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]
CommentOption = Annotated[str, typer.Option("--comment", metavar="TEXT", help="What the history says of it.")]
PendingOption = Annotated[
    bool, typer.Option("--pending", help="Leave the change pending; `gatepost config commit` makes it live.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def group(name: str, about: str) -> typer.Typer:
    """A group of commands: plain help, no completion machinery, no tracebacks with values."""
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
