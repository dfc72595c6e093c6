"""metrics: the counters of the gateway in the text form that Prometheus and its kin read (exposition format 0.0.4).

The workers count in plain integers; they are asked when somebody wants to know, which costs the mail path nothing. A worker that
was restarted counts from nothing again, as collectors expect of a counter. Names begin with `gatepost_`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatepost import __version__
from gatepost.certs.expiry import Item, Watch
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.policy.expiry import State, state

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: its name without the prefix, its type, what it is, and its samples."""

    name: str
    kind: str  # counter or gauge
    about: str
    samples: tuple[tuple[Labels, float], ...]


_COUNTED = {
    "connections_in": "Connections that were accepted.",
    "connections_out": "Delivery connections that were opened.",
    "messages_accepted": "Messages that were taken and are safe on disk.",
    "recipients_accepted": "Recipients of these messages.",
    "recipients_refused": "Recipients that were refused.",
    "recipients_delivered": "Recipients whose next host took the message.",
    "recipients_bounced": "Recipients that were given up.",
    "recipients_delayed": "Attempts that are to be repeated.",
    "auth_succeeded": "Clients that have proven who they are with SMTP AUTH.",
    "auth_failed": "Attempts of SMTP AUTH that failed, refused ones included.",
    "auth_locked": "Addresses and users that failed too often within an hour.",
    "tls_in": "TLS handshakes of clients that succeeded.",
    "tls_in_failed": "TLS handshakes of clients that failed.",
    "tls_out": "TLS handshakes with servers that succeeded.",
    "tls_out_failed": "TLS handshakes with servers that failed.",
}
_MONITORED = {
    "monitor_out": "Delivery connections that a destination entry in monitor mode was put to, by what it would have done.",
    "monitor_in": "Sessions that a mail flow policy in monitor mode was put to, by what it would have said; once for each reason.",
}
_WOULD = ("pass", "refuse", "untold")
_GAUGES = {
    "messages": "Messages in the queue.",
    "held": "Messages that are held.",
    "destinations": "Destinations with something waiting or a connection.",
    "deliveries": "Deliveries under way.",
    "sessions": "Sessions of clients.",
}
_CACHE = {
    "cache_hits": ("hits", "counter", "Questions that a cache had the answer to."),
    "cache_misses": ("misses", "counter", "Questions that it had not."),
    "cache_entries": ("size", "gauge", "Answers that it holds."),
    "cache_limit": ("limit", "gauge", "Answers that it holds at most; for a new one the oldest goes."),
}
_SHARD = {
    "commits": ("counter", "Transactions of the spool."),
    "changes": ("counter", "Changes in these transactions."),
    "slowest_commit": ("gauge", "Seconds of the slowest transaction so far."),
    "longest_wait": ("gauge", "Seconds that a change waited for its transaction, at most."),
    "wal_octets": ("gauge", "Octets in the write-ahead log."),
    "checkpoints": ("counter", "Checkpoints of the write-ahead log."),
}


