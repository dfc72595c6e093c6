"""The command `gatepost`: `start`, the hidden roles of the processes, and all of `control.shell`.

Imports are made where they are used: a worker never loads the command line, a command never loads the mail path.
What the operator can mend is one sentence and a hint on standard error, with the exit code of the contract. Anything
else is our bug: one line with a reference there, the traceback in the log of the home, exit 70.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from gatepost.core.errors import Exit, OperatorError

ROLES = ("worker", "desk")


def main() -> NoReturn:
    """The entry point of the console script."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ROLES:
        sys.exit(run(arguments, _role))
    sys.exit(run(arguments, _commands))


def run(arguments: Sequence[str], commands: Callable[[Sequence[str]], int]) -> int:
    """Run the command line; returns the exit code. The outermost boundary: nothing passes it as a traceback."""
    try:
        return commands(arguments)
    except OperatorError as error:
        complain(error)
        return int(error.code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output had enough; keep the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.REFUSED)
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        from gatepost.store.room import full_disk, no_room

        if no_room(error):
            complain(full_disk())
            return int(Exit.TRY_AGAIN)
        print(f"gatepost: internal error, reference {_log_bug(error)}", file=sys.stderr)  # noqa: T201
        return int(Exit.BUG)


def complain(error: OperatorError) -> None:
    """One sentence and a hint on standard error; a configuration's problems one a line before them."""
    from gatepost.control.shell.screen import fitting

    lines = [problem.line() for problem in error.problems]
    lines.append(f"gatepost: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    for line in lines:
        print("\n".join(fitting(line, sys.stderr)), file=sys.stderr)  # noqa: T201


def _log_bug(error: BaseException) -> str:
    """Put the traceback into the home's log; where there is none, it is lost rather than shown."""
    import secrets

    from gatepost.store.home import Home
    from gatepost.track.process_log import ProcessLog, SystemClock

    home = Home.locate(_given_home(sys.argv[1:]), os.environ, os.geteuid())
    try:
        with home.as_owner():
            log = ProcessLog(home, SystemClock())
            reference = log.bug("command", error)
            log.close()
    except OSError:
        return f"{secrets.token_hex(4)} (there is no log to write it to: {type(error).__name__})"
    return reference


def _given_home(arguments: Sequence[str]) -> str | None:
    """The value of `--home`, found without the parser, which may be what failed."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--home="):
            return argument.partition("=")[2]
        if argument == "--home" and index + 1 < len(arguments):
            return arguments[index + 1]
    return None


def _role(arguments: Sequence[str]) -> int:
    """Be a child of the supervisor; the arguments are its own and not for people."""
    channel, descriptors, parent = role_arguments(arguments[1:])
    if arguments[0] == "worker":
        from gatepost.app.worker import Worker
        from gatepost.app.worker_main import run_worker

        return run_worker(channel, descriptors, parent, Worker)
    from gatepost.app.desk import run_desk
    from gatepost.control.ops import build

    return run_desk(channel, descriptors, parent, build)


def role_arguments(arguments: Sequence[str]) -> tuple[int, int, int]:
    """`--channel N --descriptors N --parent PID`. Raises OperatorError for anything else."""
    names = ("--channel", "--descriptors", "--parent")
    if tuple(arguments[::2]) != names or not all(value.isdecimal() for value in arguments[1::2]):
        raise OperatorError(
            "this role is started by the gateway itself", "run `gatepost start`", code=Exit.USAGE
        )
    channel, descriptors, parent = (int(value) for value in arguments[1::2])
    return channel, descriptors, parent


def _commands(arguments: Sequence[str]) -> int:
    """Everything that people type."""
    from gatepost.app.command_line import run_commands

    return run_commands(arguments)
