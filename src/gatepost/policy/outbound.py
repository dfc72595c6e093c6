"""The outgoing tables, compiled from a checked document: destination controls and smtp routes.

What an entry of the destination controls leaves out it takes from the default entry, as the appliance does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from gatepost.config.hosts import parse_route_host
from gatepost.config.model import Document
from gatepost.config.outbound import ClientCertificate, Destination, DestinationDefault, InsecureNames
from gatepost.config.values import limit_number
from gatepost.policy.destinations import DEFAULT_PATH, DestinationEntry, DestinationRule, DestinationTable
from gatepost.policy.route import Route, Routes


def compile_destinations(document: Document) -> DestinationTable:
    """The destination table; paths are those that `config check` shows."""
    controls = document.destination_controls
    default = _rule(controls.default, {}, "", DEFAULT_PATH)
    entries = []
    for index, item in enumerate(controls.destinations):
        given = {key: value for key, value in item if value is not None}
        entries.append(
            DestinationEntry(_rule(controls.default, given, item.domain, _path(index)), item.until)
        )
    return DestinationTable(default, entries)


def _path(index: int) -> str:
    return f"destination_controls.destinations[{index}]"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that holds for a domain, as it is written; `path` is where it stands, empty for the product's own default."""

    key: str
    value: str | int | bool
    path: str


def settings_of(document: Document, rule: DestinationRule) -> tuple[Setting, ...]:
    """Where each setting of a rule comes from: its entry, the default entry, or nowhere."""
    controls = document.destination_controls
    entry = entry_of(document, rule)
    found = []
    for key in DestinationDefault.model_fields:
        own = getattr(entry, key, None)
        if own is not None:
            value, path = own, f"{rule.path}.{key}"
        else:
            written = key in controls.default.model_fields_set
            value, path = getattr(controls.default, key), f"{DEFAULT_PATH}.{key}" if written else ""
        found.append(Setting(key, value.value if isinstance(value, Enum) else value, path))
    return tuple(found)


def entry_of(document: Document, rule: DestinationRule) -> Destination | None:
    """The entry that a rule was compiled from; None for the default."""
    entries = enumerate(document.destination_controls.destinations)
    return next((entry for index, entry in entries if _path(index) == rule.path), None)


def _rule(default: DestinationDefault, given: dict[str, Any], domain: str, path: str) -> DestinationRule:
    def value(key: str) -> Any:
        return given.get(key, getattr(default, key))

    clear_after = value("preferred_clear_after")
    return DestinationRule(
        level=value("tls"),
        domain=domain,
        path=path,
        insecure_names=value("insecure_names") is InsecureNames.ALLOW,
        client_certificate=value("client_certificate") is ClientCertificate.OFFER,
        max_connections=limit_number(value("max_connections")),
        max_messages_per_connection=limit_number(value("max_messages_per_connection")),
        bounce_profile=value("bounce_profile"),
        preferred_clear_after=clear_after if isinstance(clear_after, int) else None,
        dane=value("dane"),
        mta_sts=value("mta_sts"),
    )


def compile_routes(document: Document) -> Routes:
    """The smtp routes."""
    return Routes(
        Route(route.domain, tuple(parse_route_host(host) for host in route.hosts), f"smtp_routes[{index}]")
        for index, route in enumerate(document.smtp_routes)
    )
