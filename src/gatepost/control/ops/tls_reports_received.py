"""tlsrpt.import, tlsrpt.received and tlsrpt.received.show: TLS reports about our domains (RFC 8460), and what our own records say of them.

A report tells what senders saw. Beside each failure stand our own sessions of that sender's address in that time: how many there were, how many
failed in the handshake and with what, since both ends rarely name one trouble in the same words. Whom a report is from is proven by a DKIM
signature, or is a claim; `dkim` says which, and why.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.config.values import Fault, parse_host_name
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ports import Caller
from gatepost.control.tls_reports_intake import DAY, Intake, NotKept
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.database import NewerForm
from gatepost.store.records import RecordsFailed, RecordStore, SessionRow
from gatepost.store.tls_reports_incoming import Came
from gatepost.store.tls_reports_received import (
    Proof,
    ReceivedReportStore,
    ReportRow,
    ReportsFailed,
)
from gatepost.wire.dkim_verify import DkimResult
from gatepost.wire.tlsrpt import FailureDetails, TlsReport, read_report, unpacked

JOB = "received-tls-reports"
MAX_SHOWN = 200  # failure details of one report
MAX_SESSIONS = 2_000  # of ours, looked at for one detail
MAX_LISTED = 1_000
SLACK = 300.0  # seconds by which two clocks may differ


async def take(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Import a report from a file."""
    content = arguments.data("file")
    if not content:
        raise OperatorError("the file is empty", "name the report's file", code=Exit.USAGE)
    intake = Intake(context.home, context.store, context.read, context.clock, context.emit)
    try:
        async with intake.look_ups() as keys:
            taken = await intake.take(content, Came("file", caller.name, context.clock.now()), keys)
    except NotKept as error:
        raise _unusable(error) from None
    word = "kept" if taken.new else "known already"
    return {**_listed(taken.row), "new": taken.new, "said": f"report {taken.row.number} {word}"}


