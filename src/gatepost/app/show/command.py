"""What `make run` was asked for, and how its end is told."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatepost.app.show.demo import Demo
from gatepost.app.show.screen import Screen, wrapped
from gatepost.app.start import say
from gatepost.core.errors import OperatorError

HOME = ".gatepost"


def show(arguments: Sequence[str]) -> int:
    """Run the show; returns the exit code. What can be mended is told like everything else, in short lines."""
    parser = argparse.ArgumentParser(
        prog="make run", description="Start Gatepost and a sink, and send one message through."
    )
    parser.add_argument("--home", metavar="DIR", default=HOME, help=f"the home folder; {HOME} unless given")
    options = parser.parse_args(arguments)
    os.environ["GATEPOST_HOME"] = os.path.abspath(options.home)  # where a fault of ours is logged, too
    try:
        return asyncio.run(Demo(Path(options.home), os.environ, Screen(say)).run())
    except OperatorError as error:
        lines = [problem.line() for problem in error.problems]
        lines.append(f"gatepost: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        for line in lines:
            sys.stderr.write("\n".join(wrapped(line)) + "\n")
        return int(error.code)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """What really happened inside groups of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
