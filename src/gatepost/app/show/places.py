"""Which ports the show uses, and the route to its sink: pure, on the document in its plain form.

A listener keeps its port where it is free; a taken one is replaced by the next free one. The route of `ALL` leads
to the sink, so nothing that is sent to this gateway leaves the machine; other routes stay as they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SINK_ADDRESS = "127.0.0.1"
SINK_PORT = 2526
LAST_PORT = 65_535

IsFree = Callable[[str, int], bool]


class NoPort(Exception):
    """No port from here on is free on that address."""


@dataclass(slots=True)
class Ports:
    """Ports that were chosen, each for one user; what had to move is in `moved` as (name, wanted, found)."""

    is_free: IsFree
    chosen: set[tuple[str, int]] = field(default_factory=set)
    moved: list[tuple[str, int, int]] = field(default_factory=list)

    def choose(self, name: str, address: str, wanted: int) -> int:
        """`wanted` or the next free port behind it. Raises NoPort."""
        for port in range(wanted, LAST_PORT + 1):
            place = (address, port)
            if place not in self.chosen and self.is_free(address, port):
                self.chosen.add(place)
                if port != wanted:
                    self.moved.append((name, wanted, port))
                return port
        raise NoPort(f"no port from {wanted} on is free on {address}")


def placed(document: Mapping[str, Any], ports: Ports) -> dict[str, Any]:
    """The document with free ports for its listeners. Raises NoPort."""
    addresses = {entry["name"]: str(entry["address"]) for entry in document.get("interfaces") or ()}
    listeners = []
    for listener in document.get("listeners") or ():
        address = addresses.get(listener["interface"], "")
        port = ports.choose(listener["name"], address, int(listener["port"]))
        listeners.append({**listener, "port": port})
    return {**document, "listeners": listeners}


def routed(document: Mapping[str, Any], sink_port: int) -> dict[str, Any]:
    """The document with the route of `ALL` to the sink, behind all other routes."""
    others = [route for route in document.get("smtp_routes") or () if route["domain"].upper() != "ALL"]
    route = {"domain": "ALL", "hosts": [f"{SINK_ADDRESS}:{sink_port}"]}
    return {**document, "smtp_routes": [*others, route]}


@dataclass(frozen=True, slots=True)
class Door:
    """Where a message from outside goes in: a public listener with STARTTLS, and a recipient that it takes."""

    listener: str
    address: str
    port: int
    recipient: str


def front_door(document: Mapping[str, Any]) -> Door | None:
    """The first public listener with STARTTLS; None where the document has none."""
    addresses = {entry["name"]: str(entry["address"]) for entry in document.get("interfaces") or ()}
    for listener in document.get("listeners") or ():
        if listener.get("type", "public") != "public" or listener.get("tls", "starttls") != "starttls":
            continue
        host = (document.get("system") or {}).get("hostname", "localhost")
        recipient = _recipient(listener.get("recipient_access") or (), str(host))
        return Door(listener["name"], addresses[listener["interface"]], listener["port"], recipient)
    return None


def _recipient(rules: Any, host: str) -> str:
    """An address that the RAT takes, as far as its first accepting row says one."""
    for rule in rules:
        text = str(rule["recipient"])
        if rule["action"] != "accept" or text.startswith("."):
            continue
        if text.upper() == "ALL":
            return f"postmaster@{host}"
        local, at, domain = text.rpartition("@")
        if domain:
            return f"{local or 'postmaster'}@{domain}"
        if at:
            return f"{local}@{host}"
    return f"postmaster@{host}"
