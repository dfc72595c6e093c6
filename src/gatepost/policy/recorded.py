"""What a delivery knew of a host, as plain values for records, and back: the same values that `plan_tls` was asked with.

`tls_words.tls_record` is the judgement; what stands here is what came before it. Whoever replays a delivery under another rule makes
`HopNames`, `TlsaAnswer` and the MTA-STS policy of a record again. Not asked is another thing than asked and nothing found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gatepost.core.reasons import Reason
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.reference_names import HopNames
from gatepost.wire.mta_sts import StsPolicy, read_policy

NOT_ASKED = "not-asked"


def plain_names(names: HopNames) -> dict[str, Any]:
    """The names that led to a host."""
    return asdict(names)


def names_of(plain: Mapping[str, Any]) -> HopNames:
    """Back again. Raises TypeError for what was never made by `plain_names`."""
    return HopNames(**plain)


def plain_tlsa(answer: TlsaAnswer | None) -> dict[str, Any]:
    """What was learnt of a host's TLSA records; None: nobody asked."""
    if answer is None:
        return {"state": NOT_ASKED, "base": "", "records": [], "problem": ""}
    return {
        "state": answer.state.value,
        "base": answer.base,
        "records": [record.text() for record in answer.records],
        "problem": answer.detail,
    }


def tlsa_of(plain: Mapping[str, Any]) -> TlsaAnswer | None:
    """Back again; None where nobody asked. Raises ValueError and KeyError for what was never made by `plain_tlsa`."""
    if plain["state"] == NOT_ASKED:
        return None
    records = tuple(_record(text) for text in plain["records"])
    return TlsaAnswer(TlsaState(plain["state"]), records, plain["base"], plain["problem"])


def _record(text: str) -> Tlsa:
    usage, selector, matching, data = text.split(" ")
    return Tlsa(int(usage), int(selector), int(matching), bytes.fromhex(data))


def plain_sts(
    domain: str, policy: StsPolicy | None, identifier: str, problem: Reason | None
) -> dict[str, Any]:
    """The MTA-STS policy of a domain that was asked for; `policy` None: it has none that counts."""
    return {
        "domain": domain,
        "mode": policy.mode.value if policy is not None else "",
        "id": identifier,
        "policy": policy_lines(policy) if policy is not None else [],
        "problem": problem.text if problem is not None else "",
        "problem_code": problem.code.value if problem is not None else "",
    }


def policy_lines(policy: StsPolicy) -> list[str]:
    """The lines of a policy's file (RFC 8461 §3.2)."""
    hosts = [f"mx: {host}" for host in policy.hosts]
    return ["version: STSv1", f"mode: {policy.mode.value}", *hosts, f"max_age: {policy.max_age}"]


def sts_of(plain: Mapping[str, Any]) -> tuple[str, StsPolicy] | None:
    """Back again; None where the domain has no policy. Raises ValueError and KeyError for what `plain_sts` never made."""
    if not plain["policy"]:
        return None
    return str(plain["domain"]), read_policy("\n".join(plain["policy"]).encode())
