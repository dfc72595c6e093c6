"""The host names that a certificate of this gateway should carry (R3, R10): those of the interfaces that listen or deliver.

They are offered for the common name of a new certificate, and when none of them is in it, that is said before it is made.
The system's own host name plays no part where every interface has a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.names import PresentedNames, match_names


@dataclass(frozen=True, slots=True)
class Host:
    """One host name and where it is shown: `listener IncomingMail`, `delivery`."""

    name: str
    where: tuple[str, ...]


def meant_hosts(document: Mapping[str, Any]) -> tuple[Host, ...]:
    """The host names of all listening and delivery interfaces, in the document's order, each once."""
    system = str((document.get("system") or {}).get("hostname", ""))
    interfaces = {item["name"]: item.get("hostname") or system for item in document.get("interfaces") or ()}
    found: dict[str, list[str]] = {}
    for listener in document.get("listeners") or ():
        host = interfaces.get(listener.get("interface", ""), "")
        found.setdefault(host, []).append(f"listener {listener['name']}")
    delivery = (document.get("delivery") or {}).get("interface", "auto")
    if delivery in interfaces:
        found.setdefault(interfaces[delivery], []).append("delivery")
    elif interfaces:
        found.setdefault(next(iter(interfaces.values())), []).append("delivery")
    return tuple(Host(name, tuple(where)) for name, where in found.items() if name)


def unmatched(hosts: Sequence[Host], names: Sequence[str]) -> str:
    """What to say when none of the names, a common name and alternative names, is one of the hosts; else empty."""
    presented = PresentedNames(tuple(name.lower() for name in names))
    references = [ReferenceName(host.name, NameSource.OPERATOR) for host in hosts]
    if not hosts or match_names(presented, references) is not None:
        return ""
    places = ", ".join(f"{host.name} ({', '.join(host.where)})" for host in hosts)
    return (
        f"none of its names is the host name of an interface that listens or delivers: {places}. "
        "Senders that verify the name will refuse it there"
    )
