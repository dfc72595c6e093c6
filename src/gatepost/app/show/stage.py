"""The home of the show, and the version of the configuration that it runs.

Everything happens offline, under the home's lock, and through the operations that every command uses: the show
takes the document in force, gives its listeners free ports and its mail a way to the sink, and commits that where it
differs. So a change made by hand in this home is kept.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from base64 import b64encode
from collections.abc import MutableMapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from gatepost.app.show.places import SINK_ADDRESS, SINK_PORT, NoPort, Ports, placed, routed
from gatepost.config.yaml_write import write_yaml
from gatepost.control.ops import build
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError
from gatepost.store.beginning import begin, take_first_passphrase
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import LocalKeeper, read_master_key
from gatepost.track.process_log import SystemClock

WHO = "make run"
COMMENT = "make run: free ports, and all mail to the sink"


@dataclass(slots=True)
class Stage:
    """A home that is ready to start. `passphrase` is empty unless it may be shown now."""

    home: Home
    new: bool
    document: dict[str, Any]
    version: int
    sink: socket.socket
    moved: list[tuple[str, int, int]]
    passphrase: str = field(repr=False)


async def prepare(
    home: Home, environ: MutableMapping[str, str], ports: Ports, sink_port: int = SINK_PORT
) -> Stage:
    """Make or open the home and commit what the show needs. Raises OperatorError (exit 75 while it is in use)."""
    new = not home.config_db.exists()
    home.initialise(environ)
    with ExitStack() as opened, home.lock(WHO), home.as_owner():
        clock = SystemClock()
        with closing(ConfigStore.open(home.config_db)) as store:
            key = read_master_key(home, environ, store.sealed_names())
            begin(home, store, key, clock.now())
            operations = build(home, store, LocalKeeper(key), None, clock)
            caller = Caller.local(os.geteuid())
            shown = await operations.call("config.show", {}, caller)
            sink = socket.create_server((SINK_ADDRESS, ports.choose("the sink", SINK_ADDRESS, sink_port)))
            opened.enter_context(sink)
            wanted = _arranged(shown["document"], ports, sink.getsockname()[1])
            version = shown["version"]
            if wanted != shown["document"]:
                text = b64encode(write_yaml(wanted).encode("utf-8")).decode("ascii")
                answer = await operations.call("config.apply", {"text": text, "comment": COMMENT}, caller)
                version = answer["version"]
            opened.pop_all()  # the sink's socket stays open
            passphrase = "" if into_journal(environ) else take_first_passphrase(home, key)
    return Stage(home, new, wanted, version, sink, ports.moved, passphrase)


def _arranged(document: dict[str, Any], ports: Ports, sink_port: int) -> dict[str, Any]:
    try:
        return routed(placed(document, ports), sink_port)
    except NoPort as error:
        raise OperatorError(str(error), "stop what listens there") from None


def is_free(address: str, port: int) -> bool:
    """Whether nobody listens there. Another obstacle (no such address) is the gateway's to tell."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)  # only this finds out for certain that a port is taken
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def into_journal(environ: MutableMapping[str, str]) -> bool:
    """Whether standard output is the service manager's journal (systemd.exec, `JOURNAL_STREAM`): a log, then."""
    try:
        found = os.fstat(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
