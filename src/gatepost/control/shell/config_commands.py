"""`gatepost config …`"""

from __future__ import annotations

from base64 import b64encode
from enum import StrEnum
from typing import Annotated

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import STANDARD, read_file, write_file
from gatepost.control.shell.offer import offer_rehearsal, tell_rises
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.rehearse_screen import PENDING, file_name
from gatepost.control.shell.screen import local, note, note_problems, plural, safe, say, say_json, table
from gatepost.core.errors import Exit, OperatorError, Problem

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="A YAML file; - is standard input.")]


class Format(StrEnum):
    YAML = "yaml"
    JSON = "json"


def make() -> typer.Typer:
    """The group."""
    app = group("config", "The configuration: apply, compare, go back.")
    for name, command in (
        ("apply", apply),
        ("check", check),
        ("show", show),
        ("pending", pending),
        ("commit", commit),
        ("clear", clear),
        ("diff", diff),
        ("history", history),
        ("rollback", rollback),
        ("export", export),
    ):
        app.command(name)(command)
    return app


def apply(
    file: FileArgument, comment: CommentOption = "", pending: PendingOption = False, home: HomeOption = None
) -> None:
    """Replace the whole configuration by FILE: check, commit, activate. All problems at once, or none."""
    client = Client(home)
    text = b64encode(read_file(file)).decode("ascii")
    if not pending:
        offer_rehearsal(client, {"text": text}, file_name(file))
    answer = client.call("config.apply", text=text, comment=comment, pending=pending)
    say_change(client, answer)
    tell_rises(answer, f"gatepost policy rehearse {'FILE' if file == STANDARD else file}")


def check(file: FileArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Find all problems of FILE. Changes nothing."""
    client = Client(home)
    text = b64encode(read_file(file)).decode("ascii")
    problems = client.call("config.check", text=text)["problems"]
    faults = [problem for problem in problems if problem["severity"] == "error"]
    if as_json:
        say_json(problems)
        raise typer.Exit(Exit.FAULTY_CONFIGURATION if faults else Exit.DONE)
    warnings = [problem for problem in problems if problem["severity"] == "warning"]
    note_problems(warnings)
    if faults:
        raise OperatorError(
            f"the configuration has {plural(len(faults), 'fault')}",
            f"mend {'it' if len(faults) == 1 else 'them'} and check again",
            code=Exit.FAULTY_CONFIGURATION,
            problems=tuple(Problem(p["path"], p["text"], p["hint"]) for p in faults),
        )
    tail = (
        f" There {'is' if len(warnings) == 1 else 'are'} {plural(len(warnings), 'warning')}."
        if warnings
        else ""
    )
    say(f"The configuration has no faults.{tail}")


def show(
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.YAML,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Print the configuration in force."""
    document = Client(home).call("config.show")["document"]
    if as_json or form is Format.JSON:
        say_json(document)
        return
    from gatepost.config.yaml_write import write_yaml

    typer.echo(write_yaml(document), nl=False)


def pending(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show your pending changes."""
    found = Client(home).call("config.pending")
    if as_json:
        say_json(found)
        return
    if not found["pending"]:
        say("You have no pending changes.")
        return
    say(f"Pending since {local(found['since'])}, on version {found['base']}:")
    _say_changes(found["changes"])
    if found["latest"] != found["base"]:
        note(
            f"Meanwhile version {found['latest']} was committed; `gatepost config commit` brings both together."
        )
    note_problems(found["problems"])


def _say_changes(changes: list[dict[str, str]]) -> None:
    for change in changes:
        say(safe(change["line"]))
    if not changes:
        say("Nothing differs.")


def commit(comment: CommentOption = "", home: HomeOption = None) -> None:
    """Make your pending changes live."""
    client = Client(home)
    if client.call("config.pending")["pending"]:
        offer_rehearsal(client, {"pending": True}, PENDING)
    answer = client.call("config.commit", comment=comment)
    say_change(client, answer)
    tell_rises(answer, "gatepost policy rehearse FILE")


def clear(home: HomeOption = None) -> None:
    """Give your pending changes up."""
    cleared = Client(home).call("config.clear")["cleared"]
    say("Your pending changes are gone." if cleared else "You had no pending changes.")


def diff(
    version: Annotated[
        int | None,
        typer.Argument(
            metavar="[VERSION]", min=1, help="From this one to the version in force; absent: the last commit."
        ),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show what differs between a version and the one in force."""
    found = Client(home).call("config.diff", **({} if version is None else {"version": version}))
    if as_json:
        say_json(found)
        return
    say(f"From version {found['from']} to version {found['to']}:")
    _say_changes(found["changes"])


def history(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the versions, newest first."""
    rows = Client(home).call("config.history")
    if as_json:
        say_json(rows)
        return
    table(
        ("Version", "Committed", "By", "Comment"),
        [(row["version"], local(row["time"]), row["author"], row["comment"]) for row in rows],
    )


def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version to bring back.")],
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Make an old version's configuration, certificates, authorities and users a new version."""
    client = Client(home)
    say_change(client, client.call("config.rollback", version=version, comment=comment, pending=pending))


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.")],
    certificates: Annotated[
        bool,
        typer.Option(
            "--with-certificates", help="Certificates with private keys in clear, authorities, users too."
        ),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Write the configuration in force to FILE."""
    found = Client(home).call("config.export", certificates=certificates)
    write_file(file, found["text"].encode("utf-8"), secret=certificates)
    if certificates:
        note(f"{'The output' if file == STANDARD else file} holds private keys in clear: keep it safe.")
    elif file != STANDARD:
        note("It holds no certificates and no keys; --with-certificates adds them, and")
        note("`gatepost cert export` writes one of them under a pass-phrase.")
    if file != STANDARD:
        say(f"Version {found['version']} is in {file}.")
