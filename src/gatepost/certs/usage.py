"""Which part of the configuration uses which certificate profile (R1, R13 to R15)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Use:
    """One place that names a profile.

    `path` is the configuration path, `what` the same for people; `host` is the name that the certificate must carry
    there for peers that verify it, or empty (R10).
    """

    certificate: str
    path: str
    what: str
    host: str = ""


def uses(document: Mapping[str, Any]) -> Iterator[Use]:
    """Every use of a certificate in a document in its written form, in the document's order."""
    system = str((document.get("system") or {}).get("hostname", ""))
    hosts: dict[str, str] = {}
    for index, interface in enumerate(document.get("interfaces") or ()):
        host = hosts[interface["name"]] = interface.get("hostname") or system
        https = interface.get("https") or {}
        if name := https.get("certificate"):
            path = f"interfaces[{index}].https.certificate"
            yield Use(name, path, f"https of {interface['name']}", host)
    for index, listener in enumerate(document.get("listeners") or ()):
        if name := listener.get("certificate"):
            host = hosts.get(listener.get("interface", ""), "")
            yield Use(name, f"listeners[{index}].certificate", f"listener {listener['name']}", host)
    settings = (document.get("destination_controls") or {}).get("global") or {}
    if name := settings.get("certificate"):
        yield Use(name, "destination_controls.global.certificate", "delivery")
