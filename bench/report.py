"""Medians, ratios to the best peer, and the tables in Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.scenarios import SCENARIOS, Kind, Scenario

OURS = "gatepost"
LONGEST_P99_MS = 15.0
LARGEST_SESSION_KIB = 40.0

Record = dict[str, Any]
Number = Callable[[Record], float]


class Summary:
    """The medians of all runs, by server and scenario."""

    def __init__(self, records: Sequence[Record], peers: Sequence[str], letters: str) -> None:
        self._records = records
        self.peers = list(peers)
        self.scenarios = [SCENARIOS[letter] for letter in letters]

    def numbers(self, peer: str, scenario: Scenario, number: Number) -> list[float]:
        return [
            number(r)
            for r in self._records
            if r["peer"] == peer and r["scenario"] == scenario.letter and "failed" not in r
        ]

    def median(self, peer: str, scenario: Scenario, number: Number) -> float | None:
        found = self.numbers(peer, scenario, number)
        return statistics.median(found) if found else None

    def best_peer(
        self, scenario: Scenario, number: Number, *, lowest: bool = False
    ) -> tuple[str, float] | None:
        """The best median of the others, and whose it is."""
        all_of_them = ((p, self.median(p, scenario, number)) for p in self.peers if p != OURS)
        known = [(p, value) for p, value in all_of_them if value is not None]
        pick = min if lowest else max
        return pick(known, key=lambda pair: pair[1]) if known else None

    def mail(self) -> list[Scenario]:
        return [s for s in self.scenarios if s.kind is not Kind.IDLE]

    def failures(self) -> list[str]:
        seen = {(r["peer"], r["scenario"], r["failed"]) for r in self._records if "failed" in r}
        return [f"{peer} {letter}: {text}" for peer, letter, text in sorted(seen)]


def rate(record: Record) -> float:
    return float(record["rate"])


def accept_rate(record: Record) -> float:
    return float(record["accept_rate"])


def cpu(record: Record) -> float:
    return float(record["cpu_ms"])


def pss(record: Record) -> float:
    return float(record["pss_mib"])


def idle_kib(record: Record) -> float:
    return float(record["kib_pss"])


def paced_p50(record: Record) -> float:
    return float(record["paced"]["p50_ms"])


def paced_p99(record: Record) -> float:
    return float(record["paced"]["p99_ms"])


def paced_rate(record: Record) -> float:
    return float(record["paced"]["rate"])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _by_server(summary: Summary, title: str, number: Number, digits: int, *, spread: bool = False) -> str:
    scenarios = summary.mail()
    rows = []
    for peer in summary.peers:
        row = [peer]
        for scenario in scenarios:
            found = summary.numbers(peer, scenario, number)
            text = _cell(statistics.median(found) if found else None, digits)
            if spread and len(found) > 1:
                text += f" ({min(found):,.{digits}f}–{max(found):,.{digits}f})"
            row.append(text)
        rows.append(row)
    return f"**{title}**\n\n" + table(["server", *(s.letter for s in scenarios)], rows)


def _ratio_rows(summary: Summary) -> list[list[str]]:
    rows = []
    for scenario in summary.mail():
        ours, best = summary.median(OURS, scenario, rate), summary.best_peer(scenario, rate)
        our_cpu, best_cpu = summary.median(OURS, scenario, cpu), summary.best_peer(scenario, cpu, lowest=True)
        if ours is None or best is None or our_cpu is None or best_cpu is None:
            continue
        ratio, share = ours / best[1], our_cpu / best_cpu[1]
        met = ratio >= scenario.target and (share <= 0.5 or not scenario.halve_cpu)
        target = f"≥ {scenario.target:g}" + (", CPU ≤ 0.5" if scenario.halve_cpu else "")
        rows.append(
            [
                scenario.letter,
                f"{ratio:.2f} × {best[0]}",
                f"{share:.2f} × {best_cpu[0]}",
                target,
                "yes" if met else "**no**",
            ]
        )
    return rows


def _latency(summary: Summary) -> str:
    paced = [s for s in summary.scenarios if s.paced]
    rows = []
    for scenario in paced:
        for peer in summary.peers:
            p99 = summary.median(peer, scenario, paced_p99) if scenario else None
            if p99 is None:
                continue
            met = "" if peer != OURS else ("yes" if p99 <= LONGEST_P99_MS else "**no**")
            load = _cell(summary.median(peer, scenario, paced_rate), 0)
            p50 = _cell(summary.median(peer, scenario, paced_p50), 2)
            rows.append([f"{scenario.letter} {peer}", load, p50, _cell(p99, 1), met])
    if not rows:
        return ""
    head = ["server", "messages/s", "p50 ms", "p99 ms", f"≤ {LONGEST_P99_MS:g} ms"]
    return "**From final dot to 250, at 70 % of the server's own rate**\n\n" + table(head, rows)


def _idle(summary: Summary) -> str:
    rows = []
    for scenario in summary.scenarios:
        if scenario.kind is not Kind.IDLE:
            continue
        for peer in summary.peers:
            kib = summary.median(peer, scenario, idle_kib)
            if kib is not None:
                met = "" if peer != OURS else ("yes" if kib <= LARGEST_SESSION_KIB else "**no**")
                rows.append([peer, _cell(kib, 1), met])
    if not rows:
        return ""
    head = ["server", "KiB a session (PSS)", f"≤ {LARGEST_SESSION_KIB:g}"]
    return "**An idle TLS session, after one message**\n\n" + table(head, rows)


def markdown(summary: Summary, heading: Sequence[str], notes: Sequence[str]) -> str:
    """The whole report."""
    parts = ["## Benchmark", "\n".join(f"- {line}" for line in heading)]
    ratios = _ratio_rows(summary)
    if ratios:
        head = ["", "end-to-end rate", "CPU a message", "promised", "kept"]
        parts.append("**Gatepost against the best other server**\n\n" + table(head, ratios))
    title = "End to end, messages a second (F: handshakes); median (lowest–highest)"
    parts.append(_by_server(summary, title, rate, 0, spread=True))
    parts.append(_by_server(summary, "Accepted, messages a second", accept_rate, 0))
    parts.append(_by_server(summary, "Server CPU, ms a message (F: a handshake)", cpu, 2))
    parts.append(_by_server(summary, "Highest memory of all processes, MiB (PSS)", pss, 0))
    parts += [text for text in (_latency(summary), _idle(summary)) if text]
    parts.append("\n".join(f"- {s.letter}: {s.title}" for s in summary.scenarios))
    remarks = [*notes, *(f"not measured: {text}" for text in summary.failures())]
    if remarks:
        parts.append("\n".join(f"- {text}" for text in remarks))
    return "\n\n".join(parts) + "\n"


def machine(work: Path) -> str:
    """One line about where this ran."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} × {model}, {memory:.0f} GiB, {system}, kernel {platform.release()}, "
        f"queues on {_file_system(work)}, Python {platform.python_version()}"
    )


def _file_system(folder: Path) -> str:
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]
