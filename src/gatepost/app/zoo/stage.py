"""The gateway that lives in the zoo: a home of its own, which trusts the zoo's authorities and asks the zoo's resolver.

It is `gatepost start`, unmodified, and everything is done through its control socket, as its administrator would. Each column
of the table is a commit of its configuration.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatepost.app.show.gateway import GatewayProcess
from gatepost.app.zoo.places import CREDULOUS, RESOLVER
from gatepost.app.zoo.table.shape import Column, Inhabitant
from gatepost.app.zoo.zones import BROKEN, SIGNED
from gatepost.config.yaml_write import write_yaml
from gatepost.control.protocol import call
from gatepost.store.home import Home

ADDRESS, PORT = "127.0.0.1", 2587
KEEPER = "keeper"
"""Where reports about refused mail go: an inhabitant that is in order."""

_PATIENCE = {
    "connect": "10s",
    "greeting": "10s",
    "command": "10s",
    "data_end": "20s",
    "handshake": "6s",
    "idle": "1s",
}


def configuration(column: Column, inhabitants: Sequence[Inhabitant]) -> dict[str, Any]:
    """The document of one column."""
    entries = [
        {"domain": one.domain, "preferred_clear_after": one.clear_after}
        for one in inhabitants
        if one.clear_after is not None
    ]
    return {
        "system": {"hostname": "gateway.zoo.example"},
        "interfaces": [{"name": "Zoo", "address": ADDRESS, "hostname": "gateway.zoo.example"}],
        "listeners": [
            {
                "name": "OutgoingMail",
                "type": "private",
                "interface": "Zoo",
                "port": PORT,
                "tls": "starttls",
                "certificate": "Demo",
                "host_access": [
                    {"group": "RELAYLIST", "senders": ["127.0.0.0/8"], "policy": "RELAYED"},
                    {"group": "ALL", "policy": "BLOCKED"},
                ],
            }
        ],
        "mail_flow_policies": [
            {"name": "RELAYED", "action": "relay", "tls": "preferred", "max_messages_per_connection": 10_000},
            {"name": "BLOCKED", "action": "reject"},
        ],
        "destination_controls": {"default": column.settings, "destinations": entries},
        "smtp_routes": [{"domain": "ALL", "hosts": ["usedns"]}],
        "delivery": {"timeouts": _PATIENCE},
        # What is refused waits until somebody asks: a second attempt of its own would blur what the first came to.
        "bounce_profiles": [{"name": "Default", "initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}],
        "dns": {
            "servers": [RESOLVER if column.validated else CREDULOUS],
            "reverse": False,
            "probe": {"signed": SIGNED, "bogus": BROKEN},
        },
        "certificate_authorities": {"system": False, "custom": True},
    }


class Stage:
    """The gateway, from `start` to `stop`. Operations raise OperatorError."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self._process = GatewayProcess(self.home.root, ("--workers", "1"))

    async def start(self, trusted_pem: bytes) -> None:
        """Start it, and give it the roots that it trusts."""
        await self._process.start()
        await self.call(
            "ca.import", file=b64encode(trusted_pem).decode("ascii"), comment="The zoo's authorities"
        )

    async def use(self, column: Column, inhabitants: Sequence[Inhabitant]) -> None:
        """Commit the configuration of a column; it is in force when this returns."""
        text = write_yaml(configuration(column, inhabitants))
        encoded = b64encode(text.encode("utf-8")).decode("ascii")
        await self.call("config.apply", text=encoded, comment=f"The zoo's column {column.value}")

    async def call(self, operation: str, **arguments: Any) -> Any:
        """One operation of the running gateway."""
        return await asyncio.to_thread(call, self.home.control_socket, operation, arguments)

    async def ended(self) -> None:
        """Wait for an end that nobody asked for. Raises OperatorError then."""
        raise await self._process.ended(lambda line: None)

    async def stop(self) -> None:
        await self._process.stop()
