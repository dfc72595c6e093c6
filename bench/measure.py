"""A server's processes as one thing: start, CPU of all of them with those that ended, memory, end.

`Cage` is a control group where root can make one (version 1 cpuacct, or version 2), else a process tree
below the `cage` helper. Memory is the sum of proportional set sizes (PSS), which counts a page shared by n
processes once; resident sizes (RSS) count it n times. CPU time of ended processes is included. In a process
tree it misses children whose parent ignores SIGCHLD.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.tools import BenchError

CGROUP_V1 = Path("/sys/fs/cgroup/cpuacct")
CGROUP_V2 = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 1.0  # a sample reads every process's page table summary, so not too often
GRACE_SECONDS = 4.0


@dataclass(slots=True)
class Memory:
    """Sums over a server's processes, MiB."""

    rss: float = 0.0
    pss: float = 0.0
    processes: int = 0


class Cage(ABC):
    """Holds one server at a time."""

    def __init__(self) -> None:
        self._leader: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def processes(self) -> list[int]: ...

    @abstractmethod
    def cpu_seconds(self) -> float: ...

    @abstractmethod
    def _wrapped(self, command: list[str]) -> list[str]: ...

    @abstractmethod
    def remove(self) -> None: ...

    def start(self, command: list[str], *, log: Path, environment: dict[str, str] | None = None) -> None:
        """Starts a server in the foreground, its output appended to `log`."""
        with log.open("ab") as output:
            self._leader = subprocess.Popen(
                self._wrapped(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    def ended(self) -> bool:
        """The server's first process has ended by itself."""
        return self._leader is None or self._leader.poll() is not None

    def stop(self) -> None:
        """SIGTERM to the first process, to all a while later, then SIGKILL to what is left."""
        leader = self._leader
        if leader is None:
            return
        with contextlib.suppress(ProcessLookupError):
            leader.terminate()
        for step in (None, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            if step is not None:
                for process in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, step)
            if self._wait_empty(leader):
                break
        leader.wait()
        self._leader = None

    def _wait_empty(self, leader: subprocess.Popen[bytes]) -> bool:
        limit = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < limit:
            leader.poll()  # reap it, or it stays in the group
            if not self.processes():
                return True
            time.sleep(0.05)
        return False

    def memory(self) -> Memory:
        total = Memory()
        for process in self.processes():
            try:
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # it ended meanwhile
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if ":" in line}
            total.rss += sizes.get("Rss", 0) / 1024
            total.pss += sizes.get("Pss", 0) / 1024
            total.processes += 1
        return total

    @contextlib.contextmanager
    def peak_memory(self) -> Iterator[Memory]:
        """The highest sums seen while the block runs."""
        peak, over = Memory(), threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_SECONDS):
                now = self.memory()
                peak.rss, peak.pss = max(peak.rss, now.rss), max(peak.pss, now.pss)
                peak.processes = max(peak.processes, now.processes)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peak
        finally:
            over.set()
            watcher.join()


class GroupCage(Cage):
    """A control group of its own; the kernel counts, whatever the processes do."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def _wrapped(self, command: list[str]) -> list[str]:
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self._folder / "cgroup.procs"), *command]

    def processes(self) -> list[int]:
        return [int(line) for line in (self._folder / "cgroup.procs").read_text().split()]

    def cpu_seconds(self) -> float:
        old = self._folder / "cpuacct.usage"
        if old.exists():
            return int(old.read_text()) / 1e9
        pairs = (line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(dict(pairs)["usage_usec"]) / 1e6

    def remove(self) -> None:
        for _ in range(20):
            try:
                self._folder.rmdir()
                return
            except OSError:
                time.sleep(0.1)  # a process that is being torn down still holds it


class TreeCage(Cage):
    """All processes below the `cage` helper, counted from /proc."""

    def __init__(self, helper: Path) -> None:
        super().__init__()
        self._helper = helper
        self._ticks = os.sysconf("SC_CLK_TCK")

    def _wrapped(self, command: list[str]) -> list[str]:
        return [str(self._helper), *command]

    def _tree(self) -> dict[int, list[str]]:
        """The fields of /proc/PID/stat behind the name, of the helper and everything below it."""
        if self._leader is None:
            return {}
        everyone: dict[int, list[str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    everyone[int(entry)] = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        tree, edge = {}, [self._leader.pid]
        while edge:
            process = edge.pop()
            if process in everyone:
                tree[process] = everyone[process]
                edge += [child for child, fields in everyone.items() if int(fields[1]) == process]
        return tree

    def processes(self) -> list[int]:
        helper = self._leader.pid if self._leader else 0
        return [p for p, fields in self._tree().items() if p != helper and fields[0] != "Z"]

    def cpu_seconds(self) -> float:
        # utime, stime, and the same of children that ended and were waited for
        return sum(sum(map(int, fields[11:15])) for fields in self._tree().values()) / self._ticks

    def remove(self) -> None:
        pass


def make_cage(helper: Path) -> Cage:
    """The most exact cage that this machine and user allow."""
    for base, mark in ((CGROUP_V1, "cpuacct.usage"), (CGROUP_V2, "cgroup.controllers")):
        if (base / mark).exists() and os.access(base, os.W_OK):
            with contextlib.suppress(OSError):
                return GroupCage(base / f"gatepost-bench-{os.getpid()}")
    if not helper.exists():
        raise BenchError(f"{helper} was not built")
    return TreeCage(helper)
