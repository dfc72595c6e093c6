"""tlsverify and daneverify: what `explain --live` found under a level that verifies, boiled down to steps and one answer.

Nothing is decided here a second time: the hosts were called by the delivery's own steps under a rule that demands verification, each verdict is
`judge_tls`'s, and these functions read the tree. A step that fails ends its address. What could not be told (no answer, a look-up that failed, no name
server that is believed) is neither a success nor a failure.

A host is verified when one of its addresses was and none failed; a domain, when each of its hosts is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gatepost.probe.tree import Node

Tree = Mapping[str, Any]


class Kind(StrEnum):
    TLS = "tls"
    DANE = "dane"


class Result(StrEnum):
    VERIFIED = "verified"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One step: mx, address, tlsa, connect, starttls, tls, chain, name, match or verdict; `result` is ok, failed or unknown."""

    step: str
    result: str
    text: str


@dataclass(frozen=True, slots=True)
class AddressSteps(Node):
    """One address that was called."""

    address: str
    port: int
    result: Result
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class HostSteps(Node):
    """One host: what was looked up for it, then its addresses. `reason` says why it is not verified."""

    host: str
    result: Result
    reason: str
    steps: tuple[Step, ...]
    addresses: tuple[AddressSteps, ...]


@dataclass(frozen=True, slots=True)
class Verification(Node):
    """The answer for a domain. `level` is the one that was tried; `reason` says why it is not verified."""

    domain: str
    kind: Kind
    level: str
    result: Result
    reason: str
    hosts: tuple[HostSteps, ...]
    notes: tuple[str, ...]


def verification(kind: Kind, level: str, found: Tree) -> Verification:
    """The answer from the tree of `explain --live` (its JSON form)."""
    delivery = found["delivery"]
    hosts = tuple(_host(kind, host, delivery["look_ups"]) for host in delivery["hosts"])
    result, reason = _together((one.result, f"{one.host}: {one.reason}") for one in hosts)
    if not hosts:
        outcome = delivery["result"]
        result = Result.FAILED if outcome["result"] == "bounce" else Result.UNKNOWN
        reason = outcome["failure"]
    return Verification(found["domain"], kind, level, result, reason, hosts, tuple(found["notes"]))


def _together(parts: Iterable[tuple[Result, str]]) -> tuple[Result, str]:
    """The worst, with its reason: a failure before what is not known, and that before a success."""
    found = list(parts)
    for result in (Result.FAILED, Result.UNKNOWN):
        for one, reason in found:
            if one is result:
                return one, reason
    return (Result.VERIFIED, "") if found else (Result.UNKNOWN, "no address was called")


def _host(kind: Kind, host: Tree, look_ups: Sequence[Tree]) -> HostSteps:
    steps = tuple(_looked_up(kind, host, look_ups))
    if host["plan"]["forbidden"]:
        state = host["tlsa"]["state"] if host["tlsa"] is not None else ""
        result = Result.UNKNOWN if state in ("failed", "unavailable") else Result.FAILED
        return HostSteps(host["host"], result, host["plan"]["forbidden"], steps, ())
    addresses = tuple(_address(host, one) for one in host["addresses"])
    known = [one for one in addresses if one.result is not Result.UNKNOWN]
    # A host that cannot be reached at one of its addresses is known by the others.
    result, reason = _together((one.result, one.steps[-1].text) for one in known or addresses)
    return HostSteps(host["host"], result, reason, steps, addresses)


# --- what was looked up -----------------------------------------------------------------------------------------


def _looked_up(kind: Kind, host: Tree, look_ups: Sequence[Tree]) -> Iterator[Step]:
    name = host["host"]
    if kind is Kind.TLS:
        return
    if host["source"] in ("mx", "domain"):
        signed = host["mx_signed"]
        what = f"MX record of {name}" if host["source"] == "mx" else f"no MX record, so {name} itself"
        yield Step("mx", _ok(signed), f"{what}: {_secure(signed)}")
    for one in look_ups:
        if one["kind"] == "A/AAAA" and one["name"] == name:
            text = f"{', '.join(one['values']) or one['detail'] or one['status']}: {_secure(one['secure'])}"
            yield Step("address", _ok(one["secure"]), f"address of {name}: {text}")
    if host["tlsa"] is not None:
        yield _tlsa(host["tlsa"])


