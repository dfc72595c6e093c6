"""Which part of the configuration uses which certificate profile (R1, R13 to R18).

A profile that is used anywhere here is not deleted, and its page says where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatepost.config.defaults import DEMO
from gatepost.config.links import LINKS
from gatepost.config.public_web import POLICY_HOST
from gatepost.config.sni import WILDCARD
from gatepost.config.values import Fault, parse_host_name


@dataclass(frozen=True, slots=True)
class Use:
    """One place that names a profile, or takes the default one by leaving the name out.

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
        if (https := interface.get("https")) is not None:
            path = f"interfaces[{index}].https.certificate"
            yield Use(https.get("certificate", DEMO), path, f"https of {interface['name']}", host)
    for index, listener in enumerate(document.get("listeners") or ()):
        host = hosts.get(listener.get("interface", ""), "")
        yield from _listener(f"listeners[{index}]", listener, host)
    settings = (document.get("destination_controls") or {}).get("global") or {}
    yield Use(settings.get("certificate", DEMO), "destination_controls.global.certificate", "delivery")
    for index, policy in enumerate(document.get("mta_sts_policies") or ()):
        path = f"mta_sts_policies[{index}].certificate"
        what = f"MTA-STS policy of {policy['domain']}"
        yield Use(policy.get("certificate", DEMO), path, what, _host(policy["domain"], POLICY_HOST))
    for index, taker in enumerate((document.get("tls_reports_received") or {}).get("https") or ()):
        path = f"tls_reports_received.https[{index}].certificate"
        what = f"TLS reports at {taker['host']}"
        yield Use(taker.get("certificate", DEMO), path, what, _host(taker["host"]))
    for link in LINKS:
        if name := (document.get(link) or {}).get("certificate"):
            yield Use(name, f"{link}.certificate", link.replace("_", " "))


def _host(name: str, before: str = "") -> str:
    """A name of the public port, as it is compared; a document may be one that was never checked."""
    try:
        return before + parse_host_name(name)
    except Fault:
        return ""


def _listener(path: str, listener: Mapping[str, Any], host: str) -> Iterator[Use]:
    """Its first certificate, and those for names. A wildcard is no name that a certificate could carry as it is."""
    what = f"listener {listener['name']}"
    yield Use(listener.get("certificate", DEMO), f"{path}.certificate", what, host)
    for number, entry in enumerate(listener.get("sni") or ()):
        name = entry["name"]
        carried = "" if name.startswith(WILDCARD) else name
        yield Use(entry["certificate"], f"{path}.sni[{number}].certificate", f"{what} for {name}", carried)
