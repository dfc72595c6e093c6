"""status: how the gateway is, as one object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from gatepost import __version__
from gatepost.certs.expiry import Watch, summary
from gatepost.certs.times import iso_time
from gatepost.control.ops.draft import problem_document, warnings_of
from gatepost.control.ops.proof import proof_status
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.store.config_store import ConfigStore, Version
from gatepost.store.database import NewerForm
from gatepost.store.name_servers import name_servers
from gatepost.store.records import RecordsFailed, RecordStore

_QUEUE = ("messages", "held", "destinations", "deliveries", "sessions")


async def status(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Processes, listeners, queue, counters, the version in force, and what is to be warned about."""
    gateway = context.running()
    processes = dict(await gateway.status())
    answers = await gateway.ask_workers("status", {})
    told = {answer.worker: answer.result for answer in answers if not answer.error}
    version = current(context)
    return {
        "gatepost": __version__,
        "serial": context.home.serial(),
        "started": iso_time(processes["started"]),
        "uptime": max(0, int(context.clock.now() - processes["started"])),
        "stopping": bool(processes.get("stopping")),
        "configuration": {
            "version": processes["version"],
            "time": iso_time(version.at),
            "author": version.author,
            "comment": version.comment,
        },
        "workers": [_worker(row, told.get(row["index"])) for row in processes["workers"]],
        "desk": _process(processes["desk"]),
        "certificates": await asyncio.to_thread(_certificates, context, version),
        "proof": proof_status(context.store),
        "name_servers": _name_servers(context.store),
        "records": await asyncio.to_thread(_records, context),
        "listeners": _listeners(processes["listeners"], version.content.document),
        "public_web": [dict(row) for row in processes.get("public_web", ())],
        "queue": {key: _sum(told.values(), key) for key in _QUEUE},
        "counters": _counters(told.values()),
        "spool": _spool(told.values()),
        "problems": [answer.error for answer in answers if answer.error],
        "warnings": [problem_document(problem) for problem in warnings_of(context, version)],
    }


def _certificates(context: Context, version: Version) -> dict[str, Any]:
    """How many of what is in use expire soon or have expired, and what comes first."""
    items = Watch(context.store).items(version.content, only_used=True)
    return summary(items, context.clock.now())


def _name_servers(store: ConfigStore) -> list[dict[str, Any]]:
    """Which of them is believed about DNSSEC; none where no destination asks for DANE."""
    return [
        {
            "server": one.server,
            "believed": one.believed,
            "reason": one.reason,
            "since": iso_time(one.since),
            "tried": iso_time(one.tried),
        }
        for one in name_servers(store)
    ]


def _records(context: Context) -> dict[str, Any]:
    """How far the records of deliveries and sessions reach; `problem` where they cannot be read."""
    found = {"deliveries": 0, "connections": 0, "sessions": 0, "from": "", "to": "", "problem": ""}
    try:
        store = RecordStore.open_if_there(context.home.records_db)
        if store is None:
            return found
        with closing(store):
            reach = store.reach()
    except (RecordsFailed, NewerForm) as error:
        return {**found, "problem": f"records.db cannot be read: {error}"}
    return {
        "deliveries": reach.deliveries,
        "connections": reach.connections,
        "sessions": reach.sessions,
        "from": iso_time(reach.first) if reach.first else "",
        "to": iso_time(reach.last) if reach.last else "",
        "problem": "",
    }


def _process(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "started": iso_time(row["started"])} if row.get("started") else dict(row)


def _worker(row: Mapping[str, Any], told: Mapping[str, Any] | None) -> dict[str, Any]:
    mine = {key: told[key] for key in ("version", *_QUEUE)} if told is not None else {}
    return {**_process(row), **mine}


def _listeners(rows: Iterable[Mapping[str, Any]], document: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {listener["name"]: listener for listener in document.get("listeners") or ()}
    keys = ("type", "tls", "certificate")
    return [{**row, **{key: known.get(row["name"], {}).get(key, "") for key in keys}} for row in rows]


def _sum(told: Iterable[Mapping[str, Any]], key: str) -> int:
    return sum(int(one[key]) for one in told)


def _counters(told: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The workers' counters since each of them started, added up."""
    total: dict[str, int] = {}
    for one in told:
        for name, value in one["counters"].items():
            total[name] = total.get(name, 0) + value
    return total


def _spool(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is wrong with the spool, if anything is."""
    told = list(told)
    failed = [
        {"shard": shard["shard"], "reason": shard["failed"]}
        for one in told
        for shard in one["spool"]["shards"]
        if shard["failed"]
    ]
    aside = [shard for one in told for shard in one["spool"]["set_aside"]]
    return {"failed": failed, "set_aside": aside}


OPERATIONS = (operation("status", status),)