def _tlsa(tlsa: Tree) -> Step:
    if tlsa["state"] != "found":
        result = "unknown" if tlsa["state"] in ("failed", "unavailable") else "failed"
        return Step("tlsa", result, f"TLSA records: {tlsa['detail'] or tlsa['state']}")
    usable = [one for one in tlsa["records"] if not one["unusable"]]
    count = f"{len(usable)} usable of {len(tlsa['records'])}"
    return Step("tlsa", _ok(bool(usable)), f"TLSA records of {tlsa['base']}: secure, {count}")


def _secure(signed: bool) -> str:
    return "secure" if signed else "insecure"


def _ok(passed: bool) -> str:
    return "ok" if passed else "failed"


# --- what the host showed ---------------------------------------------------------------------------------------


def _address(host: Tree, address: Tree) -> AddressSteps:
    call = address["call"]
    steps = list(_steps(host, address, call)) if call is not None else []
    verdict = _verdict(call)
    result, text = verdict if verdict is not None else (Result.UNKNOWN, _why_unknown(call))
    word = {Result.VERIFIED: "ok", Result.FAILED: "failed", Result.UNKNOWN: "unknown"}[result]
    steps.append(Step("verdict", word, text))
    return AddressSteps(address["address"], address["port"], result, tuple(steps))


def _verdict(call: Tree | None) -> tuple[Result, str] | None:
    """What `judge_tls` said of the last connection; None where it was never asked."""
    if call is None or call["skipped"] or not call["connections"]:
        return None
    outcome = call["connections"][-1]["outcome"]
    if outcome is None:
        return None
    verified = outcome["verdict"] == "verified"
    return (Result.VERIFIED if verified else Result.FAILED), outcome["reason"] or outcome["verdict"]


def _why_unknown(call: Tree | None) -> str:
    if call is None:
        return "it was not called"
    return call["skipped"] or call["failure"] or "it could not be told"


def _steps(host: Tree, address: Tree, call: Tree) -> Iterator[Step]:
    for one in call["connections"]:
        where = f"{address['address']} port {address['port']}"
        if not one["source"]:
            yield Step("connect", "unknown", f"no connection to {where}: {one['broken']}")
            continue
        yield Step("connect", "ok", f"connected to {where} from {one['source']}")
        if one["starttls"]:
            yield Step("starttls", _ok(one["starttls"].startswith("220")), f"STARTTLS: {one['starttls']}")
        elif one["hello"]:
            yield Step("starttls", "failed", f"no STARTTLS: {one['hello']}")
        if one["session"] is not None:
            yield from _session(host, one["session"])


def _session(host: Tree, session: Tree) -> Iterator[Step]:
    group = f", {session['group']}" if session["group"] else ""
    yield Step("tls", "ok", f"TLS established: {session['protocol']}, {session['cipher']}{group}")
    if host["plan"]["dane"] is not None and host["plan"]["dane"]["records"]:
        match = session["dane_match"]
        yield Step("match", _ok(bool(match)), f"TLSA match: {match or session['dane_problem']}")
        return
    chain = session["chain"]
    trust = "it leads to a trusted authority" if chain["trusted"] else chain["problem"]
    yield Step("chain", _ok(chain["trusted"]), f"certificate chain: {trust}")
    matched = [name for name in session["names"] if name["matched"]]
    for name in matched:
        yield Step("name", "ok", f"name {name['name']}: matches {name['matched']}")
    if not matched:
        tried = ", ".join(name["name"] for name in session["names"]) or "there is none to match"
        yield Step("name", "failed", f"name: no match for {tried}")
