"""Addresses of the zoo, all of them for documentation (RFC 5737), and who is where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.app.zoo.table.shape import Inhabitant

NAME_SERVER = "198.51.100.53"
WEB = "198.51.100.80"
NOBODY = "198.51.100.81"  # is there, and nothing listens
RESOLVER = "127.0.0.1"
CREDULOUS = "127.0.0.2"  # a resolver that validates nothing and says that it does
_FIRST_SERVER = 100  # of zones of their own: 198.51.100.100 and on
_FIRST_HOST = 10
_HOST_NETWORKS = ("203.0.113", "192.0.2")
_PER_NETWORK = 240


@dataclass(frozen=True, slots=True)
class Place:
    """Where one inhabitant is: the addresses of its hosts, in order, and of the name server of its own, if it has one."""

    hosts: tuple[str, ...]
    name_server: str = ""


def places(inhabitants: Sequence[Inhabitant]) -> dict[str, Place]:
    """By name; always the same for the same table."""
    made: dict[str, Place] = {}
    host = server = 0
    for one in inhabitants:
        addresses = tuple(_host(host + number) for number in range(len(one.hosts)))
        host += len(one.hosts)
        own = ""
        if one.zone.own:
            own = f"198.51.100.{_FIRST_SERVER + server}"
            server += 1
        made[one.name] = Place(addresses, own)
    return made


def _host(number: int) -> str:
    network, last = divmod(number, _PER_NETWORK)
    return f"{_HOST_NETWORKS[network]}.{_FIRST_HOST + last}"


def addresses(made: dict[str, Place]) -> list[str]:
    """Every address that has to exist in the zoo's network."""
    found = [NAME_SERVER, WEB, NOBODY]
    for place in made.values():
        found += [*place.hosts, *([place.name_server] if place.name_server else [])]
    return found
