"""The door: every operation of every face goes through `Door.call`.

It authorises (today the callers are local, and the kernel has named them before: root or the gateway's own user),
refuses arguments that an operation does not take, lets only one change run at a time, and audits: a line in the
log for every operation that changes something, shows a key or calls hosts of others, with who asked and how it ended. Reading leaves
no line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gatepost.control.ops.audit import OfflineLog, audit_event
from gatepost.control.ops.confined import read_confined
from gatepost.control.ops.registry import Arguments, Context, Operation, Reader
from gatepost.control.ports import Caller, Gateway
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Clock
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import Keeper

if TYPE_CHECKING:
    from gatepost.certs.inventory import Inventory

_MODULES = {
    "acme": "acme",
    "alert": "alerts",
    "config": "configuration",
    "config.show": "versions",
    "config.history": "versions",
    "cert": "certificates",
    "cert.new": "certificate_making",
    "cert.import": "certificate_making",
    "cert.install": "certificate_making",
    "cert.renew": "certificate_changes",
    "cert.renewal": "certificate_changes",
    "cert.repair": "certificate_changes",
    "cert.restore": "certificate_changes",
    "cert.delete": "certificate_changes",
    "cert.walk": "certificate_walk",
    "cert.names": "names",
    "cert.dane": "dane",
    "cert.prove": "proof",
    "cert.rollback-served": "proof",
    "ca": "authorities",
    "ca.crl": "revocation",
    "queue": "queue",
    "dkim": "dkim",
    "explain": "explain",
    "tlsverify": "verify",
    "daneverify": "verify",
    "policy": "policy",
    "reputation": "reputation",
    "bounce-keys": "bounce_keys",
    "sts": "own_sts",
    "tlsrpt.import": "tls_reports_received",
    "tlsrpt.received": "tls_reports_received",
    "status": "status",
    "user": "users",
    "metrics": "metrics",
    "tlsrpt": "tls_reports",
}


class Door:
    """Implements `control.ports.Operations`. `read` replaces how hostile files are read."""

    def __init__(
        self,
        home: Home,
        store: ConfigStore,
        keeper: Keeper,
        gateway: Gateway | None,
        clock: Clock,
        *,
        read: Reader | None = None,
    ) -> None:
        emit = gateway.emit if gateway is not None else OfflineLog(home, clock).emit
        read = read or (read_confined if gateway is not None else read_here)
        self._context = Context(home, store, keeper, gateway, clock, emit, read, _later(store))
        self._operations: dict[str, Operation] = {}
        self._changing = asyncio.Lock()

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller, /) -> Any:
        """Run one operation. Raises OperatorError for what the caller can mend."""
        found = self._find(op)
        arguments = Arguments(args)
        unknown = sorted(arguments.names() - found.takes)
        if unknown:
            raise OperatorError(f"{op} does not take {', '.join(unknown)}", code=Exit.USAGE)
        if found.calls:
            return await self._audited(found, arguments, caller)
        if not found.changes:
            return await found.run(self._context, arguments, caller)
        async with self._changing:
            return await self._audited(found, arguments, caller)

    def _find(self, op: str) -> Operation:
        if op not in self._operations:
            groups = (op, op.rpartition(".")[0], op.partition(".")[0])
            module = next((_MODULES[name] for name in groups if name in _MODULES), None)
            if module is not None:
                table = import_module(f"gatepost.control.ops.{module}").OPERATIONS
                self._operations.update((row.name, row) for row in table)
        try:
            return self._operations[op]
        except KeyError:
            raise OperatorError(
                f"unknown operation {op}", "both sides must be of one version", code=Exit.USAGE
            ) from None

    async def _audited(self, found: Operation, arguments: Arguments, caller: Caller) -> Any:
        context = self._context
        try:
            result = await found.run(context, arguments, caller)
        except OperatorError as error:
            if found.changes:
                context.store.prune()  # a certificate that was sealed for nothing; nobody else prepares one now
            context.emit(audit_event(context.clock.now(), found.name, caller, error.message, refused=True))
            raise
        said = result.get("said", "") if isinstance(result, Mapping) else ""
        context.emit(audit_event(context.clock.now(), found.name, caller, said))
        return result


def _later(store: ConfigStore) -> Callable[[], Inventory]:
    """The inventory of the certificates, made when it is first asked for: most commands do without."""
    made: list[Inventory] = []

    def inventory() -> Inventory:
        if not made:
            from gatepost.certs.inventory import Inventory

            made.append(Inventory(store))
        return made[0]

    return inventory


async def read_here(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """In a command on a stopped gateway, which is short-lived itself."""
    from gatepost.control.ops.reading import read

    return read(kind, values)
