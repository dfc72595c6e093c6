"""The typer application that people type at: the commands of `control.shell`, `start`, and `zoo`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from gatepost.app.zoo.command import make as make_zoo
from gatepost.control.shell import make_app
from gatepost.core.errors import Exit, OperatorError

HomeOption = Annotated[
    str | None, typer.Option("--home", metavar="DIR", help="The home; else GATEPOST_HOME, else the default.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=1, max=64, help="Mail workers; one per core.")
]
UserOption = Annotated[
    str, typer.Option("--user", metavar="NAME", help="Whom to become, started as root in a home of root.")
]
StopOption = Annotated[
    float, typer.Option("--stop-wait", metavar="SECONDS", min=0, max=3600, help="What running sessions get.")
]


def start(
    home: HomeOption = None,
    workers: WorkersOption = None,
    user: UserOption = "",
    stop_wait: StopOption = 10.0,
) -> None:
    """Run the gateway in the foreground. SIGTERM or Ctrl-C stops it in good order, SIGHUP reloads."""
    from gatepost.app.start import StartOptions, say
    from gatepost.app.start import start as run_gateway

    run_gateway(StartOptions(home, workers, user, stop_wait), os.environ, say)


def run_commands(arguments: Sequence[str]) -> int:
    """Parse and run; returns the exit code. OperatorError (a wrong use is exit 2) and bugs pass to the caller."""
    app = make_app()
    app.command("start")(start)
    app.add_typer(make_zoo())
    command = typer.main.get_command(app)
    try:
        result = command.main(list(arguments), prog_name="gatepost", standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except typer.TyperException as wrong:
        message = wrong.format_message().rstrip(".")
        raise OperatorError(message, "`gatepost COMMAND --help` shows the use", code=Exit.USAGE) from None
    except typer.Abort:
        return int(Exit.REFUSED)
    return result if isinstance(result, int) else int(Exit.DONE)
