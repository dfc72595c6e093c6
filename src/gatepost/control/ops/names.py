"""cert.names: the name check (R10) of the version in force, or of the caller's candidate before it is committed."""

from __future__ import annotations

import asyncio
from typing import Any

from gatepost.certs.mx_lookup import Lookup, MxDomain, look_up
from gatepost.certs.name_check import (
    SYSTEM_SENTENCE,
    ListenerNames,
    NameCheck,
    OutboundNames,
    Shown,
    accepted_domains,
    check_names,
    leads_here,
)
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.control.ops.draft import draft_of
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.resolver import Resolver
from gatepost.pki.errors import PkiError
from gatepost.pki.names import PresentedNames
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content

TRY_SECONDS = (1.0, 2.0)  # of one name server; the whole has a deadline of its own


async def names(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The three names of every listener, or of those that show the certificate `name`."""
    pending, profile = arguments.flag("pending"), arguments.text("name", "")
    content = draft_of(context, caller).content if pending else current(context).content
    if profile and profile not in content.profiles:
        known = ", ".join(sorted(content.profiles))
        raise OperatorError(f"there is no certificate named {profile}", f"there are {known}")
    document = load_plain(content.document)
    domains = accepted_domains(document, profile)
    offline = arguments.flag("offline")
    looked = await _look_up(document, domains) if domains and not offline else await look_up(domains, None)
    presented = await asyncio.to_thread(_presented, context, content, document)
    found = check_names(document, presented, looked, profile)
    return {
        "pending": pending,
        "looked_up": bool(domains) and not offline,
        **_check_document(found, looked),
    }


async def _look_up(document: Document, domains: tuple[str, ...]) -> dict[str, MxDomain]:
    """With a resolver of this call's own: what the configuration that is looked at says, and nothing remembered."""
    servers = tuple(parse_name_server(text) for text in document.dns.servers)
    client = DnsClient(servers or system_name_servers(), try_seconds=TRY_SECONDS)
    resolver = Resolver(asyncio.get_running_loop(), client)
    lookup: Lookup = resolver
    try:
        return await look_up(domains, lookup)
    finally:
        await resolver.close()


def _presented(context: Context, content: Content, document: Document) -> dict[str, list[PresentedNames]]:
    """The names of every certificate that is shown somewhere."""
    wanted = {document.destination_controls.global_.certificate}
    for listener in document.listeners:
        wanted |= {listener.certificate, *(entry.certificate for entry in listener.sni)}
    found = {}
    for name in wanted & content.profiles.keys():
        stored = context.store.profile(content.profiles[name])
        try:
            if stored is not None:
                pairs = Profile.from_document(dict(stored.record)).pairs
                found[name] = [pair.leaf.names for pair in pairs]
        except PkiError:
            continue  # it is shown as one that cannot be read
    return found


# --- the JSON form --------------------------------------------------------------------------------------


def _check_document(found: NameCheck, looked: dict[str, MxDomain]) -> dict[str, Any]:
    return {
        "listeners": [_listener(one) for one in found.listeners],
        "outbound": _outbound(found.outbound) if found.outbound is not None else None,
        "system": {"hostname": found.system, "text": SYSTEM_SENTENCE},
    }


def _listener(one: ListenerNames) -> dict[str, Any]:
    return {
        "listener": one.listener,
        "type": one.type,
        "interface": one.interface,
        "address": one.address,
        "interface_host": one.host,
        "interface_host_is_the_systems": not one.own_host,
        "certificates": [_shown(shown) for shown in one.certificates],
        "mx": [_domain(one, domain) for domain in one.domains],
        "leads_here": list(one.here),
        "by_name_only": one.by_name,
        "verdict": one.verdict.value,
        "differs": list(one.differs),
        "findings": [note.document() for note in one.notes],
    }


def _shown(shown: Shown) -> dict[str, Any]:
    return {"certificate": shown.profile, "sni": shown.sni, "names": list(shown.names)}


def _domain(one: ListenerNames, domain: MxDomain) -> dict[str, Any]:
    hosts = [
        {
            "host": host.host,
            "preference": host.preference,
            "addresses": [str(address) for address in host.addresses],
            "status": host.known.value,
            "implicit": host.implicit,
            "leads_here": leads_here(one, host),
        }
        for host in domain.hosts
    ]
    return {"domain": domain.domain, "status": domain.known.value, "detail": domain.detail, "hosts": hosts}


def _outbound(outbound: OutboundNames) -> dict[str, Any]:
    return {
        "certificates": [_shown(outbound.certificate)],
        "automatic": outbound.automatic,
        "interfaces": [{"interface": name, "host": host} for name, host in outbound.interfaces],
        "verdict": outbound.verdict.value,
        "findings": [note.document() for note in outbound.notes],
    }


OPERATIONS = (operation("cert.names", names, "name pending offline"),)
