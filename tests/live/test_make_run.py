"""`make run` as a person sees it: its lines, what it leaves, a second run, a taken port, a home in use."""

from __future__ import annotations

import os
import re
import select
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gatepost.control.protocol import call
from gatepost.store.home import Home
from gatepost.track.find import Criteria, find

STOPPED = "Stopped. The folder .gatepost stays; remove it to begin anew."
UP = "Up until Ctrl-C."
SECONDS = 60.0
PROJECT = Path(__file__).parents[2]


class Show:
    """One run of the module in `folder`, as the recipe of `make run` starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / ".gatepost")
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gatepost.app.show"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"},
            text=True,
        )
        self._overdue = threading.Timer(SECONDS, self.process.kill)
        self._overdue.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, line: str) -> Show:
        """Read until that line comes; fails with all that was said when the show ends before."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.lines.append(said.rstrip("\n"))
            if self.lines[-1] == line:
                return self
        raise AssertionError(f"{line!r} never came:\n{self.text}")

    def watches(self) -> list[int]:
        """A descriptor for each process of the gateway; it becomes readable when the process is gone."""
        status = call(self.home.control_socket, "status", {}, timeout=20)
        pids = [status["desk"]["pid"], *(worker["pid"] for worker in status["workers"])]
        pids.append(parent_of(pids[0]))
        return [os.pidfd_open(pid) for pid in pids]

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Read the rest and return the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        code = self.process.wait()
        self._overdue.cancel()
        return code

    def close(self) -> None:
        self._overdue.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Callable[[], Show]]:
    with ExitStack() as stack:

        def start() -> Show:
            started = Show(tmp_path)
            stack.callback(started.close)
            return started

        yield start