async def metrics(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Everything that is counted, as text."""
    gateway = context.running()
    processes = await gateway.status()
    answers = await gateway.ask_workers("status", {})
    told = {answer.worker: answer.result for answer in answers if not answer.error}
    ends = await asyncio.to_thread(_ends, context)
    found = [
        *families(processes, told, context.clock.now()),
        *certificate_families(ends, context.clock.now()),
    ]
    return {"text": exposition(found)}


def _ends(context: Context) -> list[Item]:
    """What is in use and ends one day."""
    found = Watch(context.store).items(current(context).content, only_used=True)
    return [item for item in found if item.used]


def certificate_families(items: Sequence[Item], now: float) -> Iterator[Metric]:
    """How many certificates, authorities and lists in use are in which state, and when each ends."""
    states = [state(item.life, now) for item in items]
    counted = tuple(({"state": one.value}, float(states.count(one))) for one in State)
    yield Metric("certificates", "gauge", "What is in use and ends one day, by its state.", counted)
    ends = tuple(
        ({"what": item.what, "name": item.name, "sha256": item.fingerprint[:16]}, item.life.not_after)
        for item in items
    )
    yield Metric("certificate_not_after_seconds", "gauge", "When it ends, since the epoch.", ends)


def families(
    processes: Mapping[str, Any], told: Mapping[int, Mapping[str, Any]], now: float
) -> Iterator[Metric]:
    """The metrics of the supervisor's account of the processes and the workers' own answers."""
    yield _one("info", "gauge", "The release that runs.", 1, {"version": __version__})
    yield _one("configuration_version", "gauge", "The version in force.", processes["version"])
    yield _one("uptime_seconds", "gauge", "Since the gateway started.", max(0.0, now - processes["started"]))
    workers = processes["workers"]
    yield _by_worker("worker_up", "gauge", "1 while the worker answers.", _ups(workers, told))
    restarts = [(row["index"], row["restarts"]) for row in workers]
    yield _by_worker("worker_restarts", "counter", "Times the worker was started again.", restarts)
    for name, about in _COUNTED.items():
        yield _by_worker(name, "counter", about, _of(told, lambda one, key=name: one["counters"].get(key)))
    for name, about in _MONITORED.items():
        yield Metric(name, "counter", about, tuple(_monitored(told, name)))
    for name, about in _GAUGES.items():
        yield _by_worker(name, "gauge", about, _of(told, lambda one, key=name: one.get(key)))
    yield from _cache_families(told)
    for name, (kind, about) in _SHARD.items():
        samples = tuple(
            ({"worker": str(worker), "shard": str(shard["shard"])}, float(shard[name]))
            for worker, one in told.items()
            for shard in one["spool"]["shards"]
            if name in shard
        )
        yield Metric(f"spool_{name}", kind, about, samples)


def _monitored(told: Mapping[int, Mapping[str, Any]], name: str) -> Iterator[tuple[Labels, float]]:
    for worker, one in told.items():
        for would in _WOULD:
            count = one["counters"].get(f"{name}_{would}")
            if count is not None:
                yield {"worker": str(worker), "would": would}, float(count)


def _cache_families(told: Mapping[int, Mapping[str, Any]]) -> Iterator[Metric]:
    """Each worker has caches of its own; they count from nothing after a restart, the resolver's after a commit that replaces it too."""
    rows = [
        ({"worker": str(worker), "cache": cache}, state)
        for worker, one in told.items()
        for cache, state in one.get("caches", {}).items()
    ]
    for name, (key, kind, about) in _CACHE.items():
        yield Metric(name, kind, about, tuple((labels, float(state[key])) for labels, state in rows))
    asked = [(labels, state["hits"], state["hits"] + state["misses"]) for labels, state in rows]
    ratios = tuple((labels, round(hits / both, 4)) for labels, hits, both in asked if both)
    yield Metric(
        "cache_hit_ratio", "gauge", "Part of the questions that the cache had the answer to.", ratios
    )


def exposition(found: Iterable[Metric]) -> str:
    """The text; a family without samples is left out."""
    rows: list[str] = []
    for metric in found:
        if not metric.samples:
            continue
        name = f"gatepost_{metric.name}" + ("_total" if metric.kind == "counter" else "")
        rows += [f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}"]
        rows += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "\n".join(rows) + "\n"


def _one(name: str, kind: str, about: str, value: float, labels: Labels | None = None) -> Metric:
    return Metric(name, kind, about, ((labels or {}, float(value)),))


def _by_worker(name: str, kind: str, about: str, values: Iterable[tuple[int, float]]) -> Metric:
    return Metric(
        name, kind, about, tuple(({"worker": str(worker)}, float(value)) for worker, value in values)
    )


def _ups(workers: Iterable[Mapping[str, Any]], told: Mapping[int, Any]) -> list[tuple[int, float]]:
    return [(row["index"], float(row["index"] in told)) for row in workers]


def _of(told: Mapping[int, Mapping[str, Any]], value: Any) -> list[tuple[int, float]]:
    found = ((worker, value(one)) for worker, one in told.items())
    return [(worker, number) for worker, number in found if number is not None]


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


OPERATIONS = (operation("metrics", metrics),)
