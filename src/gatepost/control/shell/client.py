"""Where an operation runs: in the running gateway's desk, or in this process on a stopped gateway.

The control socket is tried first. Where nobody answers, the command takes the home's lock and works on the store itself,
as the home's owner; the result is the same. Whoever finds the lock held exits 75: the gateway is starting or
ending, or another command is at work. A new home is made by whichever command comes first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gatepost.control.ports import Caller, Line
from gatepost.control.protocol import Told, call
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home


class MachineClock:
    """The machine's clocks (`core.ports.Clock`)."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Client:
    """One command's way to the operations. `online` says who answered the last call."""

    def __init__(self, home: str | None) -> None:
        self.home = Home.locate(home, os.environ, os.geteuid())
        self.online = False

    def call(self, op: str, **args: Any) -> Any:
        """Run an operation, wherever it can. Raises OperatorError."""
        return self._call(op, args, None)

    def follow(self, op: str, told: Told, **args: Any) -> Any:
        """Run an operation that may take long; `told` hears how far it is."""
        return self._call(op, args, told)

    def _call(self, op: str, args: Mapping[str, Any], told: Told | None) -> Any:
        try:
            result = call(self.home.control_socket, op, args, told=told)
        except OperatorError as error:
            if error.code is not Exit.NOT_RUNNING:
                raise
        else:
            self.online = True
            return result
        self.online = False
        return self._call_here(op, args, told)

    def call_running(self, op: str, **args: Any) -> Any:
        """Run an operation that only a running gateway can do (exit 69 without one)."""
        try:
            result = call(self.home.control_socket, op, args)
        except OperatorError as error:
            if error.code is Exit.NOT_RUNNING:
                self.begin()
            raise
        self.online = True
        return result

    def begin(self) -> None:
        """Make an empty home into one (contract, Home); does nothing for any other."""
        with suppress(PermissionError):  # not our home: what comes next says so
            if not self.home.config_db.exists():
                self._call_here("", {})

    def _call_here(self, op: str, args: Mapping[str, Any], told: Told | None = None) -> Any:
        """Run an operation in this process, under the lock and with the owner's identity; none for an empty name."""
        import asyncio

        from gatepost.control.ops import build
        from gatepost.store.beginning import begin
        from gatepost.store.config_store import ConfigStore
        from gatepost.store.secrets import LocalKeeper, read_master_key

        home, clock = self.home, MachineClock()
        caller = Caller.local(os.geteuid(), Line(told) if told is not None else Line())
        home.initialise(os.environ)
        if os.geteuid() == 0 and home.owner().uid != 0:
            _load_everything()
        with home.lock(f"gatepost {op or 'command'}"):
            with home.as_owner():
                store = ConfigStore.open(home.config_db)
                sealed = store.sealed_names()
            # A credential of the service manager may be readable by root only.
            key = read_master_key(home, os.environ, sealed)
            with home.as_owner():
                try:
                    begin(home, store, key, clock.now())
                    if not op:
                        return None
                    operations = build(home, store, LocalKeeper(key), None, clock)
                    return asyncio.run(_run(operations.call(op, args, caller)))
                finally:
                    store.close()


def _load_everything() -> None:
    """Import what an operation may need while this process is still root.

    It is about to work as the home's owner, who need not be able to read root's Python.
    """
    import importlib
    import pkgutil

    for room in ("config", "pki", "wire", "policy", "store", "net", "certs", "probe", "track", "control.ops"):
        package = importlib.import_module(f"gatepost.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    for name in (
        "ascii",
        "idna",
        "latin_1",
        "punycode",
        "unicode_escape",
        "utf_16_be",
        "utf_32_be",
        "utf_8_sig",
    ):
        importlib.import_module(f"encodings.{name}")
    for name in ("argon2", "concurrent.futures.thread", "unicodedata"):
        importlib.import_module(name)


async def _run(awaitable: Any) -> Any:
    return await awaitable
