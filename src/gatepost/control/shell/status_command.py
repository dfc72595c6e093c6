"""`gatepost status`"""

from __future__ import annotations

from typing import Any

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.proof_command import proof_line
from gatepost.control.shell.screen import (
    day,
    duration,
    facts,
    local,
    note,
    paragraph,
    plural,
    problem_line,
    safe,
    say,
    say_json,
    table,
)

_STATES = (("expiring", "expiring soon"), ("expired", "expired"))


def status(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show how the running gateway is."""
    found = Client(home).call_running("status")
    if as_json:
        say_json(found)
        return
    configuration = found["configuration"]
    comment = f": {configuration['comment']}" if configuration["comment"] else ""
    facts(
        (
            ("Gatepost", found["gatepost"] + (" (stopping)" if found["stopping"] else "")),
            ("Up", f"{duration(found['uptime'])}, since {local(found['started'])}"),
            (
                "Configuration",
                f"version {configuration['version']} by {configuration['author']}, "
                f"{local(configuration['time'])}{comment}",
            ),
            ("Certificates", _certificates(found["certificates"])),
            ("On the wire", proof_line(found["proof"])),
            ("Records", _records(found["records"])),
            *(("Name server", _name_server(one)) for one in found["name_servers"]),
        )
    )
    _say_processes(found)
    say()
    table(
        ("Listener", "Address", "Type", "TLS", "Certificate"),
        [
            (row["name"], _endpoint(row), row["type"], row["tls"], row["certificate"])
            for row in found["listeners"]
        ],
    )
    for row in found["public_web"]:
        say(f"Public port {_endpoint(row)} (HTTPS: `gatepost sts show`)")
    _say_queue(found)
    _say_troubles(found)


def _certificates(found: dict[str, Any]) -> str:
    """`3 in use, the first until 2027-04-01`, and what is wrong with them."""
    first = found["soonest"]
    if first is None:
        return "none in use"
    parts = [f"{found['used']:,} in use"]
    parts += [f"{found[state]:,} {words}" for state, words in _STATES if found[state]]
    until = "ended" if first["status"] == "expired" else "ends"
    return f"{', '.join(parts)}; {first['what']} {first['name']} {until} first, {day(first['not_after'])}"


def _records(found: dict[str, Any]) -> str:
    """`12 deliveries and 3 sessions since 2027-04-01 12:00`."""
    if found["problem"] or not found["from"]:
        return str(found["problem"]) or "none yet"
    deliveries, sessions = (
        plural(found["deliveries"], "delivery", "deliveries"),
        plural(found["sessions"], "session"),
    )
    return f"{deliveries} and {sessions} since {local(found['from'])}"


def _name_server(one: dict[str, Any]) -> str:
    """`127.0.0.1:53, believed about DNSSEC since 2027-04-01 12:00`, or why it is not."""
    state = "believed about DNSSEC"
    if not one["believed"]:
        state = f"not believed about DNSSEC: it {one['reason']}"
    return f"{one['server']}, {state}, since {local(one['since'])}"


def _say_processes(found: dict[str, Any]) -> None:
    rows = [
        (
            f"worker {worker['index']}",
            worker["pid"],
            worker["state"],
            worker["restarts"],
            worker.get("sessions", "-"),
            worker.get("deliveries", "-"),
            worker.get("messages", "-"),
        )
        for worker in found["workers"]
    ]
    desk = found["desk"]
    rows.append(("desk", desk["pid"], desk["state"], desk["restarts"], "", "", ""))
    say()
    table(("Process", "PID", "State", "Restarts", "Sessions", "Deliveries", "Queued"), rows)


def _endpoint(row: dict[str, Any]) -> str:
    address = f"[{row['address']}]" if ":" in row["address"] else row["address"]
    return f"{address}:{row['port']}"


def _say_queue(found: dict[str, Any]) -> None:
    queue, counters = found["queue"], found["counters"]
    say()
    facts(
        (
            (
                "Queue",
                f"{plural(queue['messages'], 'message')}, {queue['held']:,} held, "
                f"{plural(queue['destinations'], 'destination')}",
            ),
            (
                "In",
                f"{plural(counters.get('messages_accepted', 0), 'message')}, "
                f"{plural(counters.get('connections_in', 0), 'connection')}, "
                f"TLS {counters.get('tls_in', 0):,} ({counters.get('tls_in_failed', 0):,} failed)",
            ),
            (
                "Out",
                f"{counters.get('recipients_delivered', 0):,} delivered, "
                f"{counters.get('recipients_delayed', 0):,} delayed, "
                f"{counters.get('recipients_bounced', 0):,} bounced",
            ),
            (
                "",
                f"{plural(counters.get('connections_out', 0), 'connection')}, "
                f"TLS {counters.get('tls_out', 0):,} ({counters.get('tls_out_failed', 0):,} failed)",
            ),
        )
    )


def _say_troubles(found: dict[str, Any]) -> None:
    for shard in found["spool"]["failed"]:
        note(safe(f"spool shard {shard['shard']}: {shard['reason']}"))
    for number in found["spool"]["set_aside"]:
        note(f"spool shard {number}: could not be opened, its mail waits")
    for problem in found["problems"]:
        note(safe(problem))
    for item in found["certificates"]["telling"]:
        note(safe(f"{item['what']} {item['name']}: {_ending(item)}"))
    if found["warnings"]:
        say()
        say("Warnings")
        for warning in found["warnings"]:
            paragraph("  ", problem_line(warning))


def _ending(item: dict[str, Any]) -> str:
    days, rest = divmod(abs(item["seconds_left"]), 86_400)
    span = f"{days} day{'s' if days != 1 else ''}" if days else f"{rest // 3_600} h"
    ended = item["status"] == "expired"
    return (
        f"expired {span} ago, on {day(item['not_after'])}"
        if ended
        else f"expires in {span}, on {day(item['not_after'])}"
    )
