"""The listening sockets: bound by the supervisor alone, kept over commits, passed to the workers.

The port for the world (`public_web`) is one of them and goes to the desk. The ports of ACME challenges are no part of a configuration's sockets: they are bound when an order asks for them, handed over
and forgotten here at once, so that they close with the order, or with the process that has it.

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
from enum import StrEnum
from typing import Any

from gatepost.config.challenge_ports import HTTP_PORT, HTTPS_PORT, TLS_PORT, answering_addresses
from gatepost.core.errors import Exit, OperatorError

BACKLOG = 1024
PUBLIC_WEB = "public_web"

Place = tuple[str, int]  # address and port


class Service(StrEnum):
    """Who serves a socket: the workers, or the desk."""

    MAIL = "mail"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One listener of a configuration, or its public port: its name and where it listens."""

    name: str
    address: str
    port: int
    service: Service = Service.MAIL

    @property
    def place(self) -> Place:
        return self.address, self.port

    @property
    def label(self) -> str:
        """The label under which the descriptor travels."""
        who = f"{self.name} " if self.service is Service.WEB else ""
        return f"{who}{self.address} {self.port}"


def endpoints(document: Mapping[str, Any]) -> list[Endpoint]:
    """What a document in its JSON form listens on. Raises OperatorError for a listener on an unknown interface."""
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
    if (web := document.get("public_web")) is not None:
        address = web.get("address") or addresses.get(web.get("interface", ""))
        if address is None:
            raise OperatorError(
                f"public_web.interface: there is no interface {web.get('interface')!r}",
                code=Exit.FAULTY_CONFIGURATION,
            )
        found.append(Endpoint(PUBLIC_WEB, str(address), int(web.get("port", HTTPS_PORT)), Service.WEB))
    return found


class ChallengeKind(StrEnum):
    """The ACME challenges that are answered on a port of ours."""

    HTTP = "http-01"
    TLS_ALPN = "tls-alpn-01"


def challenge_endpoints(document: Mapping[str, Any], kind: ChallengeKind) -> list[Endpoint]:
    """Where a challenge is answered, by a document in its JSON form."""
    acme = document.get("acme") or {}
    key, default = ("http_port", HTTP_PORT) if kind is ChallengeKind.HTTP else ("tls_port", TLS_PORT)
    interfaces = {entry["name"]: str(entry["address"]) for entry in document.get("interfaces") or ()}
    listening = (listener["interface"] for listener in document.get("listeners") or ())
    addresses = answering_addresses(interfaces, acme.get("interface"), listening)
    return [
        Endpoint(f"the challenge {kind}", address, int(acme.get(key) or default)) for address in addresses
    ]


def bind_challenge(document: Mapping[str, Any], kind: ChallengeKind) -> dict[str, socket.socket]:
    """Sockets for a challenge, by label; all or, when one cannot be bound, none (OperatorError).

    A machine without IPv6 answers on IPv4 alone, where the configuration names neither.
    """
    acme = document.get("acme") or {}
    if not (acme.get("directory") and acme.get("certificates")):
        raise OperatorError(
            "the configuration in force has no automatic certificates", "see acme.certificates"
        )
    wanted = challenge_endpoints(document, kind)
    found: dict[str, socket.socket] = {}
    for endpoint in wanted:
        try:
            found[f"{kind} {endpoint.label}"] = bind(endpoint, endpoint.name)
        except OperatorError:
            if endpoint.address == "::" and len(wanted) > 1 and not _has_ipv6():
                continue
            for listening in found.values():
                listening.close()
            raise
    return found


def _has_ipv6() -> bool:
    """This machine has the loopback address of IPv6, and so the protocol."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def bind(endpoint: Endpoint, who: str = "") -> socket.socket:
    """A socket that listens at the endpoint, non-blocking. Raises OperatorError that says why it cannot.

    `who` wants it: the listener, unless somebody else is named.
    """
    who = who or f"the listener {endpoint.name}"
    version = ipaddress.ip_address(endpoint.address).version
    listening = None
    try:
        listening = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(endpoint.place)
        listening.listen(BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise OperatorError(
            f"{who} cannot use {endpoint.address} port {endpoint.port}: {error.strerror}",
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
                    known = bind(endpoint, "" if endpoint.service is Service.MAIL else endpoint.name)
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

    def descriptors(self, plan: Plan | None = None, *, service: Service = Service.MAIL) -> dict[str, int]:
        """Label and descriptor of each socket of a service: of those in use, or of a plan's new ones.

        One that the plan takes over from the other service is new to those that it goes to.
        """
        if plan is None:
            return {
                one.label: self._open[one.place].fileno() for one in self.endpoints if one.service is service
            }
        known = {one.place for one in self.endpoints if one.service is service}
        return {
            one.label: plan.sockets[one.place].fileno()
            for one in plan.endpoints
            if one.service is service and (one.place in plan.opened or one.place not in known)
        }

    def close(self) -> None:
        """Close all: the supervisor's copies must go too before a connection is refused."""
        for listening in self._open.values():
            listening.close()
        self._open, self.endpoints = {}, []


def endpoint_json(wanted: Iterable[Endpoint]) -> list[dict[str, Any]]:
    """The endpoints as the worker role gets them: those of mail."""
    return [
        {"name": endpoint.name, "address": endpoint.address, "port": endpoint.port, "label": endpoint.label}
        for endpoint in wanted
        if endpoint.service is Service.MAIL
    ]
