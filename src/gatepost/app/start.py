"""`gatepost start`: prepare the home, drop privileges, and be the supervisor.

Order: initialise the home, take its lock, read the master key (a credential may be readable by root only), become
the home's owner, and only then open, bind and start. From then on root is gone for good.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

from gatepost.app.hardening import choose_user, drop_privileges, protect_memory, raise_file_limit
from gatepost.app.notify import Notifier
from gatepost.app.process_log import ProcessLog, SystemClock
from gatepost.app.supervisor import Options, Supervisor
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Warned
from gatepost.store.beginning import Beginning, begin, take_first_passphrase
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home, Owner
from gatepost.store.payload import version_payload
from gatepost.store.secrets import read_master_key

STOP_SECONDS = 10.0
THIS_COMMAND = (sys.executable, "-P", "-m", "gatepost")


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The command line of `gatepost start`; no number of workers means one per core."""

    home: str | None = None
    workers: int | None = None
    user: str = ""
    stop_seconds: float = STOP_SECONDS


def start(
    options: StartOptions,
    environ: MutableMapping[str, str],
    say: Callable[[str], None],
    *,
    command: Sequence[str] = THIS_COMMAND,
    first: Beginning | None = None,
) -> None:
    """Run the gateway in the foreground until it is stopped. Raises OperatorError when it cannot start.

    `say` writes a line to the person who started it; `command` starts a child, its role behind it; `first`
    replaces what a new home begins with.
    """
    home = Home.locate(options.home, environ, os.geteuid())
    new_owner = Owner.named(options.user) if options.user and os.geteuid() == 0 else None
    home.initialise(environ, new_owner=new_owner)
    lock = home.lock("gatepost start")
    with home.as_owner():
        store = ConfigStore.open(home.config_db)
        sealed = store.sealed_names()
    key = read_master_key(home, environ, sealed)
    privileges = choose_user(home, options.user)
    drop_privileges(home, privileges)
    protect_memory()
    raise_file_limit()
    os.umask(0o027)
    clock = SystemClock()
    begin(home, store, key, clock.now(), first)
    store.prune()
    version = store.latest()
    if version is None:
        raise OperatorError("the store has no configuration", code=Exit.FAULTY_CONFIGURATION)
    payload = version_payload(store, version)
    store.close()
    log = ProcessLog(home, clock)
    if privileges.warning:
        log.emit(Warned(clock.now(), privileges.warning))
        say(f"Warning: {privileges.warning}")
    # The journal of the service manager is a log: the pass-phrase waits for a start in a terminal.
    if "JOURNAL_STREAM" not in environ and (passphrase := take_first_passphrase(home, key)):
        say(f"The administrator is `admin`, the pass-phrase {passphrase}")
        say("It is shown this once. The web interface, API and SSH shell will ask for it; none exists yet.")

    def ready(summary: str) -> None:
        say(f"Gatepost is running: {summary}")

    supervisor = Supervisor(
        home,
        key,
        payload,
        Options(options.workers or len(os.sched_getaffinity(0)), options.stop_seconds, command),
        notifier=Notifier(environ, os.getpid()),
        emit=log.emit,
        on_bug=log.bug,
        clock=clock,
        ready=ready,
    )
    try:
        asyncio.run(supervisor.run())
    finally:
        log.close()
        lock.release()


def say(line: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
