"""Peers and gateways that several tests of one file look at, each started once and all ended together."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.live.peers.exim import Exim
from tests.live.peers.gateway import Gateway
from tests.live.peers.ports import Ports
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import Script, ScriptedReceiver


class Scene:
    """A folder that daemons of other users can reach, and what was started in it. `close` ends everything.

    The methods take what the classes take; without a port they choose a free one. They may be called from
    several threads, so that daemons start side by side.
    """

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.folder = Path(tempfile.mkdtemp(prefix="gatepost-live-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self.ending = contextlib.ExitStack()
        self._gateways: list[Gateway] = []

    def postfix(self, *, port: int = 0, address: str = "127.0.0.1", **options: Any) -> Postfix:
        port = port or self.ports.free(address)
        server = Postfix(self.folder / f"postfix-{address}-{port}", port, address=address, **options)
        self.ending.callback(server.stop)
        return server

    def exim(self, *, port: int = 0, address: str = "127.0.0.1", **options: Any) -> Exim:
        port = port or self.ports.free(address)
        server = Exim(self.folder / f"exim-{address}-{port}", port, address=address, **options)
        self.ending.callback(server.stop)
        return server

    def receiver(
        self, script: Script | None = None, *, port: int = 0, address: str = "127.0.0.1"
    ) -> ScriptedReceiver:
        port = port or self.ports.free(address)
        server = ScriptedReceiver(self.folder / "receivers", port, script, address=address)
        self.ending.callback(server.close)
        return server

    def gateway(self) -> Gateway:
        """With an empty home, not started."""
        made = Gateway(self.folder / f"gateway-{len(self._gateways) + 1}")
        self._gateways.append(made)
        self.ending.callback(made.close)
        return made

    def close(self) -> None:
        """Ends everything. Fails when a gateway had a bug that it only told its log."""
        try:
            self.ending.close()
            bugs = [event for gateway in self._gateways for event in _internal_errors(gateway)]
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        assert not bugs, "\n".join(bugs)


def _internal_errors(gateway: Gateway) -> list[str]:
    events = gateway.home / "logs" / "events.jsonl"
    if not events.exists():
        return []
    rows = (json.loads(line) for line in events.read_text().splitlines() if '"InternalError"' in line)
    return [row["traceback"] for row in rows]
