"""Who runs when, and how long: interleaved rounds, each with freshly started servers.

In a round every server runs every scenario once; servers take turns within a scenario group, beginning with
another one each round, so that a slow minute of the machine does not hit one of them only. The first time a
server meets a scenario, an uncounted run finds how many messages take a few seconds; that count stays.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.measure import Cage
from bench.peers import Peer
from bench.scenarios import SESSIONS, Kind, Scenario, Way
from bench.tools import BenchError, Tools

START_SECONDS = 60.0
SETTLE_SECONDS = 0.4
PACED_SHARE = 0.7
PACED_SECONDS = 4.0
MOST_FAILURES = 2


@dataclass(slots=True)
class Rounds:
    """Runs peers through scenarios and collects one record a run."""

    tools: Tools
    cage: Cage
    peers: Sequence[Peer]
    scenarios: Sequence[Scenario]
    run_seconds: float
    records: list[dict[str, Any]] = field(default_factory=list)
    _rates: dict[tuple[str, str], float] = field(default_factory=dict)

    def play(self, number: int) -> None:
        """One round. Memory of idle sessions does not vary, so only the first round measures it."""
        for way in Way:
            group = [s for s in self.scenarios if s.way is way and s.kind is not Kind.IDLE]
            for peer in self._in_turn(number):
                wanted = [s for s in group if s.letter in peer.scenarios and not self._hopeless(peer, s)]
                if wanted:
                    self._visit(number, peer, way, wanted)
        idle = [s for s in self.scenarios if s.kind is Kind.IDLE and number == 0]
        for scenario in idle:
            for peer in self.peers:
                if scenario.letter in peer.scenarios:
                    self._visit(number, peer, scenario.way, [scenario])

    def _hopeless(self, peer: Peer, scenario: Scenario) -> bool:
        run = (peer.name, scenario.letter)
        failed = [r for r in self.records if (r["peer"], r["scenario"]) == run and "failed" in r]
        return len(failed) >= MOST_FAILURES

    def _in_turn(self, number: int) -> list[Peer]:
        start = number % len(self.peers)
        return [*self.peers[start:], *self.peers[:start]]

    def _visit(self, number: int, peer: Peer, way: Way, scenarios: Sequence[Scenario]) -> None:
        """Starts a server and runs scenarios on it; a failure costs the rest of this visit only."""
        left = list(scenarios)
        try:
            with self._serving(peer, way):
                while left:
                    self._run(number, peer, left[0])
                    left.pop(0)
        except BenchError as error:
            for scenario in left:
                self._record(number, peer, scenario, {"failed": str(error)})

    @contextlib.contextmanager
    def _serving(self, peer: Peer, way: Way) -> Iterator[None]:
        try:
            peer.configure(way)
            self.cage.start(peer.command(), log=peer.log, environment=peer.environment())
            self._wait_for_greeting(peer)
            yield
        finally:
            self.cage.stop()

    def _wait_for_greeting(self, peer: Peer) -> None:
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            if self.cage.ended():
                raise BenchError(f"ended at the start; see {peer.log}")
            try:
                with socket.create_connection(("127.0.0.1", peer.port), 1) as connection:
                    connection.settimeout(5)
                    if connection.recv(3) == b"220":
                        return
            except OSError:
                time.sleep(0.1)
        raise BenchError(f"no greeting on port {peer.port} within {START_SECONDS:.0f} s; see {peer.log}")

    def _run(self, number: int, peer: Peer, scenario: Scenario) -> None:
        if scenario.kind is Kind.IDLE:
            self._record(number, peer, scenario, self._hold_idle(peer))
            return
        warm = self._generate(peer, scenario, int(scenario.messages * peer.warm_up))
        rate = self._rates.setdefault((peer.name, scenario.letter), warm["rate"])
        time.sleep(SETTLE_SECONDS)
        before = self.cage.cpu_seconds()
        with self.cage.peak_memory() as peak:
            result = self._generate(peer, scenario, int(rate * self.run_seconds))
            time.sleep(SETTLE_SECONDS)  # what the server does after the last message belongs to it
            used = self.cage.cpu_seconds() - before
        result["cpu_ms"] = used / result["messages"] * 1000
        result["pss_mib"], result["rss_mib"], result["processes"] = peak.pss, peak.rss, peak.processes
        if scenario.paced:
            result["paced"] = self._paced(peer, scenario, result["rate"] * PACED_SHARE)
        self._record(number, peer, scenario, result)

    def _generate(self, peer: Peer, scenario: Scenario, messages: int, rate: float = 0.0) -> dict[str, Any]:
        """A run in which all sessions have the same work: slow servers get fewer messages a connection."""
        each = min(scenario.per_connection, max(1, messages // SESSIONS))
        step = SESSIONS * each
        count = max(step, messages // step * step)
        return self.tools.generate(replace(scenario, per_connection=each), peer.port, count, rate)

    def _paced(self, peer: Peer, scenario: Scenario, rate: float) -> dict[str, Any]:
        result = self._generate(peer, scenario, int(rate * PACED_SECONDS), rate)
        time.sleep(SETTLE_SECONDS)
        return {
            "rate": rate,
            **{key: result[key] for key in ("p50_ms", "p99_ms", "max_ms", "late", "messages")},
        }

    def _hold_idle(self, peer: Peer) -> dict[str, Any]:
        with contextlib.suppress(BenchError):
            self.tools.generate(replace(TLS_WARM_UP, per_connection=1), peer.port, SESSIONS)
        time.sleep(1)
        empty = self.cage.memory()
        with self.tools.idle_sessions(peer.port) as sessions:
            time.sleep(2)  # their messages go out
            full = self.cage.memory()
        return {
            "sessions": sessions,
            "kib_pss": (full.pss - empty.pss) * 1024 / sessions,
            "kib_rss": (full.rss - empty.rss) * 1024 / sessions,
            "processes": full.processes,
        }

    def _record(self, number: int, peer: Peer, scenario: Scenario, values: dict[str, Any]) -> None:
        self.records.append({"round": number + 1, "peer": peer.name, "scenario": scenario.letter, **values})
        print(f"round {number + 1}  {scenario.letter}  {peer.name:14}{_short(values)}", flush=True)


TLS_WARM_UP = Scenario("", "", Way.TLS, SESSIONS)


def _short(values: dict[str, Any]) -> str:
    if "failed" in values:
        return f"failed: {values['failed']}"
    if "kib_pss" in values:
        return f"{values['kib_pss']:9.1f} KiB a session (PSS), {values['processes']} processes"
    text = (
        f"{values['rate']:9.1f} /s  accepted {values['accept_rate']:8.1f} /s  {values['cpu_ms']:6.2f} ms CPU"
    )
    if values["errors"]:
        text += f"  {values['errors']} errors ({values['last_error']})"
    paced = values.get("paced")
    return text + (f"  p99 {paced['p99_ms']:.1f} ms at {paced['rate']:.0f} /s" if paced else "")
