"""One run of the zoo inside its own network: opened, checked or kept open, and closed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gatepost.app.start import say
from gatepost.app.zoo import screen
from gatepost.app.zoo.check import Check
from gatepost.app.zoo.options import Options
from gatepost.app.zoo.population import Population
from gatepost.app.zoo.table import INHABITANTS, Column
from gatepost.control.shell.screen import note, say_json
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.room import no_room


async def _serve(options: Options, folder: Path) -> int:
    """All of one run; returns the exit code."""
    chosen = [one for one in INHABITANTS if not options.inhabitants or one.name in options.inhabitants]
    population = Population(folder, chosen)
    columns = [Column(level) for level in options.levels] or list(Column)
    async with asyncio.TaskGroup() as group:
        play = asyncio.current_task()
        assert play is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, play.cancel)
        watch: asyncio.Task[None] | None = None
        try:
            await population.open(group, lambda what: note(f"Starting {what}"))
            watch = group.create_task(population.stage.ended(), name="gateway's end")
            if options.check:
                return await _check(options, population, columns)
            return await _stay(options, population, columns[0] if options.levels else Column.DANE_STS)
        finally:
            if watch is not None:
                watch.cancel()  # from here on its end is asked for
            await population.close()


async def _check(options: Options, population: Population, columns: Sequence[Column]) -> int:
    begun = time.monotonic()
    results = await Check(population, note).run(columns)
    if options.as_json:
        say_json(screen.rows(results))
    else:
        for line in screen.differences(results):
            say(line)
        say(screen.summary(results, time.monotonic() - begun))
    return int(Exit.REFUSED if any(result.problem for result in results) else Exit.DONE)


async def _stay(options: Options, population: Population, column: Column) -> int:
    await population.stage.use(column, population.all)
    if options.as_json:
        say_json(screen.started(population, column))
        sys.stdout.flush()
    else:
        for line in screen.welcome(population, column, person=options.person):
            say(line)
    await asyncio.get_running_loop().create_future()
    return int(Exit.DONE)


def zoo(arguments: Sequence[str]) -> int:
    """Run it; returns the exit code. What can be mended is an OperatorError."""
    options = Options.read(arguments[0])
    folder = Path(options.folder) if options.folder else _temporary()
    try:
        return asyncio.run(_serve(options, folder))
    except asyncio.CancelledError:
        note("The zoo is closed.")
        return int(Exit.REFUSED if options.check else Exit.DONE)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise (_full(folder) if no_room(error) else error) from group
    except OSError as error:
        raise (_full(folder) if no_room(error) else error) from None
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="gatepost-zoo-"))
    except OSError as error:
        raise OperatorError(
            f"no temporary folder can be made: {error.strerror}",
            "name one with --folder, or where they are made with TMPDIR",
        ) from None


def _full(folder: Path) -> OperatorError:
    return OperatorError(
        f"no space is left on the disk of {folder}",
        "free some, or name a folder on another disk with --folder",
        code=Exit.TRY_AGAIN,
    )
