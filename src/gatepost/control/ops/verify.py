"""tlsverify and daneverify: the hosts of a domain called as a delivery calls them, under a rule that demands verification.

They are views of `explain.live`. The rule is put in as a destination entry of a candidate that nobody keeps: what is in force for the domain, with the level
(`required-verify`, or `required-verify-hosted` where that is the domain's own) or with `dane: mandatory`. So the worker looks up, plans, calls and judges
as a delivery would after such a commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.config.load import load_plain
from gatepost.config.outbound import Dane
from gatepost.control.ops.draft import Draft, today
from gatepost.control.ops.explain import explain_live, recipient
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.tls import TlsLevel
from gatepost.policy.outbound import compile_destinations, settings_of
from gatepost.probe.verify import Kind, verification


async def tls(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The certificates of the hosts, by the authorities and the names."""
    return await _verify(context, arguments, Kind.TLS)


async def dane(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The certificates of the hosts, by their TLSA records."""
    return await _verify(context, arguments, Kind.DANE)


async def _verify(context: Context, arguments: Arguments, kind: Kind) -> dict[str, Any]:
    domain = recipient(arguments)
    if domain.startswith("["):
        raise OperatorError(
            f"{domain} is an address, and nothing is published or certified for a domain there",
            "name a domain; `gatepost explain --live` takes addresses too",
            code=Exit.USAGE,
        )
    version = current(context)
    document = load_plain(dict(version.content.document))
    rule = compile_destinations(document).find(domain, today(context))
    level = rule.level if rule.level.verification_mandatory else TlsLevel.REQUIRED_VERIFY
    if arguments.flag("hosted"):
        level = TlsLevel.REQUIRED_VERIFY_HOSTED
    entry = {one.key: one.value for one in settings_of(document, rule)} | {"domain": domain}
    if kind is Kind.TLS:
        entry |= {"tls": level.value}
    else:
        level = TlsLevel.REQUIRED
        entry |= {"tls": level.value, "dane": Dane.MANDATORY.value, "mta_sts": False}
    content = replace(version.content, document=_with_entry(version.content.document, entry))
    found = await explain_live(context, domain, Draft(version.number, content, True))
    made = verification(kind, level.value, found)
    return {**made.document(), "said": f"{domain}: {made.result.value}"}


def _with_entry(document: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The document with this entry before all others of the domain."""
    controls = dict(document.get("destination_controls") or {})
    others = [one for one in controls.get("destinations", ()) if not one.get("monitor")]
    return {**document, "destination_controls": {**controls, "destinations": [dict(entry), *others]}}


OPERATIONS = (
    operation("tlsverify", tls, "domain hosted", calls=True),
    operation("daneverify", dane, "domain", calls=True),
)
