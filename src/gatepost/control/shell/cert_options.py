"""Arguments and options that the commands on certificates share, and how a pass-phrase is asked for."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from gatepost.control.shell.cert_screen import note_paragraph
from gatepost.control.shell.files import read_passphrase_file
from gatepost.core.errors import Exit, OperatorError

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The certificate's name in the configuration.")
]
PassphraseOption = Annotated[
    str | None,
    typer.Option("--passphrase", metavar="P", help="Visible to others on this machine; a file is better."),
]
PassphraseFileOption = Annotated[
    str | None, typer.Option("--passphrase-file", metavar="F", help="The pass-phrase is its first line.")
]
BesideOption = Annotated[
    bool, typer.Option("--beside", help="The second certificate of that name, with a key of another kind.")
]
DaneForceOption = Annotated[
    bool,
    typer.Option(
        "--force", help="Also when its TLSA record is not visible long enough (`gatepost cert dane`)."
    ),
]
VISIBLE = (
    "A pass-phrase on the command line is visible to others on this machine; a file or the prompt is better."
)


def field(option: str, about: str, metavar: str = "TEXT") -> Any:
    """An option with a value."""
    return typer.Option(option, metavar=metavar, help=about)


def given_passphrase(passphrase: str | None, file: str | None) -> str:
    """The pass-phrase of the command line or of its file, else empty."""
    if passphrase is not None and file is not None:
        raise OperatorError(
            "--passphrase and --passphrase-file exclude each other", "give one", code=Exit.USAGE
        )
    if passphrase is not None:
        note_paragraph(VISIBLE)
        return passphrase
    return read_passphrase_file(file) if file is not None else ""


def ask_passphrase(file: str) -> str:
    """The pass-phrase of a file that turned out to be encrypted."""
    if not sys.stdin.isatty():
        raise OperatorError(
            f"{file} is encrypted and no pass-phrase was given", "give it with --passphrase-file FILE"
        )
    answer: str = typer.prompt(f"Pass-phrase of {file}", hide_input=True, err=True)
    return answer


def ask_new_passphrase() -> str:
    """A pass-phrase for a file that is about to be written, asked for twice."""
    if not sys.stdin.isatty():
        raise OperatorError(
            "an exported key needs a pass-phrase", "give it with --passphrase-file FILE", code=Exit.USAGE
        )
    answer: str = typer.prompt(
        "Pass-phrase of the exported file", hide_input=True, confirmation_prompt="Once more", err=True
    )
    return answer
