"""tlsrpt.list, .show, .send: the TLS reports that we send (RFC 8460): how each day of each domain stands, its report, and sending it now.

The sums are those of the desk's job (`app.tls_report_job`); before they are shown the job has a look at the log, so that they are of this moment.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.config.load import load_plain
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.control.tls_reporter import JOB, reporter_of
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Exit, OperatorError
from gatepost.policy.tls_report import day_before, day_of, midnight
from gatepost.policy.tls_report_day import day_report
from gatepost.store.tls_report_rows import Sending, SendingState, State, Sum
from gatepost.store.tls_reports import TlsReportStore
from gatepost.wire.tlsrpt import read_report, report_object, unpacked

LOOK_SECONDS = 30.0
SEND_SECONDS = 200.0  # a command gives up at 300


async def list_days(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Every day and domain, newest first: sessions, failures, and what became of the report."""
    day, domain = _day(context, arguments, ""), _domain(arguments, optional=True)
    await _look(context, LOOK_SECONDS)
    rows: list[Sum] = []
    if context.home.tls_reports_db.exists():
        with TlsReportStore.open(context.home.tls_reports_db) as sums:
            rows = sums.overview(day, domain)
    return {"send": _switched_on(context), "days": [_row(row) for row in rows]}


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The report of a day for a domain, the newest unless one is named: as it went out, or as it would now."""
    domain = _domain(arguments)
    day = _day(context, arguments, "")
    await _look(context, LOOK_SECONDS)
    if not context.home.tls_reports_db.exists():
        raise _nothing_counted(context, day, domain)
    with TlsReportStore.open(context.home.tls_reports_db) as sums:
        found = sums.overview(day, domain)
        if not found:
            raise _nothing_counted(context, day, domain)
        day = found[0].standing.day
        body, results = sums.last_body(day, domain), sums.results(day, domain)
    if body is not None:
        report = read_report(unpacked(body))
    else:
        reporter = reporter_of(load_plain(current(context).content.document), context.home.serial())
        now = context.clock.now()
        report = day_report(reporter, day, domain, results, now if day == day_of(now) else None).report
    return {**_row(found[0]), "made": body is not None, "report": report_object(report)}


async def send(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Send the reports of a day now, of all its domains or of one; what went out already goes again."""
    gateway = context.running()
    if not _switched_on(context):
        raise OperatorError(
            "TLS reports are off, and nothing is counted", "set tls_reports.send in the configuration"
        )
    domain = _domain(arguments, optional=True)
    day = _day(context, arguments, day_before(day_of(context.clock.now())))
    await _look(context, LOOK_SECONDS)
    with TlsReportStore.open(context.home.tls_reports_db) as sums:
        if not sums.ask(day, domain):
            raise _nothing_counted(context, day, domain)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await gateway.look(JOB)
        except TimeoutError:
            pass  # what is left goes on by itself, and the rows say so
        rows = [_row(row) for row in sums.overview(day, domain)]
    return {"day": day, "days": rows, "said": f"{len(rows)} of {day}"}


async def _look(context: Context, seconds: float) -> None:
    """Let the job count what the log has; a stopped gateway shows what was counted before it stopped."""
    if context.gateway is not None and _switched_on(context):
        try:
            async with asyncio.timeout(seconds):
                await context.gateway.look(JOB)
        except TimeoutError:
            pass


def _switched_on(context: Context) -> bool:
    return bool((current(context).content.document.get("tls_reports") or {}).get("send"))


def _day(context: Context, arguments: Arguments, default: str) -> str:
    text = arguments.text("day", "") or default
    try:
        if text and midnight(text) > context.clock.now():
            raise OperatorError(f"{text} is not there yet", "days are those of UTC", code=Exit.USAGE)
    except ValueError:
        raise OperatorError(
            f"{text!r} is no day", "write it as 2026-11-24; days are those of UTC", code=Exit.USAGE
        ) from None
    return text


def _domain(arguments: Arguments, *, optional: bool = False) -> str:
    text = arguments.text("domain", "" if optional else None)
    try:
        return normalise_domain(text) if text or not optional else ""
    except ValueError as error:
        raise OperatorError(f"{text!r} is no domain: {error}", code=Exit.USAGE) from None


def _nothing_counted(context: Context, day: str, domain: str) -> OperatorError:
    what = f"no session for {domain} was" if domain else "no sessions were"
    hint = "`gatepost tlsrpt list` shows what was"
    if not _switched_on(context):
        hint = "sessions are counted while tls_reports.send is true"
    return OperatorError(f"{what} counted" + (f" on {day}" if day else ""), hint)


# --- the JSON form ----------------------------------------------------------------------------------------


def _row(row: Sum) -> dict[str, Any]:
    standing = row.standing
    waits = standing.state in (State.COUNTED, State.UNKNOWN)
    return {
        "day": standing.day,
        "domain": standing.domain,
        "sessions": row.successful + row.failed,
        "failed": row.failed,
        "state": standing.state.value,
        "detail": standing.detail,
        "due": iso_time(standing.due) if waits else "",
        "destinations": [_destination(one) for one in row.sendings],
    }


def _destination(one: Sending) -> dict[str, Any]:
    return {
        "uri": one.uri,
        "state": one.state.value,
        "detail": one.detail,
        "tries": one.tries,
        "next_try": iso_time(one.due) if one.state is SendingState.WAITING else "",
    }


OPERATIONS = (
    operation("tlsrpt.list", list_days, "day domain"),
    operation("tlsrpt.show", show, "day domain"),
    operation("tlsrpt.send", send, "day domain", calls=True),
)
