"""The outgoing tables, compiled from a checked document: destination controls and smtp routes.

What an entry of the destination controls leaves out it takes from the default entry, as the appliance does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from gatepost.config.hosts import parse_route_host
from gatepost.config.model import Document
from gatepost.config.outbound import (
    ClientCertificate,
    Dane,
    Destination,
    DestinationDefault,
    InsecureNames,
)
from gatepost.config.values import limit_number
from gatepost.core.tls import TlsLevel
from gatepost.policy.destinations import DEFAULT_PATH, DestinationEntry, DestinationRule, DestinationTable
from gatepost.policy.route import Route, Routes


def compile_destinations(document: Document) -> DestinationTable:
    """The destination table; paths are those that `config check` shows.

    Where the default entry is in monitor mode, what an entry leaves out is enforced as the default is enforced, and monitored as it is written.
    """
    controls = document.destination_controls
    written, enforced = controls.default, enforced_default(controls.default)
    default = _rule(enforced, {}, "", DEFAULT_PATH)
    if written.monitor:
        default = replace(default, monitored=_rule(written, {}, "", DEFAULT_PATH))
    entries = []
    for index, item in enumerate(controls.destinations):
        given = {key: value for key, value in item if value is not None}
        rule = own = _rule(written, given, item.domain, _path(index))
        if not item.monitor and written.monitor:
            rule = _rule(enforced, given, item.domain, _path(index))
            rule = rule if rule == own else replace(rule, monitored=own)
        entries.append(DestinationEntry(rule, item.until, item.monitor))
    return DestinationTable(default, entries)


def enforced_default(default: DestinationDefault) -> DestinationDefault:
    """The default entry as it is enforced: in monitor mode its TLS level, DANE and MTA-STS are not."""
    if not default.monitor:
        return default
    return default.model_copy(update={"tls": TlsLevel.PREFERRED, "dane": Dane.NONE, "mta_sts": False})


def _path(index: int) -> str:
    return f"destination_controls.destinations[{index}]"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that holds for a domain, as it is written; `path` is where it stands, empty for the product's own default."""

    key: str
    value: str | int | bool
    path: str


def settings_of(document: Document, rule: DestinationRule, *, monitored: bool = False) -> tuple[Setting, ...]:
    """Where each setting of a rule comes from: its entry, the default entry, or nowhere.

    `monitored` asks for the rule as it would be, were the default entry enforced.
    """
    default = document.destination_controls.default
    given = default if monitored else enforced_default(default)
    unenforced = {
        key for key in DestinationDefault.model_fields if getattr(default, key) != getattr(given, key)
    }
    entry = entry_of(document, rule)
    found = []
    for key in DestinationDefault.model_fields:
        own = getattr(entry, key, None)
        if key == "monitor":
            continue
        if own is not None:
            value, path = own, f"{rule.path}.{key}"
        else:
            written = key in default.model_fields_set and key not in unenforced
            value, path = getattr(given, key), f"{DEFAULT_PATH}.{key}" if written else ""
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
        bounce_tags=value("bounce_verification"),
        client_hello=value("client_hello"),
    )


def compile_routes(document: Document) -> Routes:
    """The smtp routes."""
    return Routes(
        Route(route.domain, tuple(parse_route_host(host) for host in route.hosts), f"smtp_routes[{index}]")
        for index, route in enumerate(document.smtp_routes)
    )
