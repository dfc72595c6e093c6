"""A real gateway in a temporary home, the sink it delivers to, and the hands that kill its processes."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatepost.control.protocol import call
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home

PROJECT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-P", "-m", "gatepost")
WORKER, DESK = "worker", "desk"

CONFIGURATION = """\
system: {{hostname: mx.example}}
interfaces: [{{name: Data 1, address: 127.0.0.1, hostname: mx.example}}]
listeners:
  - name: In
    type: private
    interface: Data 1
    port: {port}
    certificate: {certificate}
    host_access: [{{group: RELAYLIST, senders: [127.0.0.0/8], policy: RELAYED}}]
{listeners}
mail_flow_policies:
  - {{name: RELAYED, action: relay, tls: preferred, {policy}}}
destination_controls:
  global: {{certificate: gw}}
  default: {{tls: preferred, max_connections: {connections}, client_certificate: never}}
smtp_routes: [{{domain: ALL, hosts: ["[127.0.0.1]:{sink}"]}}]
bounce_profiles:
  - {{name: Default, initial_retry: 1s, max_retry: 1s, max_age: 10h, max_attempts: 100000, delay_warning: never}}
dns: {{reverse: false}}
{extra}
"""


def configuration(
    port: int,
    sink: int,
    *,
    certificate: str = "gw",
    connections: int | str = 20,
    policy: str = "max_message_size: 10MB",
    listeners: str = "",
    extra: str = "",
) -> str:
    """The document of these tests as YAML: one private listener, everything goes to the sink, retries at once."""
    return CONFIGURATION.format(
        port=port,
        sink=sink,
        certificate=certificate,
        connections=connections,
        policy=policy,
        listeners=listeners,
        extra=extra,
    )


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Ask until the condition holds: for state of other processes that tells nobody when it changes."""
    deadline = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        select.select([], [], [], 0.02)


def say(text: str) -> None:
    """A line of the report: shown by `pytest -s`, and with a failure."""
    print(text, flush=True)  # noqa: T201


