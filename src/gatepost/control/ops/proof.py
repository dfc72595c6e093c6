"""cert.prove and cert.rollback-served: is what the configuration means on the wire, and back to what was (C41)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.certs.proof import Difference, Expectation, compare_one, fingerprints
from gatepost.certs.proof_record import load_record
from gatepost.certs.times import iso_time
from gatepost.control.ops.draft import Draft, Submission, submit
from gatepost.control.ops.proving import prove_now
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.certificate_events import CertificateRolledBack
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.served import Served
from gatepost.store.config_store import ConfigStore


async def prove(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Ask every listener of the running gateway what it shows, and compare it with what is meant. Changes nothing."""
    found = await prove_now(context.store, context.running())
    proof = found.proof
    return {
        "version": found.version.number,
        "fulfilled": proof.fulfilled,
        "listeners": proof.listeners,
        "handshakes": len(proof.expectations),
        "rows": [_row(one, answer) for one, answer in zip(proof.expectations, proof.answers, strict=True)],
        "differences": [_difference(one) for one in proof.differences],
        "silent": [{"worker": worker, "reason": reason} for worker, reason in found.silent.items()],
    }


def _row(one: Expectation, answer: Served) -> dict[str, Any]:
    difference = compare_one(one, answer)
    return {
        **_asked(one),
        "address": one.question.address,
        "port": one.question.port,
        "served": difference.served if difference is not None else _leaf(answer),
        "protocol": answer.protocol,
        "fulfilled": difference is None,
        "reason": difference.reason if difference is not None else "",
    }


def _leaf(answer: Served) -> str:
    return fingerprints(answer.chain[:1])[0] if answer.chain else ""


def _asked(one: Expectation) -> dict[str, Any]:
    return {
        "listener": one.listener,
        "sni": one.question.sni,
        "keys": one.question.accepts.value,
        "certificate": one.profile,
        "wanted": one.wanted,
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {
        **_asked(found.expectation),
        "worker": found.worker,
        "served": found.served,
        "reached": found.reached,
        "reason": found.reason,
    }


def proof_status(store: ConfigStore) -> dict[str, Any] | None:
    """The last proof for `status`; None before the first."""
    record = load_record(store)
    if record is None:
        return None
    return {
        "version": record.now.version,
        "time": iso_time(record.at),
        "fulfilled": record.fulfilled,
        "listeners": record.listeners,
        "handshakes": record.handshakes,
        "differences": list(record.differences),
    }


async def rollback_served(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Bring back revisions that were on the wire: those of `profiles` in version `to`, if `version` is still in force.

    Only the gateway itself does it, after a proof; an administrator restores a certificate by name.
    """
    if caller != Caller.gateway():
        raise OperatorError(
            "only the gateway itself does this",
            "`gatepost cert restore NAME VERSION` brings a certificate back",
        )
    broken, to = arguments.number("version"), arguments.number("to")
    latest, good = current(context), context.store.version(to)
    if latest.number != broken or good is None:
        raise OperatorError(
            f"version {broken} is not in force any more", "nothing was changed", code=Exit.TRY_AGAIN
        )
    back = _revisions(arguments.texts("profiles"), good.content.profiles, latest.content.profiles)
    content = replace(latest.content, profiles={**latest.content.profiles, **back})
    names = ", ".join(sorted(back))
    comment = f"bring back {names} of version {to}: not on the wire with version {broken}"
    answer = await submit(context, caller, Draft(broken, content, False), Submission(comment, False))
    reason = arguments.text("reason")
    context.emit(CertificateRolledBack(context.clock.now(), answer["version"], to, f"{names}: {reason}"))
    return answer


def _revisions(names: list[str], good: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    missing = [name for name in names if name not in good or name not in now]
    if missing or not names:
        raise OperatorError(f"there is nothing to bring back for {', '.join(missing) or 'no certificate'}")
    return {name: good[name] for name in names}


OPERATIONS = (
    operation("cert.prove", prove),
    operation("cert.rollback-served", rollback_served, "version to profiles reason", changes=True),
)
