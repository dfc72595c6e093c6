"""What must hold after any number of crashes, compared from four sides: sender, sink, log, disk.

* every message that got a 250 arrived at every recipient, at least once, and whole;
* a message that arrived more often was killed between the peer's answer and the mark on disk: a kill lies between its
  final dot and shortly after its answer, and the log knows of one delivery only;
* each promised MID is queued once and finished once in the log, and nothing is finished that was not queued;
* nothing was held, and nothing is left in the spool.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.live.crash.harness import Gateway, Kill
from tests.live.crash.load import Record

SLACK = 0.6  # seconds from an answer until its mark must be on disk: 0.1 s by contract, the rest for a busy machine


@dataclass
class Verdict:
    """The figures of a run, for the report."""

    promised: int = 0
    unknown: int = 0
    unknown_arrived: int = 0
    deliveries: int = 0
    duplicates: int = 0
    slowest_mark: float = 0.0  # longest time from an answer to the kill that cost its mark
    torn_lines: int = 0
    log_twice: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.promised} messages promised, {self.deliveries} deliveries, {self.duplicates} duplicates "
            f"(at most {self.slowest_mark * 1000:.0f} ms from answer to kill), {self.unknown} without an answer of which {self.unknown_arrived} arrived; "
            f"{self.log_twice} lines twice in the mail log, {self.torn_lines} torn"
        )


def judge(record: Record, arrivals: Sequence[dict[str, Any]], gateway: Gateway) -> Verdict:
    """Compare everything; `faults` is empty when all is well."""
    verdict = Verdict(promised=len(record.promised), unknown=len(record.unknown), deliveries=len(arrivals))
    _arrived(record, arrivals, gateway.kills, verdict)
    _logged(record, list(gateway.events()), verdict)
    _mail_log(record, gateway.mail_log(), verdict)
    return verdict


def _arrived(
    record: Record, arrivals: Sequence[dict[str, Any]], kills: Sequence[Kill], verdict: Verdict
) -> None:
    by_recipient: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for arrival in arrivals:
        if not arrival["whole"]:
            verdict.faults.append(f"message {arrival['id']!r} arrived damaged")
        for recipient in arrival["recipients"]:
            by_recipient[arrival["id"], recipient].append(arrival)
    for name, promise in record.promised.items():
        for recipient in promise.recipients:
            if not by_recipient[name, recipient]:
                verdict.faults.append(f"message {name} (MID {promise.mid}) never reached {recipient}")
    verdict.unknown_arrived = len({a["id"] for a in arrivals} & record.unknown.keys())
    strangers = {a["id"] for a in arrivals} - record.promised.keys() - record.unknown.keys()
    if strangers:
        verdict.faults.append(f"nobody sent {sorted(strangers)[:5]}")
    for (name, recipient), found in by_recipient.items():
        for earlier in found[:-1]:
            verdict.duplicates += 1
            gap = _explained(earlier, kills)
            verdict.slowest_mark = max(verdict.slowest_mark, gap or 0.0)
            if gap is None:
                verdict.faults.append(f"message {name} reached {recipient} {len(found)} times without a kill")


def _explained(arrival: dict[str, Any], kills: Sequence[Kill]) -> float | None:
    """Seconds from the answer to the kill that came before the mark was surely on disk; None without such a kill."""
    gaps = [
        kill.at - arrival["answer"]
        for kill in kills
        if kill.what != "desk" and arrival["dot"] - 0.1 <= kill.at <= arrival["answer"] + SLACK
    ]
    return min(gaps, default=None)


def _logged(record: Record, events: Iterable[dict[str, Any]], verdict: Verdict) -> None:
    queued: Counter[int] = Counter()
    finished: Counter[int] = Counter()
    delivered: Counter[tuple[int, int]] = Counter()
    for event in events:
        match event["event"]:
            case "MessageQueued":
                queued[event["mid"]] += 1
            case "MessageFinished":
                finished[event["mid"]] += 1
            case "Delivered":
                delivered.update((event["mid"], rid) for rid in event["rids"])
            case "MessageHeld" | "InternalError" | "SpoolProblem" | "RecipientBounced" | "DoubleBounce":
                verdict.faults.append(f"the log has {event}")
    for name, promise in record.promised.items():
        if queued[promise.mid] != 1:
            verdict.faults.append(
                f"MID {promise.mid} ({name}) was queued {queued[promise.mid]} times in the log"
            )
    for mid in queued:
        if finished[mid] != 1:
            verdict.faults.append(f"MID {mid} was queued, and finished {finished[mid]} times in the log")
    if stray := finished.keys() - queued.keys():
        verdict.faults.append(f"finished but never queued: {sorted(stray)[:5]}")
    twice = [key for key, count in delivered.items() if count > 1]
    if twice:
        verdict.faults.append(f"the log knows of two deliveries of {twice[:5]}")
    mids = Counter(promise.mid for promise in record.promised.values())
    if any(count > 1 for count in mids.values()):
        verdict.faults.append("a MID was given twice")


def _mail_log(record: Record, text: str, verdict: Verdict) -> None:
    """The text log: a replay after a crash may repeat a line, and none may be missing."""
    queued: Counter[str] = Counter()
    finished: Counter[str] = Counter()
    for line in text.splitlines():
        words = line.split()
        if line.endswith(" queued for delivery"):
            queued[words[-4]] += 1
        elif "Message finished MID" in line:
            finished[words[-2]] += 1
        if len(words) < 7 or not words[5].endswith(":"):
            verdict.torn_lines += 1
    for promise in record.promised.values():
        mid = str(promise.mid)
        if not queued[mid] or not finished[mid]:
            verdict.faults.append(f"the mail log lacks a line of MID {mid}")
        verdict.log_twice += (queued[mid] > 1) + (finished[mid] > 1)