def shell(home: Path, *words: str, data: str = "") -> str:
    """One `gatepost` command on this home; it must succeed. Returns its output."""
    run = subprocess.run(
        [*COMMAND, *words, "--home", str(home)],
        input=data,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, f"gatepost {' '.join(words)}: {run.stdout}{run.stderr}"
    return run.stdout


@dataclass(frozen=True, slots=True)
class Kill:
    """One killing, for the explanation of duplicates."""

    at: float
    what: str


class Gateway:
    """`gatepost start` on one home, again and again."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.kills: list[Kill] = []
        self.process: subprocess.Popen[str] | None = None
        self.said: list[str] = []
        self._listener: threading.Thread | None = None

    def make(self, document: str) -> Gateway:
        """A home with the certificate `gw` and this configuration."""
        shell(self.home.root, "cert", "new", "gw", "--common-name", "mx.example", "--key", "p256")
        self.apply(document)
        return self

    def apply(self, document: str) -> None:
        """`gatepost config apply`, on the running gateway or on the home."""
        shell(self.home.root, "config", "apply", "-", data=document)

    def start(self, workers: int = 2, stop_wait: float = 10.0, prefix: Sequence[str] = ()) -> Gateway:
        """Start it and wait until it says that it runs."""
        words = [
            "start",
            "--home",
            str(self.home.root),
            "--workers",
            str(workers),
            "--stop-wait",
            str(stop_wait),
        ]
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=PROJECT,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if "is running" in line:
                break
        else:
            self.process.stdout.close()
            raise AssertionError(f"the gateway did not start: {self.said}")
        self._listener = threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True)
        self._listener.start()
        return self

    def _listen(self, output: Any) -> None:
        with output:
            self.said += (line.rstrip("\n") for line in output)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    # --- its processes -----------------------------------------------------------------------

    def children(self, role: str = "") -> list[int]:
        """The process ids of its children, of one role or of all; a zombie does not count."""
        assert self.process is not None
        supervisor = self.process.pid
        try:
            pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        except OSError:
            return []
        return [int(pid) for pid in pids if (found := _role(int(pid))) and (not role or found == role)]

    def kill(self, pid: int, what: str) -> None:
        """SIGKILL to one child, and wait until it is gone. One that was quicker is no failure."""
        try:
            watch = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            self.kills.append(Kill(time.time(), what))
            signal.pidfd_send_signal(watch, signal.SIGKILL)
            select.select([watch], [], [], 30)
        except ProcessLookupError:
            pass
        finally:
            os.close(watch)

    def kill_supervisor(self, number: int = signal.SIGKILL) -> None:
        """Kill the supervisor alone; its children must end by themselves."""
        assert self.process is not None
        watches = [os.pidfd_open(pid) for pid in self.children()]
        self.kills.append(Kill(time.time(), "supervisor"))
        self.process.send_signal(number)
        self.process.wait(30)
        for watch in watches:
            ready, _, _ = select.select([watch], [], [], 10)
            assert ready, "a child outlived its supervisor"
            os.close(watch)

    def kill_all(self) -> None:
        """SIGKILL to every process at once."""
        assert self.process is not None
        watches = [os.pidfd_open(pid) for pid in (self.process.pid, *self.children())]
        self.kills.append(Kill(time.time(), "all"))
        for watch in watches:
            try:
                signal.pidfd_send_signal(watch, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(30)
        for watch in watches:
            select.select([watch], [], [], 30)
            os.close(watch)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.running:
            self.kill_all()
        if self._listener is not None:
            self._listener.join(20)

    # --- what it says of itself --------------------------------------------------------------

    def status(self) -> dict[str, Any] | None:
        """The status operation; None while the desk is away."""
        try:
            found: dict[str, Any] = call(self.home.control_socket, "status", {}, timeout=20)
        except OperatorError as error:
            if error.code not in (Exit.NOT_RUNNING, Exit.TRY_AGAIN):
                raise
            return None
        return found

    def all_up(self) -> dict[str, Any] | None:
        """The status, once every worker runs and answers."""
        found = self.status()
        if found is None or found["problems"] or any(row["state"] != "running" for row in found["workers"]):
            return None
        return found

    def until_up(self, seconds: float = 90.0) -> dict[str, Any]:
        up: dict[str, Any] = until(self.all_up, "all workers run", seconds)
        return up

    def until_queue(self, wanted: int = 0, seconds: float = 90.0) -> None:
        """Wait until so many messages are in the queue of all workers."""
        last: list[Any] = [None]

        def there() -> bool:
            found = self.all_up()
            last[0] = found and found["queue"]
            return found is not None and found["queue"]["messages"] == wanted

        try:
            until(there, f"{wanted} messages in the queue", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the queue was last {last[0]}") from None

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event of the log, in the order of the files."""
        logs = self.home.logs
        for path in [*sorted(logs.glob("events.jsonl.@*")), self.home.event_log]:
            with path.open("rb") as file:
                for line in file:
                    yield json.loads(line)

    def mail_log(self) -> str:
        logs = self.home.logs
        paths = [*sorted(logs.glob("mail_logs.@*")), self.home.mail_log]
        return "".join(path.read_text() for path in paths)


def _role(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    for role in (WORKER, DESK):
        if role.encode() in words:
            return role
    return ""


def owner_of(port: int, pids: Sequence[int]) -> int:
    """The process among `pids` that has the TCP socket with this local port; 0 when it is gone."""
    inode = ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            inode = fields[9]
    for pid in pids:
        try:
            entries = list(Path(f"/proc/{pid}/fd").iterdir())
            if any(os.readlink(entry) == f"socket:[{inode}]" for entry in entries):
                return pid
        except OSError:
            continue
    return 0


class SinkProcess:
    """The sink, started and spoken to."""

    def __init__(self, folder: Path, port: int, certificate: Path, key: Path) -> None:
        self.port = port
        self.record = folder / "sink.jsonl"
        self.told: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._answers = 0
        self._last: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("sink.py")),
                *map(str, (port, self.record, certificate, key)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.order(listen=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                answer = json.loads(line)
                with self._changed:
                    if "done" in answer:
                        self._answers += 1
                        self._last = answer
                    else:
                        self.told.append(answer)
                    self._changed.notify_all()

    def order(self, **order: Any) -> dict[str, Any]:
        """One command; returns the sink's answer."""
        assert self._process.stdin is not None
        with self._changed:
            wanted = self._answers + 1
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            assert self._changed.wait_for(lambda: self._answers >= wanted, timeout=20), (
                "the sink does not answer"
            )
            return self._last

    def until_told(self, number: int, seconds: float = 60.0) -> dict[str, Any]:
        """The so-many-th thing that the sink tells by itself, counted from 1."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= number, timeout=seconds), (
                "the sink saw nothing"
            )
            return self.told[number - 1]

    def arrivals(self) -> list[dict[str, Any]]:
        """All messages taken so far."""
        if not self.record.exists():
            return []
        return [json.loads(line) for line in self.record.read_bytes().splitlines()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait(20)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(20)


def spool_rows(home: Home) -> dict[int, int]:
    """Of a stopped gateway: shard number and messages in it, read from the disk."""
    import apsw

    found = {}
    for directory in sorted(home.spool.iterdir()):
        if re.fullmatch(r"\d+", directory.name):
            connection = apsw.Connection(str(directory / "queue.db"), flags=apsw.SQLITE_OPEN_READWRITE)
            found[int(directory.name)] = connection.execute("SELECT count(*) FROM message").fetchall()[0][0]
            connection.close()
    return found


def body_files(home: Home) -> list[Path]:
    """Body files in the spool, with a row or without."""
    return sorted(path for path in home.spool.glob("*/body/*") if path.is_file())
