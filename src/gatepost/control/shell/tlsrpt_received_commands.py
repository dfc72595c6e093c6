"""`gatepost tlsrpt import` and `gatepost tlsrpt received …`: TLS reports about our own domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.files import about, read_file
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import facts, local, paragraph, plural, safe, say, say_json, table
from gatepost.core.errors import Exit, OperatorError

SHOW = "show"
_TYPES = {"sts": "MTA-STS", "tlsa": "DANE", "no-policy-found": "no policy"}


def add(app: typer.Typer) -> None:
    """Put the commands into the group `tlsrpt`."""
    app.command("import")(import_)
    app.command("received")(received)


def import_(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The report (.json, .json.gz), or the mail that it came in; -."),
    ],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Keep a report about a domain of ours that came another way."""
    from base64 import b64encode

    data = read_file(file)
    with about(file):
        found = Client(home).call("tlsrpt.import", file=b64encode(data).decode("ascii"))
    if as_json:
        say_json({key: value for key, value in found.items() if key != "said"})
    elif found["new"]:
        paragraph(f"Report {found['report']} is kept: ", f"{_summary(found)}.")
        word = "verified" if found["submitter_verified"] else "not verified"
        paragraph("", f"Its submitter is {word}: {found['dkim']['reason']}.")
    else:
        say(f"Report {found['report']} was known already; nothing was changed.")


def received(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DOMAIN] | show ID", help="One domain; or one report, whole."),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", metavar="N", help="How far back, by the reports' days.")
    ] = 14,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the reports about our domains, or show one with what our own records say of its failures."""
    given = words or []
    if given[:1] == [SHOW]:
        _show(Client(home), _number(given[1:]), as_json)
        return
    if len(given) > 1:
        raise OperatorError(
            f"{given[1]!r} is one word too many", "name one domain, or `show ID`", code=Exit.USAGE
        )
    if days < 1:
        raise OperatorError("--days is a number from 1 on", code=Exit.USAGE)
    rows = Client(home).call("tlsrpt.received", domain=given[0] if given else "", days=days)
    if as_json:
        say_json(rows)
    else:
        _say_list(rows, days, given[0] if given else "")


def _number(words: Sequence[str]) -> int:
    if len(words) != 1 or not (words[0].isascii() and words[0].isdigit()):
        raise OperatorError(
            "a report is shown by its number", "`gatepost tlsrpt received` lists them", code=Exit.USAGE
        )
    return int(words[0][:18])


def _say_list(rows: Sequence[Mapping[str, Any]], days: int, domain: str) -> None:
    if not rows:
        about = f"{safe(domain)} in the last" if domain else "the last"
        say(f"No report about {about} {plural(days, 'day')} has come in.")
        return
    table(
        ("ID", "Day", "Domain", "From", "DKIM", "Failed", "Why"),
        [
            (
                row["report"],
                row["day"],
                _first(row["domains"]),
                (row["organization"] or row["submitter"] or "-")[:20],
                _proven(row),
                f"{row['failed']:,} of {row['successful'] + row['failed']:,}",
                _failures(row["failures"]),
            )
            for row in rows
        ],
    )
    if not all(row["submitter_verified"] for row in rows):
        say()
        say("DKIM no: whom a report is from is a mere claim. `received show ID` says why.")


def _proven(row: Mapping[str, Any]) -> str:
    if row["submitter_verified"]:
        return "yes"
    return "wait" if row["dkim"]["asked_again"] else "no"


def _first(domains: Sequence[str]) -> str:
    return f"{domains[0]} and {len(domains) - 1} more" if len(domains) > 1 else domains[0]


def _failures(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'no type'} {count:,}" for name, count in found.items()) or "-"


def _summary(row: Mapping[str, Any]) -> str:
    sessions = plural(row["successful"] + row["failed"], "session")
    who = row["organization"] or row["submitter"] or "nobody named"
    return f"{who} about {_first(row['domains'])}, {row['day']}, {sessions}, {row['failed']:,} failed"


def _show(client: Client, number: int, as_json: bool) -> None:
    found = client.call("tlsrpt.received.show", report=number)
    if as_json:
        say_json(found)
        return
    came = f"{local(found['received'])} by {found['way']} from {found['origin'] or '<>'}"
    facts(
        (
            ("Report", f"{found['report']}, {found['report_id'] or 'without an id'}"),
            ("From", f"{found['organization'] or 'nobody named'} ({_verified(found)})"),
            ("Submitter", found["submitter"]),
            ("DKIM", _dkim(found["dkim"])),
            ("Contact", found["contact"]),
            ("Time", f"{found['begin']} to {found['end']}"),
            ("Came", came),
            ("Sessions", f"{found['successful'] + found['failed']:,}, {found['failed']:,} failed"),
        )
    )
    for policy in found["policies"]:
        _say_policy(policy)
    if any(policy["failed"] for policy in found["policies"]):
        _say_reach(found["own_records_since"])


def _verified(found: Mapping[str, Any]) -> str:
    if found["submitter_verified"]:
        return f"verified: {found['dkim']['domain']}"
    return "submitter not verified"


def _dkim(found: Mapping[str, Any]) -> str:
    again = f"; asked again at {local(found['asked_again'])}" if found["asked_again"] else ""
    return f"{found['result']}: {found['reason']}{again}"


def _say_policy(policy: Mapping[str, Any]) -> None:
    say()
    kind = _TYPES.get(policy["type"], policy["type"] or "unknown policy")
    say(
        safe(
            f"{policy['domain'] or 'no domain'}, {kind}: {policy['successful']:,} well, {policy['failed']:,} failed"
        )
    )
    for line in policy["policy"][:10]:
        say(safe(f"    {line}"))
    if policy["mx_hosts"]:
        paragraph("  MX: ", ", ".join(policy["mx_hosts"][:10]))
    for failure in policy["failures"]:
        _say_failure(failure)
    if policy["failures_left_out"]:
        say(f"  … and {plural(policy['failures_left_out'], 'further kind')} of failure (--json has 200)")


def _say_failure(failure: Mapping[str, Any]) -> None:
    said = [failure["result"] or "no type", plural(failure["sessions"], "session")]
    if failure["sending_ip"]:
        said.append(f"from {failure['sending_ip']}")
    where = " ".join(filter(None, (failure["receiving_host"], failure["receiving_ip"])))
    if where:
        said.append(f"to {where}")
    paragraph("  failed: ", ", ".join(said))
    more = " ".join(filter(None, (failure["reason_code"], failure["information"])))
    if more:
        paragraph("    said: ", more)
    own = failure["own"]
    if own is None:
        return
    if not own["sessions"]:
        paragraph("    ours: ", "no session of this address in that time is in our records")
        return
    paragraph(
        "    ours: ",
        f"{plural(own['sessions'], 'session')} of this address, {own['tls']:,} with TLS, {own['lost']:,} lost",
    )
    for error in own["tls_failed"]:
        paragraph(
            "      handshake failed: ",
            f"{error['sessions']:,} times, last {error['last']} (ICID {error['icid']}, {error['listener']}): {error['error']}",
        )


def _say_reach(since: str) -> None:
    say()
    if since:
        say(f"Our own records begin {local(since)}.")
    else:
        say("There are no records of our own sessions (records.days).")
