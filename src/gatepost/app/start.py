"""`gatepost start`: prepare the home, drop privileges, and be the supervisor.

Order: initialise the home, take its lock, read the master key (a credential may be readable by root only), become
the home's owner, and only then open, bind and start. From then on root is gone for good.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from gatepost.app.hardening import choose_user, drop_privileges, protect_memory, raise_file_limit
from gatepost.app.notify import Notifier
from gatepost.app.supervisor import Options, Supervisor
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Warned
from gatepost.store.beginning import Beginning, begin, take_first_passphrase
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home, Owner
from gatepost.store.payload import Payload, version_payload
from gatepost.store.secrets import MasterKey, read_master_key
from gatepost.track.process_log import ProcessLog, SystemClock

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
    with home.lock("gatepost start"):
        with home.as_owner():
            store = ConfigStore.open(home.config_db)
            sealed = store.sealed_names()
        key = read_master_key(home, environ, sealed)
        privileges = choose_user(home, options.user)
        drop_privileges(home, privileges)
        protect_memory()
        raise_file_limit()
        os.umask(0o027)
        payload = _first_payload(home, store, key, first)
        log = ProcessLog(home, SystemClock())
        try:
            if privileges.warning:
                log.emit(Warned(time.time(), privileges.warning))
                say(f"Warning: {privileges.warning}")
            show_passphrase(home, key, environ, say)
            _supervise(home, key, payload, options, environ, log, say, command)
        finally:
            log.close()


def _first_payload(home: Home, store: ConfigStore, key: MasterKey, first: Beginning | None) -> Payload:
    """Version 1 where there is none yet; then the current version. Closes the store: it is the desk's from now on."""
    begin(home, store, key, time.time(), first)
    store.prune()
    version = store.latest()
    if version is None:
        raise OperatorError(
            "the store has no configuration", "restore config.db", code=Exit.FAULTY_CONFIGURATION
        )
    payload = version_payload(store, version)
    store.close()
    return payload


def show_passphrase(
    home: Home, key: MasterKey, environ: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Show the first pass-phrase once; where standard output is a journal, it waits for a start in a terminal."""
    if _is_journal(environ) or not (passphrase := take_first_passphrase(home, key)):
        return
    say(f"The administrator is `admin`, the pass-phrase {passphrase}")
    say("It is shown this once. The web interface, API and SSH shell will ask for it; none exists yet.")


def _is_journal(environ: Mapping[str, str]) -> bool:
    """Standard output goes to the service manager's journal (systemd.exec(5), `JOURNAL_STREAM`)."""
    found = os.fstat(1)
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _supervise(
    home: Home,
    key: MasterKey,
    payload: Payload,
    options: StartOptions,
    environ: MutableMapping[str, str],
    log: ProcessLog,
    say: Callable[[str], None],
    command: Sequence[str],
) -> None:
    workers = options.workers or len(os.sched_getaffinity(0))
    supervisor = Supervisor(
        home,
        key,
        payload,
        Options(workers, options.stop_seconds, command),
        notifier=Notifier(environ, os.getpid()),
        emit=log.emit,
        on_bug=log.bug,
        clock=SystemClock(),
        ready=lambda summary: say(f"Gatepost is running: {summary}"),
    )
    asyncio.run(supervisor.run())


def say(line: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