async def received(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The reports of the last `days`, about all domains or one, the newest first."""
    await _look_now(context)
    domain = _domain(arguments.text("domain", ""))
    since = context.clock.now() - arguments.number("days", 14) * DAY
    rows = await asyncio.to_thread(_reports, context.home.received_tls_reports, since, domain)
    return [_listed(row, domain) for row in rows]


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One report, whole, with our own sessions beside its failures."""
    await _look_now(context)
    number = arguments.number("report")
    row = await asyncio.to_thread(_report, context.home.received_tls_reports, number)
    if row is None:
        raise OperatorError(f"there is no report {number}", "`gatepost tlsrpt received` lists them")
    return await asyncio.to_thread(_whole, row, context.home.records_db)


async def _look_now(context: Context) -> None:
    """What has come in and was not read yet is read first."""
    if context.gateway is not None:
        await context.gateway.look(JOB)


def _domain(text: str) -> str:
    try:
        return parse_host_name(text) if text else ""
    except Fault as fault:
        raise OperatorError(f"{text!r} {fault.text}", fault.hint, code=Exit.USAGE) from None


def _reports(folder: Path, since: float, domain: str) -> list[ReportRow]:
    if not ReceivedReportStore.there(folder):
        return []
    try:
        with ReceivedReportStore.open(folder) as store:
            return store.reports(since, domain, MAX_LISTED)
    except (ReportsFailed, NewerForm, OSError) as error:
        raise _unusable(error) from None


def _report(folder: Path, number: int) -> ReportRow | None:
    if not ReceivedReportStore.there(folder):
        return None
    try:
        with ReceivedReportStore.open(folder) as store:
            return store.report(number)
    except (ReportsFailed, NewerForm, OSError) as error:
        raise _unusable(error) from None


def _unusable(error: Exception) -> OperatorError:
    return OperatorError(
        f"the database of received reports cannot be used: {error}",
        "look at received-tls-reports/ in the home, and at the free space",
        code=Exit.TRY_AGAIN,
    )


# --- the JSON form --------------------------------------------------------------------------------------


def _listed(row: ReportRow, domain: str = "") -> dict[str, Any]:
    domains = [one for one in row.domains if domain in ("", one.domain)]
    failures: Counter[str] = Counter()
    for one in domains:
        failures.update(one.failures)
    return {
        "report": row.number,
        "day": f"{datetime.fromtimestamp(row.begin, UTC):%Y-%m-%d}",
        "begin": iso_time(row.begin),
        "end": iso_time(row.end),
        "organization": row.organization,
        "submitter": row.submitter,
        "submitter_verified": row.proof.verified,
        "dkim": _dkim(row.proof),
        "contact": row.contact,
        "report_id": row.report_id,
        "domains": [one.domain for one in domains],
        "successful": sum(one.successful for one in domains),
        "failed": sum(one.failed for one in domains),
        "failures": dict(failures.most_common()),
        "received": iso_time(row.at),
        "way": row.way,
        "origin": row.origin,
    }


def _dkim(proof: Proof) -> dict[str, Any]:
    return {
        "result": proof.result or DkimResult.NONE.value,
        "domain": proof.signer,
        "reason": proof.reason if proof.result else "it came before signatures were checked",
        "asked_again": iso_time(proof.due) if proof.due else "",
    }


def _whole(row: ReportRow, records: Path) -> dict[str, Any]:
    report = read_report(unpacked(row.content))
    own = _own_records(records)
    try:
        return {**_listed(row), **_policies(report, row, own)}
    finally:
        if own is not None:
            own.close()


def _own_records(path: Path) -> RecordStore | None:
    """Our records, where there are any that can be read."""
    try:
        return RecordStore.open_if_there(path)
    except (RecordsFailed, NewerForm):
        return None


def _policies(report: TlsReport, row: ReportRow, own: RecordStore | None) -> dict[str, Any]:
    left = MAX_SHOWN
    policies = []
    for result in report.policies:
        shown = result.details[:left]
        left -= len(shown)
        policies.append(
            {
                "type": result.policy.type,
                "domain": result.policy.domain,
                "policy": list(result.policy.strings),
                "mx_hosts": list(result.policy.mx_hosts),
                "successful": result.successful,
                "failed": result.failed,
                "failures": [_failure(detail, row, own) for detail in shown],
                "failures_left_out": len(result.details) - len(shown),
            }
        )
    first = own.reach().first if own is not None else 0.0
    return {"policies": policies, "own_records_since": iso_time(first) if first else ""}


def _failure(detail: FailureDetails, row: ReportRow, own: RecordStore | None) -> dict[str, Any]:
    return {
        "result": detail.result,
        "sessions": detail.sessions,
        "sending_ip": detail.sending_ip,
        "receiving_host": detail.receiving_host,
        "receiving_ip": detail.receiving_ip,
        "information": detail.information,
        "reason_code": detail.reason_code,
        "own": _own(detail.sending_ip, row, own),
    }


def _own(sender: str, row: ReportRow, own: RecordStore | None) -> dict[str, Any] | None:
    """What our records have of a sender's address in the time of a report; None where nothing can be said."""
    try:
        address = str(ipaddress.ip_address(sender))
    except ValueError:
        return None
    if own is None:
        return None
    sessions = own.sessions_of(address, row.begin - SLACK, row.end + SLACK, MAX_SESSIONS)
    return {
        "sessions": len(sessions),
        "tls": sum(bool(one.facts.get("protocol")) for one in sessions),
        "lost": sum(bool(one.facts.get("lost")) for one in sessions),
        "tls_failed": _failed(sessions),
    }


def _failed(sessions: Iterable[SessionRow]) -> list[dict[str, Any]]:
    """Handshakes that failed, by their error: how often, and which was the last."""
    found: dict[str, dict[str, Any]] = {}
    for one in sessions:
        if error := one.facts.get("tls_error"):
            before: Mapping[str, Any] = found.get(error, {"sessions": 0})
            found[error] = {
                "error": error,
                "sessions": before["sessions"] + 1,
                "last": iso_time(one.at),
                "icid": one.icid,
                "listener": one.listener,
            }
    return sorted(found.values(), key=lambda entry: -entry["sessions"])


OPERATIONS = (
    operation("tlsrpt.import", take, "file", calls=True),
    operation("tlsrpt.received", received, "domain days"),
    operation("tlsrpt.received.show", show, "report"),
)