def parent_of(pid: int) -> int:
    found = re.search(r"^PPid:\s*([0-9]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def gone(watches: list[int], seconds: float = 0.0) -> bool:
    """Whether all watched processes have ended, or end within that time."""
    left, deadline = list(watches), time.monotonic() + seconds
    while left:
        ready, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        for watch in ready:
            left.remove(watch)
            os.close(watch)
    return True


def joined(text: str) -> str:
    """The text without its line breaks: a log line may stand in two."""
    return re.sub(r"\s+", " ", text)


def test_one_message_is_relayed_over_tls_both_ways_and_ctrl_c_leaves_only_the_home(
    show: Callable[[], Show], tmp_path: Path
) -> None:
    run = show().until(UP)
    # A path is one word: where the home lies deep, its line is as long as it is.
    assert [line for line in run.lines if len(line) > 80 and " " in line.strip()] == []
    said = joined(run.text)
    mid = re.search(r"answered 250 2\.0\.0 Ok: queued as ([0-9]+)", said)
    assert mid, run.text
    number = mid[1]
    came = re.search(
        r"New SMTP ICID ([0-9]+) interface Management \(127\.0\.0\.1\) address 127\.0\.0\.1", said
    )
    assert came, run.text  # numbers of connections are each worker's own
    for line in (
        rf"ICID {came[1]} TLS success protocol TLSv1\.3 cipher TLS_AES_",
        rf"MID {number} ICID {came[1]} From: <",
        rf"MID {number} queued for delivery",
        r"DCID [0-9]+ TLS success protocol TLSv1\.3 cipher TLS_AES_",
        rf"MID {number} RID \[0\] Response '2\.0\.0 Ok: kept as message 1 by the sink'",
        rf"Message finished MID {number} done",
        r"over TLSv1\.3, TLS_AES_",
        rf"Received: from visitor\.example .* with ESMTPS id {number} \(version=TLSv1\.3",
        r"Subject: One message through Gatepost",
        r"user admin pass-phrase [a-z0-9-]{29}",
    ):
        assert re.search(line, said), f"{line}\n{run.text}"

    watches = run.watches()
    assert run.stop() == 0
    assert run.lines[-1] == STOPPED
    assert gone(watches), "a process of the gateway is left"
    assert os.listdir(tmp_path) == [".gatepost"]
    assert [path for path in run.home.root.rglob("*") if path.is_socket()] == []


def shape(line: str) -> str:
    """A log line without what differs from run to run: numbers, ciphers, this machine's name."""
    return re.sub(r"[0-9]+", "0", re.sub(r"postmaster@[^>]+", "postmaster@host", line))


def test_the_tour_shows_the_log_lines_of_this_message(show: Callable[[], Show]) -> None:
    run = show().until(UP)
    mid = re.search(r"queued as ([0-9]+)", run.text)
    assert mid
    assert run.stop() == 0
    told = {shape(line.text) for line in find([run.home.mail_log], Criteria(mid=int(mid[1])))}
    tour = (PROJECT / "docs" / "tour.md").read_text("utf-8")
    blocks = [
        line[4:]
        for line in tour.splitlines()
        if re.match(r" {4}(?:New SMTP|[DI]CID|MID|Start|Deliv|Message)", line)
    ]
    assert {shape(line) for line in blocks} == told


def test_a_second_run_works_and_shows_no_pass_phrase(show: Callable[[], Show]) -> None:
    first = show().until(UP)
    assert first.stop(signal.SIGTERM) == 0
    second = show().until(UP)
    said = joined(second.text)
    assert "Home .gatepost (used before)" in said
    assert "the pass-phrase was shown once, at the first start of this home" in said
    assert not re.search(r"pass-phrase [a-z0-9]{5}-", said)
    assert re.search(r"Message finished MID [0-9]+ done", said)
    assert second.stop(signal.SIGHUP) == 0


def test_taken_ports_are_replaced_and_said(show: Callable[[], Show]) -> None:
    with ExitStack() as held:
        for port in (2525, 2526):
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                pass  # somebody else has it: as good
        run = show().until(UP)
        said = joined(run.text)
        moved = re.findall(r"Port ([0-9]+) is taken: (the sink|IncomingMail) uses ([0-9]+)", said)
        assert [(wanted, name) for wanted, name, _ in moved] == [
            ("2526", "the sink"),
            ("2525", "IncomingMail"),
        ]
        assert f"Sink 127.0.0.1 port {moved[0][2]}," in said
        assert f"Gateway 127.0.0.1 port {moved[1][2]}, IncomingMail" in said
        assert re.search(r"Message finished MID [0-9]+ done", said)
        assert run.stop() == 0


def test_mail_that_comes_later_is_told_too_and_goes_nowhere_else(show: Callable[[], Show]) -> None:
    run = show().until(UP)
    port = re.search(r"port ([0-9]+), OutgoingMail", run.text)
    assert port
    with smtplib.SMTP("127.0.0.1", int(port[1]), timeout=20) as client:
        client.starttls()
        client.sendmail("me@here.example", ["you@elsewhere.example"], b"Subject: second\r\n\r\nhello\r\n")
    run.until("          Subject: second")
    assert re.search(r"Sink message 2 from <me@here\.example>, [0-9]+ bytes, over TLSv1\.3", joined(run.text))
    assert run.stop() == 0


def test_a_home_in_use_is_one_sentence_and_exit_75(show: Callable[[], Show], tmp_path: Path) -> None:
    home = Home(tmp_path / ".gatepost")
    home.initialise({})
    with home.lock("gatepost start"):
        run = show()
        assert run.wait() == 75
    assert "is in use by gatepost start (process" in joined(run.text)
    assert "Traceback" not in run.text


def test_ctrl_c_before_it_is_up_leaves_nothing_either(show: Callable[[], Show]) -> None:
    run = show()
    run.until("Gatepost, with one message sent through it. Ctrl-C ends it.")
    assert run.stop() == 0
    assert run.lines[-1] == STOPPED


def test_a_second_ctrl_c_does_not_wait_and_leaves_nothing_either(show: Callable[[], Show]) -> None:
    run = show().until(UP)
    watches = run.watches()
    run.process.send_signal(signal.SIGINT)
    run.until("Stopping the gateway, then the sink.")
    assert run.stop() == 0
    assert run.lines[-1] == STOPPED
    assert gone(watches), "a process of the gateway is left"


def test_the_gateway_does_not_outlive_a_killed_show(show: Callable[[], Show]) -> None:
    run = show().until(UP)
    watches = run.watches()
    run.process.kill()
    assert gone(watches, seconds=20.0), "the gateway outlived the show"


def test_a_gateway_that_dies_ends_the_show(show: Callable[[], Show]) -> None:
    run = show().until(UP)
    watches = run.watches()
    signal.pidfd_send_signal(watches[-1], signal.SIGKILL)
    assert run.wait() == 1
    assert "the gateway ended by itself (status -9)" in joined(run.text)
    assert gone(watches, seconds=20.0)
