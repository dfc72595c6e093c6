"""The help of every group and command, at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from gatepost.app.zoo.command import make as make_zoo
from gatepost.control.shell import make_app
from gatepost.control.shell.options import first_sentence


def whole() -> typer.Typer:
    app = make_app()
    app.add_typer(make_zoo())
    return app


def commands(command: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield way, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*way, name))


ALL = dict(commands(typer.main.get_command(whole())))


def helped(way: tuple[str, ...]) -> str:
    command = ALL[way]
    text: str = command.get_help(
        typer.Context(command, info_name=" ".join(("gatepost", *way)), terminal_width=80)
    )
    return text


@pytest.mark.parametrize("way", ALL, ids=lambda way: " ".join(("gatepost", *way)))
def test_help_fits_80_columns_and_cuts_no_sentence(way: tuple[str, ...]) -> None:
    text = helped(way)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    words = " ".join(text.split())
    for inner in getattr(ALL[way], "commands", {}).values():
        assert first_sentence(inner.help or "") in words


def test_there_is_help_for_every_command() -> None:
    assert len(ALL) > 80
    assert [way for way, command in ALL.items() if not command.help] == []


def test_a_description_is_shown_by_its_first_sentence() -> None:
    assert first_sentence("Find all\n  problems of FILE. Changes nothing.") == "Find all problems of FILE."
    assert first_sentence("One line.\n\nMore. And more.") == "One line."
    assert first_sentence("No end") == "No end"
