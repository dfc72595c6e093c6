"""explain: what would become of mail for a domain, and why; explain.live calls its hosts as well.

The tree is made by one worker of the running gateway, which has what a delivery has: resolver, trusted roots, keys. On a stopped gateway
the configuration's branch is made here by the same code, and the others are missing.

A candidate goes to the worker as a payload without any key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.control.ops.draft import Draft, draft_of, today
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller, Gateway
from gatepost.core.errors import Exit, OperatorError
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.probe.explain import explain, recipient_domain
from gatepost.probe.explain_rules import Tables
from gatepost.store.payload import sealed_payload
from gatepost.wire.smtp_syntax import SyntaxFault

STOPPED = "the gateway is not running: what DNS says, DNSSEC, policies of recipients and the plan of each host are known to a running one only"


async def look(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The tree without calls."""
    domain, draft = recipient(arguments), _draft(context, arguments, caller)
    requiretls = arguments.flag("requiretls")
    if context.gateway is None:
        return _offline(context, domain, draft, requiretls=requiretls)
    return await _ask(context, context.gateway, domain, draft, live=False, requiretls=requiretls)


async def live(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The tree with calls. The audit says whom it was about, and what came of it."""
    domain, draft = recipient(arguments), _draft(context, arguments, caller)
    found = await explain_live(context, domain, draft, requiretls=arguments.flag("requiretls"))
    hosts = found["delivery"]["hosts"]
    called = sum(_called(address["call"]) for host in hosts for address in host["addresses"])
    result = found["delivery"]["result"]["result"]
    return {**found, "said": f"{domain}: {result}, {called} address{'' if called == 1 else 'es'} called"}


async def explain_live(
    context: Context, domain: str, draft: Draft, *, requiretls: bool = False
) -> dict[str, Any]:
    """The tree with calls, of what is in force or of a candidate. Raises OperatorError where no gateway runs."""
    if context.gateway is None:
        raise OperatorError(
            "calling hosts (--live) and DNSSEC need the running gateway",
            "start it with `gatepost start`; `gatepost explain` without --live explains the configuration on a stopped one too",
            code=Exit.NOT_RUNNING,
        )
    return await _ask(context, context.gateway, domain, draft, live=True, requiretls=requiretls)


def _called(call: Mapping[str, Any] | None) -> bool:
    """Something was sent to this address; one that the plan forbids is not called."""
    return call is not None and any(one["source"] or one["broken"] for one in call["connections"])


def recipient(arguments: Arguments) -> str:
    """The recipient domain that was named, normalised. Raises OperatorError."""
    text = arguments.text("domain")
    try:
        return recipient_domain(text)
    except SyntaxFault as fault:
        raise OperatorError(
            f"{text!r} is no recipient: {fault.reply.lines[0].lower()}",
            "name a domain, an address user@domain, or an address literal such as [192.0.2.1]",
            code=Exit.USAGE,
        ) from None


def _draft(context: Context, arguments: Arguments, caller: Caller) -> Draft:
    """What is to be explained: the version in force, or the caller's candidate."""
    if arguments.flag("pending"):
        return draft_of(context, caller)
    version = current(context)
    return Draft(version.number, version.content, False)


def _offline(context: Context, domain: str, draft: Draft, *, requiretls: bool) -> dict[str, Any]:
    document = load_plain(dict(draft.content.document))
    tables = Tables(document, compile_destinations(document), compile_routes(document), today(context))
    version, pending = draft.base, draft.pending
    tree = explain(tables, domain, version=version, pending=pending, notes=(STOPPED,), requiretls=requiretls)
    return tree.document()


async def _ask(
    context: Context, gateway: Gateway, domain: str, draft: Draft, *, live: bool, requiretls: bool
) -> dict[str, Any]:
    args: dict[str, Any] = {"domain": domain, "live": live, "requiretls": requiretls}
    if draft.pending:
        args |= candidate_payload(context, draft)
    found: dict[str, Any] = await ask_one(gateway, "explain", args)
    return found


async def ask_one(gateway: Gateway, kind: str, args: Mapping[str, Any]) -> Any:
    """The answer of one worker that runs."""
    workers = (await gateway.status())["workers"]
    index = next((one["index"] for one in workers if one["state"] == "running"), None)
    if index is None:
        raise OperatorError("no worker is running", "try again in a moment", code=Exit.TRY_AGAIN)
    (answer,) = await gateway.ask_workers(kind, args, index)
    if answer.error:
        raise OperatorError(answer.error, "try again", code=Exit.TRY_AGAIN)
    return answer.result


def candidate_payload(context: Context, draft: Draft) -> dict[str, Any]:
    """The candidate as a worker can build it, and whether its client certificate is the one in force."""
    content, latest = draft.content, current(context).content
    payload = sealed_payload(context.store, content, draft.base, "", "")
    profiles = {name: {"chains": one["chains"]} for name, one in payload["profiles"].items()}
    name = _client(load_plain(dict(content.document)))
    same = (
        name == _client(load_plain(dict(latest.document)))
        and content.profiles.get(name) == latest.profiles.get(name)
        and name in content.profiles
    )
    return {"payload": {**payload, "profiles": profiles}, "same_certificate": same}


def _client(document: Document) -> str:
    return document.destination_controls.global_.certificate


OPERATIONS = (
    operation("explain", look, "domain pending requiretls"),
    operation("explain.live", live, "domain pending requiretls", calls=True),
)
