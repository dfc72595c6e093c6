"""dkim.*: keys that sign the gateway's own reports: made, listed, shown as the records to publish, compared with the DNS, deleted."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol

from gatepost.certs.dkim_vault import DkimKey, DkimVault, dkim_keys
from gatepost.certs.times import iso_time
from gatepost.config.load import load_plain
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.dns_answer import DnsAnswer
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.resolver import Resolver
from gatepost.pki.dkim import DkimKind
from gatepost.wire.dkim_record import KeyRecordFault, differences, read_key_record, remarks, zone_text

TRY_SECONDS = (1.0, 2.0)  # of one name server
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class TxtLookUp(Protocol):
    """The part of the resolver that is needed here."""

    async def txt(self, name: str) -> DnsAnswer[str]: ...


async def new(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make a key for a domain, and say what is to be published."""
    domain = _domain(arguments.text("domain"))
    try:
        kind = DkimKind(arguments.text("kind", DkimKind.RSA2048.value))
    except ValueError:
        known = " and ".join(kind.value for kind in DkimKind)
        raise OperatorError("there is no such kind of key", f"there are {known}", code=Exit.USAGE) from None
    wanted = arguments.text("selector", "").strip().lower()
    selector = _selector(wanted) if wanted else _free_selector(context, domain, kind)
    vault = DkimVault(context.store, context.keeper, context.clock)
    made = await vault.make(domain, selector, kind, reports_only=arguments.flag("reports_only"))
    return {**_row(made), "said": f"{made.record_name}"}


async def list_keys(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All keys, never their private halves."""
    return [_row(key) for key in dkim_keys(context.store)]


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The records of a domain's keys, or of one."""
    return [_row(key) for key in _keys(context, arguments)]


async def delete(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Forget one key for good."""
    (key,) = _keys(context, arguments)
    DkimVault(context.store, context.keeper, context.clock).forget(key)
    return {"domain": key.domain, "selector": key.selector, "said": key.record_name}


async def check(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Compare what the DNS publishes with the keys, now and with nothing remembered."""
    keys = _keys(context, arguments)
    dns = load_plain(current(context).content.document).dns
    servers = tuple(parse_name_server(text) for text in dns.servers)
    client = DnsClient(servers or system_name_servers(), try_seconds=TRY_SECONDS)
    resolver = Resolver(asyncio.get_running_loop(), client)
    try:
        return await asyncio.gather(*(_compared(key, resolver) for key in keys))
    finally:
        await resolver.close()


async def _compared(key: DkimKey, resolver: TxtLookUp) -> dict[str, Any]:
    answer = await resolver.txt(key.record_name)
    row = {"domain": key.domain, "selector": key.selector, "name": key.record_name}
    if answer.temporary:
        return {**row, "state": "no answer", "published": [], "problems": [answer.detail], "remarks": []}
    if not answer.found:
        return {**row, "state": "missing", "published": [], "problems": ["there is no record"], "remarks": []}
    problems, said = _problems(answer.values, key)
    state = "wrong" if problems else "good"
    return {**row, "state": state, "published": list(answer.values), "problems": problems, "remarks": said}


def _problems(texts: tuple[str, ...], key: DkimKey) -> tuple[list[str], list[str]]:
    """What is wrong with the published texts, and what is worth a word."""
    if len(texts) > 1:
        return [f"{len(texts)} records stand where one belongs"], []
    try:
        record = read_key_record(texts[0])
    except KeyRecordFault as fault:
        return [str(fault)], []
    found = differences(record, key.kind.record_type, key.public, reports_only=key.reports_only)
    return list(found), list(remarks(record))


def _keys(context: Context, arguments: Arguments) -> list[DkimKey]:
    """Those of the domain, of the selector where one is given. Raises OperatorError where there is none."""
    domain, selector = _domain(arguments.text("domain")), arguments.text("selector", "").strip().lower()
    found = [key for key in dkim_keys(context.store, domain) if selector in ("", key.selector)]
    if found:
        return found
    which = f"key of {domain} with the selector {selector}" if selector else f"key of {domain}"
    raise OperatorError(
        f"there is no {which}", f"`gatepost dkim new {domain}` makes one, `gatepost dkim list` shows all"
    )


def _row(key: DkimKey) -> dict[str, Any]:
    return {
        "domain": key.domain,
        "selector": key.selector,
        "kind": key.kind.value,
        "reports_only": key.reports_only,
        "made": iso_time(key.made),
        "name": key.record_name,
        "record": key.record,
        "zone": f"{key.record_name}. IN TXT {zone_text(key.record)}",
    }


def _domain(text: str) -> str:
    try:
        domain = normalise_domain(text.strip())
    except ValueError as error:
        raise OperatorError(f"{text!r} is no domain: {error}", code=Exit.USAGE) from None
    if not all(_LABEL.fullmatch(label.replace("_", "a")) for label in domain.split(".")):
        raise OperatorError(f"{text!r} is no domain", "for example example.net", code=Exit.USAGE)
    return domain


def _selector(text: str) -> str:
    if len(text) > 63 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise OperatorError(
            f"{text!r} is no selector", "use letters, digits and hyphens, for example gw1", code=Exit.USAGE
        )
    return text


def _free_selector(context: Context, domain: str, kind: DkimKind) -> str:
    """`gp-rsa-1`, or the next number."""
    taken = {key.selector for key in dkim_keys(context.store, domain)}
    number = 1
    while (name := f"gp-{kind.record_type}-{number}") in taken:
        number += 1
    return name


OPERATIONS = (
    operation("dkim.new", new, "domain selector kind reports_only", changes=True),
    operation("dkim.list", list_keys),
    operation("dkim.show", show, "domain selector"),
    operation("dkim.delete", delete, "domain selector", changes=True),
    operation("dkim.check", check, "domain selector", calls=True),
)
