"""reputation: what the DNS lists say of an address now, its score, and which group of each listener would take it.

The lists are asked anew by the code that asks them for a session, and so is the address's host name, since groups may name hosts. So
the answer is the same whether a gateway runs or not; only what a worker remembers of an earlier look-up may differ for a while.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any

from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.control.ops.draft import draft_of
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.address import IPAddress
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.dns_answer import HostName, NoName, PtrAnswer, Undetermined
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.hosts_file import read_hosts
from gatepost.net.resolver import Resolver
from gatepost.policy.admit import ListenerRules, admit
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.hat import NameState, NoScore, PeerName, Score, plain_address
from gatepost.policy.reputation import NOT_ENABLED, ListAnswer, ScoreRules, Standing, compile_scores
from gatepost.relay.reputation import SenderScores


async def look(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The standing of one address under the version in force, or under the caller's candidate."""
    address = _address(arguments.text("address"))
    content, pending = current(context).content, False
    if arguments.flag("pending"):
        draft = draft_of(context, caller)
        content, pending = draft.content, draft.pending
    document = load_plain(dict(content.document))
    scores = compile_scores(document)
    host, standing = await _asked(document, scores, address)
    return {
        "address": str(address),
        "pending": pending,
        "enabled": scores.asked,
        "score": None if isinstance(standing.score, NoScore) else standing.score,
        "note": standing.note or _why_nobody_is_asked(scores),
        "host": host.name if isinstance(host, HostName) else "",
        "host_note": _host_note(document, host),
        "lists": [_list_row(one) for one in standing.answers],
        "listeners": [
            _listener_row(rules, address, _name(host), standing.score)
            for rules in compile_rules(document).listeners.values()
        ],
    }


def _address(text: str) -> IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise OperatorError(
            f"{text!r} is no IP address", "for example 192.0.2.7 or 2001:db8::7", code=Exit.USAGE
        ) from None
    return plain_address(address)


async def _asked(
    document: Document, scores: ScoreRules, address: IPAddress
) -> tuple[PtrAnswer | None, Standing]:
    """The host name, None where names are not looked up, and the standing."""
    servers = tuple(parse_name_server(text) for text in document.dns.servers) or system_name_servers()
    resolver = Resolver(asyncio.get_running_loop(), DnsClient(servers), hosts=read_hosts())
    senders = SenderScores()
    try:
        standing = senders.standing(resolver, scores, address) if scores.asked else _nobody()
        name = resolver.ptr_confirmed(address) if document.dns.reverse else _nothing()
        host, found = await asyncio.gather(name, standing)
        return host, found
    finally:
        await senders.close()
        await resolver.close()


async def _nobody() -> Standing:
    return NOT_ENABLED


async def _nothing() -> PtrAnswer | None:
    return None


def _name(host: PtrAnswer | None) -> PeerName:
    if isinstance(host, HostName):
        return host.name
    return NameState.UNDETERMINED if isinstance(host, Undetermined) else NameState.NONE


def _why_nobody_is_asked(scores: ScoreRules) -> str:
    if scores.asked:
        return ""
    return "no listener has an entry sbrs[...]" if scores.lists else "reputation.lists names no list"


def _host_note(document: Document, host: PtrAnswer | None) -> str:
    match host:
        case NoName(claimed=claimed):
            return f"{claimed} is not confirmed" if claimed else "has no name"
        case Undetermined(reason=reason):
            return f"could not be looked up: {reason}"
        case None:
            return "names are not looked up (dns.reverse)"
    return ""


def _list_row(one: ListAnswer) -> Mapping[str, Any]:
    return {
        "zone": one.zone,
        "said": one.said.value,
        "answers": list(one.answers),
        "weight": one.weight,
        "detail": one.detail,
    }


def _listener_row(
    rules: ListenerRules, address: IPAddress, name: PeerName, score: Score
) -> Mapping[str, Any]:
    admission = admit(rules, address, name, score)
    policy = next(
        (
            policy
            for group, policy in zip(rules.groups, rules.policies, strict=True)
            if group == admission.group
        ),
        None,
    )
    return {
        "listener": rules.name,
        "action": admission.action.value,
        "group": admission.group,
        "match": admission.match,
        "policy": policy.name if policy is not None else "",
        "noted": list(admission.noted),
    }


OPERATIONS = (operation("reputation", look, "address pending"),)
