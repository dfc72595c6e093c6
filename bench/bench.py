"""`make bench`: measures Gatepost and its peers in one run, prints tables, keeps the numbers in bench/out.

Ends everything it started, also on Ctrl-C; then the tables of the runs so far are still printed.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from bench.measure import Cage, make_cage
from bench.peers import PEERS, Peer, Site
from bench.peers.base import PROJECT
from bench.report import Summary, machine, markdown
from bench.rounds import Rounds
from bench.scenarios import SCENARIOS
from bench.tools import BenchError, Tools

OUT = Path(__file__).parent / "out"


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = work_folder(arguments.work)
    tools = Tools(work / "tools")
    alone = (work / "lock").open("w")  # closed, and so unlocked, at the end of the process
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"another benchmark runs in {work}")
    try:
        tools.build()
        site = Site(work=work, tools=tools, workers=arguments.workers)
        peers, absent = find_peers(arguments.peers.split(","), site)
        versions = {peer.name: peer.version() for peer in peers}
        scenarios = [SCENARIOS[letter] for letter in arguments.scenarios]
        cage = make_cage(tools.folder / "cage")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    rounds = Rounds(tools, cage, peers, scenarios, arguments.seconds)
    complete = play(rounds, cage, arguments.rounds)
    if rounds.records:
        keep(rounds, versions, absent, arguments, work)
    return 0 if complete else 130


def play(rounds: Rounds, cage: Cage, count: int) -> bool:
    """All rounds; False when the person at the keyboard ended them."""
    try:
        with rounds.tools.sinks():
            for number in range(count):
                rounds.play(number)
    except KeyboardInterrupt:
        print("\nbench: interrupted, ending the servers", file=sys.stderr)
        return False
    except BenchError as error:
        fail(str(error))
    finally:
        cage.stop()
        cage.remove()
    return True


def keep(
    rounds: Rounds,
    versions: dict[str, str],
    absent: list[str],
    arguments: argparse.Namespace,
    work: Path,
) -> None:
    """Writes the records as JSON and the tables as Markdown, and prints the tables."""
    played = max(record["round"] for record in rounds.records)
    heading = [
        machine(work),
        f"{played} rounds, 20 sessions, runs of about {arguments.seconds:g} s; generator, sink and server share the cores",
        "; ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    notes = [f"{peer.name}: {peer.note}" for peer in rounds.peers if peer.note]
    notes += [f"missing: {text}" for text in absent]
    text = markdown(Summary(rounds.records, list(versions), arguments.scenarios), heading, notes)
    OUT.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    document: dict[str, Any] = {
        "made": now.isoformat(timespec="seconds"),
        "machine": heading[0],
        "versions": versions,
        "absent": absent,
        "rounds": played,
        "run_seconds": arguments.seconds,
        "runs": rounds.records,
    }
    file = OUT / f"bench-{now:%Y%m%dT%H%M%S}.json"
    file.write_text(json.dumps(document, indent=1))
    file.with_suffix(".md").write_text(text)
    print(f"\n{text}\nThe numbers of every run: {file.relative_to(PROJECT)}")


def find_peers(names: list[str], site: Site) -> tuple[list[Peer], list[str]]:
    """The servers that can run here, and why the others cannot."""
    present: list[Peer] = []
    absent: list[str] = []
    for name in names:
        if name not in PEERS:
            raise BenchError(f"no server is called {name}; there are {', '.join(PEERS)}")
        peer = PEERS[name](site)
        reason = peer.missing()
        if reason:
            absent.append(f"{name}, {reason}")
        else:
            present.append(peer)
    for text in absent:
        print(f"bench: going on without {text}", file=sys.stderr)
    if not present:
        raise BenchError("no server can run")
    return present, absent


def work_folder(wanted: Path | None) -> Path:
    """Where the queues are: one disk for all, and a path that servers' own users can walk."""
    folder = (wanted or PROJECT / ".cache" / "bench").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        return folder
    if wanted:
        fail(f"{folder}: other users cannot reach this folder, and the servers run as such")
    return Path(tempfile.mkdtemp(prefix="gatepost-bench-", dir="/var/tmp")).resolve()


def fail(text: str) -> NoReturn:
    print(f"bench: {text}", file=sys.stderr)
    raise SystemExit(2)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Compares Gatepost with other mail servers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scenarios", default="".join(SCENARIOS), help="letters, as in bench/scenarios.py")
    parser.add_argument("--peers", default=",".join(PEERS), help="names with commas between")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long one run should take")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of Gatepost and Haraka")
    parser.add_argument("--work", type=Path, help="folder for the queues (default .cache/bench)")
    arguments = parser.parse_args()
    arguments.scenarios = arguments.scenarios.upper()
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
