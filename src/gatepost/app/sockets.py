"""The listening sockets: bound by the supervisor alone, kept over commits, passed to the workers.

A commit is planned first: sockets that both configurations share are kept, new ones are bound and listen at
once (only `listen` finds out for certain that a port is taken), and what is gone is closed only after
the switch. An abandoned plan closes what it opened; then nothing has changed.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gatepost.core.errors import Exit, OperatorError

BACKLOG = 1024

Place = tuple[str, int]  # address and port


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One listener of a configuration: its name and where it listens."""

    name: str
    address: str
    port: int

    @property
    def place(self) -> Place:
        return self.address, self.port

    @property
    def label(self) -> str:
        """The label under which the descriptor travels."""
        return f"{self.address} {self.port}"


def endpoints(document: Mapping[str, Any]) -> list[Endpoint]:
    """The listeners of a document in its JSON form. Raises OperatorError for one on an unknown interface."""
    addresses = {entry["name"]: str(entry["address"]) for entry in document.get("interfaces") or ()}
    found = []
    for index, listener in enumerate(document.get("listeners") or ()):
        address = addresses.get(listener["interface"])
        if address is None:
            raise OperatorError(
                f"listeners[{index}].interface: there is no interface {listener['interface']!r}",
                code=Exit.FAULTY_CONFIGURATION,
            )
        found.append(Endpoint(listener["name"], address, int(listener["port"])))
    return found


def bind(endpoint: Endpoint) -> socket.socket:
    """A socket that listens at the endpoint, non-blocking. Raises OperatorError that says why it cannot."""
    version = ipaddress.ip_address(endpoint.address).version
    listening = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(endpoint.place)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise OperatorError(
            f"the listener {endpoint.name} cannot use {endpoint.address} port {endpoint.port}: {error.strerror}",
            _HINTS.get(error.errno or 0, "check the interface's address and the port"),
        ) from None
    return listening


_HINTS = {
    errno.EADDRINUSE: "another program listens there; stop it or take another port",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 need a start as root, or CAP_NET_BIND_SERVICE",
}


class Plan:
    """The sockets of one configuration, next to those in use."""

    def __init__(
        self, wanted: list[Endpoint], sockets: dict[Place, socket.socket], opened: set[Place]
    ) -> None:
        self.endpoints = wanted
        self.sockets = sockets
        self.opened = opened


class Sockets:
    """All listening sockets of the gateway."""

    def __init__(self) -> None:
        self._open: dict[Place, socket.socket] = {}
        self.endpoints: list[Endpoint] = []

    def plan(self, wanted: Iterable[Endpoint]) -> Plan:
        """Bind what is new. Raises OperatorError when one cannot be bound; then none is."""
        plan = Plan(list(wanted), {}, set())
        try:
            for endpoint in plan.endpoints:
                known = self._open.get(endpoint.place)
                if known is None:
                    known = bind(endpoint)
                    plan.opened.add(endpoint.place)
                plan.sockets[endpoint.place] = known
        except OperatorError:
            self.abandon(plan)
            raise
        return plan

    def abandon(self, plan: Plan) -> None:
        """Close what the plan opened."""
        for place in plan.opened:
            plan.sockets[place].close()

    def switch(self, plan: Plan) -> None:
        """Use the plan's sockets; close those that it leaves out."""
        gone = [listening for place, listening in self._open.items() if place not in plan.sockets]
        self._open, self.endpoints = plan.sockets, plan.endpoints
        for listening in gone:
            listening.close()

    def descriptors(self, plan: Plan | None = None) -> dict[str, int]:
        """Label and descriptor of each socket: of those in use, or of a plan's new ones."""
        if plan is not None:
            return {
                endpoint.label: plan.sockets[endpoint.place].fileno()
                for endpoint in plan.endpoints
                if endpoint.place in plan.opened
            }
        return {endpoint.label: self._open[endpoint.place].fileno() for endpoint in self.endpoints}

    def close(self) -> None:
        """Close all: the supervisor's copies must go too before a connection is refused."""
        for listening in self._open.values():
            listening.close()
        self._open, self.endpoints = {}, []


def endpoint_json(wanted: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """The endpoints as the worker role gets them."""
    return [
        {"name": endpoint.name, "address": endpoint.address, "port": endpoint.port, "label": endpoint.label}
        for endpoint in wanted
    ]
