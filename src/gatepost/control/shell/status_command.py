"""`gatepost status`"""

from __future__ import annotations

from typing import Any

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import (
    duration,
    facts,
    local,
    note,
    plural,
    problem_line,
    safe,
    say,
    say_json,
    table,
)


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
    _say_queue(found)
    _say_troubles(found)


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
    if found["warnings"]:
        say()
        say("Warnings")
        for warning in found["warnings"]:
            say(f"  {problem_line(warning)}")
