"""`gatepost tlsrpt …`: the TLS reports that we send, and those that come in about our domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import facts, local, paragraph, plural, safe, say, say_json, table
from gatepost.control.shell.tlsrpt_received_commands import add
from gatepost.core.errors import Exit

DayOption = Annotated[str, typer.Option("--day", metavar="D", help="A day of UTC, as 2026-11-24.")]


def make() -> typer.Typer:
    """The group."""
    app = group("tlsrpt", "Reports about TLS: to the domains that we send mail to, and about our own.")
    app.command("list")(list_days)
    app.command("show")(show)
    app.command("send")(send)
    add(app)
    return app


def list_days(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="One domain; else all of them.")] = "",
    day: DayOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show each day and domain: sessions, failures, and what became of the report."""
    found = Client(home).call("tlsrpt.list", day=day, domain=domain)
    if as_json:
        say_json(found)
        return
    if not found["days"]:
        say("No sessions were counted.")
    else:
        _say_days(found["days"])
    if not found["send"]:
        say("TLS reports are off: set tls_reports.send to count sessions and send them.")


def show(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain that the report is for.")],
    day: DayOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the newest report, or that of a day: as it went out, or as it would now."""
    found = Client(home).call("tlsrpt.show", domain=domain, day=day)
    if as_json:
        say_json(found["report"])
        return
    report = found["report"]
    facts(
        (
            ("Domain", found["domain"]),
            ("Day", found["day"]),
            ("Report", report["report-id"] if found["made"] else "not made yet"),
            ("State", _state(found)),
        )
    )
    for one in found["destinations"]:
        _say_destination(one)
    for row in report["policies"]:
        say()
        _say_policy(row)


def send(
    domain: Annotated[str, typer.Argument(metavar="[DOMAIN]", help="One domain; else all of the day.")] = "",
    day: DayOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Send the reports of a day (yesterday, unless one is named) now, again if they went already."""
    found = Client(home).call_running("tlsrpt.send", domain=domain, day=day)
    if as_json:
        say_json(found["days"])
    else:
        _say_days(found["days"])
        for row in found["days"]:
            for one in row["destinations"]:
                _say_destination(one)
    if any(_failed(row) for row in found["days"]):
        raise typer.Exit(Exit.REFUSED)


def _failed(row: Mapping[str, Any]) -> bool:
    unsent = any(one["state"] != "sent" for one in row["destinations"])
    return unsent or row["state"] in ("failed", "unknown")


def _say_days(rows: list[Mapping[str, Any]]) -> None:
    table(
        ("Day", "Domain", "Sessions", "Failed", "Report"),
        [(row["day"], row["domain"], row["sessions"], row["failed"], _state(row)) for row in rows],
    )


def _state(row: Mapping[str, Any]) -> str:
    """What became of a day's report, in a few words."""
    sent = sum(one["state"] == "sent" for one in row["destinations"])
    waiting = sum(one["state"] == "waiting" for one in row["destinations"])
    failed = len(row["destinations"]) - sent - waiting
    parts = [
        f"{word} {count}"
        for word, count in (("sent to", sent), ("waits for", waiting), ("not taken by", failed))
        if count
    ]
    if row["state"] == "reported":
        return ", ".join(parts)
    text = {"counted": f"due {local(row['due'])}"}.get(row["state"], row["state"])
    detail = f": {row['detail']}" if row["detail"] and row["state"] != "no record" else ""
    early = f"; {', '.join(parts)} before its end" if parts else ""
    return f"{text}{detail}{early}"


def _say_destination(one: Mapping[str, Any]) -> None:
    detail = f", {one['detail']}" if one["detail"] else ""
    again = f"; next try {local(one['next_try'])}" if one["next_try"] else ""
    paragraph("  ", f"{one['uri']}: {one['state']}{detail}{again}")


def _say_policy(row: Mapping[str, Any]) -> None:
    policy, summary = row["policy"], row["summary"]
    good, bad = summary["total-successful-session-count"], summary["total-failure-session-count"]
    say(
        safe(
            f"{policy['policy-type']} of {policy['policy-domain']}: {plural(good + bad, 'session')}, {bad} failed"
        )
    )
    for text in policy.get("policy-string", ()):
        paragraph("    ", text)
    for one in row.get("failure-details", ()):
        where = one.get("receiving-mx-hostname") or one.get("receiving-ip") or ""
        why = one.get("failure-reason-code", "")
        line = f"{one['failed-session-count']} {one['result-type']}"
        paragraph("  ", line + (f" at {where}" if where else "") + (f": {why}" if why else ""))
