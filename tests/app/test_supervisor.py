"""The processes, for real: start, commit, deaths and the end, with a worker that does next to nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.app.gateway import SCRIPT, Running, free_port, until, until_ended, watch

from gatepost.core.errors import Exit, OperatorError

pytestmark = pytest.mark.slow

Begin = Callable[..., Running]


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own cannot be)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Running] = []

    def make(**options: Any) -> Running:
        started.append(Running(tmp_path / "home", **options))
        return started[-1]

    yield make
    for running in started:
        running.close()


def test_a_start_serves_and_a_stop_leaves_nothing(begin: Begin) -> None:
    gateway = begin().until_ready()
    watches = [watch(pid) for pid in gateway.pids()]
    about = gateway.ask("about")
    assert [one["index"] for one in about] == [0, 1]
    assert [one["shards"] for one in about] == [[0], [1]]
    assert all(one["keys"] == ["Demo"] and one["capabilities"] == 0 for one in about)
    assert gateway.knock() in ("0 1", "1 1")
    session = os.getsid(gateway.process.pid)
    nice, policy, desk_session, capabilities = gateway.call("scheduling")
    assert (nice, policy, capabilities) == (min(19, os.nice(0) + 10), os.SCHED_BATCH, 0)
    assert {desk_session, *(one["session"] for one in about)} == {session}
    assert gateway.call("whoami") == f"local:{os.geteuid()}"
    assert gateway.call("seal") == "secret"
    assert len({first for _ in range(3) for first in gateway.ask("id")}) == 6
    assert gateway.stop() == 0
    until_ended(watches, 0.0)
    assert not gateway.home.control_socket.exists()
    with pytest.raises(ConnectionRefusedError):
        gateway.knock()
    gateway.home.lock("the next").release()


def test_the_pass_phrase_is_shown_at_the_first_start_only(begin: Begin) -> None:
    first = begin(workers=1).until_ready()
    shown = [line for line in first.said if "pass-phrase" in line]
    assert len(shown) == 1
    assert first.stop(signal.SIGINT) == 0
    second = begin(workers=1).until_ready()
    assert not [line for line in second.said if "pass-phrase" in line]
    passphrase = shown[0].rpartition(" ")[2].encode()
    for path in second.home.root.rglob("*"):
        assert not path.is_file() or passphrase not in path.read_bytes()


def test_a_second_start_on_the_home_exits_75_and_says_who_has_it(begin: Begin) -> None:
    gateway = begin(workers=1).until_ready()
    second = begin(workers=1)
    assert second.process.wait(timeout=20) == 75
    assert second.process.stderr is not None
    complaint = second.process.stderr.read()
    assert f"gatepost start (process {gateway.process.pid})" in complaint
    assert len(complaint.splitlines()) == 1
    assert gateway.call("status")["workers"][0]["state"] == "running"


def test_a_commit_reaches_every_worker_and_moves_the_ports(begin: Begin) -> None:
    gateway = begin().until_ready()
    more = free_port()
    assert gateway.call("commit", ports=[gateway.port, more], comment="two") == 2
    assert [one["version"] for one in gateway.ask("about")] == [2, 2]
    assert gateway.knock(more).endswith(" 2")
    assert gateway.call("commit", ports=[more], comment="one") == 3
    with pytest.raises(ConnectionRefusedError):
        gateway.knock(gateway.port)
    assert gateway.knock(more).endswith(" 3")
    assert "version 3 by local:" in gateway.log()
    gateway.stop()
    assert begin().until_ready().call("status")["version"] == 3


@pytest.mark.parametrize("comment", ["worker 1 refuses", "crash", "store fails", "port"])
def test_what_fails_a_commit_changes_nothing(begin: Begin, comment: str) -> None:
    gateway = begin().until_ready()
    new = free_port()
    with socket.socket() as taken:
        if comment == "port":
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        ports = [new, *([taken.getsockname()[1]] if comment == "port" else [])]
        with pytest.raises(OperatorError) as refusal:
            gateway.call("commit", ports=ports, comment=comment)
    assert "internal" not in refusal.value.message
    until(lambda: states(gateway) == ["running"] * 2, "both workers run")
    assert gateway.call("status")["version"] == 1
    assert [one["version"] for one in gateway.ask("about")] == [1, 1]
    assert gateway.knock().endswith(" 1")
    with pytest.raises(ConnectionRefusedError):
        gateway.knock(new)
    assert gateway.call("commit", ports=[new], comment="good") == 2


def states(gateway: Running) -> list[str]:
    return [worker["state"] for worker in gateway.call("status")["workers"]]


def test_a_killed_worker_comes_again_with_its_shards_and_without_its_places(begin: Begin) -> None:
    gateway = begin().until_ready()
    gateway.call("commit", ports=[gateway.port], comment="x")
    assert gateway.ask("claim", limit=2) == [True, True]
    before = gateway.call("status")["workers"]
    os.kill(before[1]["pid"], signal.SIGKILL)
    after = until(
        lambda: (
            (found := gateway.call("status")["workers"])[1]["restarts"] == 1
            and found[1]["state"] == "running"
            and found
        ),
        "the worker is back",
    )
    assert after[0]["pid"] == before[0]["pid"]
    assert after[1]["pid"] != before[1]["pid"]
    assert [worker["shards"] for worker in after] == [worker["shards"] for worker in before]
    assert gateway.ask("about")[1]["version"] == 2
    assert sorted(gateway.ask("claim", limit=2)) == [False, True]
    assert "worker 1 (pid" in gateway.log()
    assert "killed by SIGKILL; restart in 1 s" in gateway.log()


def test_a_killed_desk_comes_again_and_takes_up_what_was_stored(begin: Begin) -> None:
    gateway = begin(workers=1).until_ready()
    desk = gateway.call("status")["desk"]["pid"]
    os.kill(desk, signal.SIGKILL)

    def back() -> bool:
        try:
            return bool(gateway.call("status")["desk"]["pid"] != desk)
        except OperatorError as error:
            if error.code not in (Exit.NOT_RUNNING, Exit.TRY_AGAIN):
                raise
            return False

    until(back, "the desk is back")
    assert gateway.call("commit", ports=[gateway.port], comment="x") == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_supervisor_leaves_no_children_and_no_lock(begin: Begin, number: int) -> None:
    gateway = begin().until_ready()
    watches = [watch(pid) for pid in gateway.pids()]
    gateway.process.send_signal(number)
    assert gateway.process.wait(timeout=20) == -number
    until_ended(watches)
    again = begin().until_ready()
    assert again.knock(gateway.port).endswith(" 1")


def test_workers_hear_each_other_and_one_that_cannot_go_on_is_replaced(begin: Begin) -> None:
    gateway = begin().until_ready()
    gateway.call("ask", kind="broadcast", args={"what": "a.example"}, worker=0)
    until(lambda: gateway.ask("about")[1]["heard"], "worker 1 hears")
    assert [one["heard"] for one in gateway.ask("about")] == [[], ["freed a.example"]]
    gateway.call("ask", kind="fail", worker=1)
    until(lambda: gateway.call("status")["workers"][1]["restarts"] == 1, "worker 1 is replaced")
    assert "worker 1 cannot go on: the disk is gone" in gateway.log()


def test_a_bug_in_a_worker_or_an_operation_is_a_reference_and_a_traceback_in_the_log(begin: Begin) -> None:
    gateway = begin(workers=1).until_ready()
    (answer,) = gateway.call("ask", kind="bug")
    assert answer["error"].startswith("internal error, reference ")
    with pytest.raises(OperatorError) as bug:
        gateway.call("bug")
    assert bug.value.code is Exit.BUG
    assert "secret" not in bug.value.message
    reference = bug.value.message.rpartition(" ")[2]
    assert reference in gateway.log()
    events = gateway.home.event_log.read_text()
    assert reference in events
    assert "Traceback" in events


def test_a_process_that_dawdles_is_killed_when_the_stop_time_is_over(begin: Begin) -> None:
    gateway = begin(stop_seconds=0.3).until_ready()
    gateway.call("commit", ports=[gateway.port], comment="dawdle")
    watches = [watch(pid) for pid in gateway.pids()]
    assert gateway.stop() == 0
    until_ended(watches, 0.0)


def test_a_second_ctrl_c_does_not_wait(begin: Begin) -> None:
    gateway = begin(stop_seconds=60).until_ready()
    gateway.call("commit", ports=[gateway.port], comment="dawdle")
    gateway.process.send_signal(signal.SIGINT)
    until(lambda: not gateway.home.control_socket.exists() or stopping(gateway), "it is stopping")
    assert gateway.stop(signal.SIGINT) == 0


def stopping(gateway: Running) -> bool:
    return bool(gateway.call("status")["stopping"])


def test_a_reload_keeps_the_version_and_the_connections(begin: Begin, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        gateway = begin(workers=1, NOTIFY_SOCKET=str(tmp_path / "notify")).until_ready()
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=version 1")
        pid = gateway.pids()[0]
        gateway.process.send_signal(signal.SIGHUP)
        assert manager.recv(1000).startswith(b"RELOADING=1")
        assert manager.recv(1000).startswith(b"READY=1")
        assert gateway.pids()[0] == pid
        assert gateway.knock() == "0 1"
        gateway.process.send_signal(signal.SIGTERM)
        assert manager.recv(1000).startswith(b"STOPPING=1")
        assert gateway.process.wait(timeout=20) == 0


def test_a_taken_port_fails_the_start_in_one_sentence(begin: Begin) -> None:
    gateway = begin(workers=1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", gateway.port))
        taken.listen()
        assert gateway.process.wait(timeout=20) == 1
    assert gateway.process.stderr is not None
    complaint = gateway.process.stderr.read()
    assert f"port {gateway.port}: Address already in use" in complaint
    assert len(complaint.splitlines()) == 1


def test_a_lost_master_key_refuses_the_start(begin: Begin) -> None:
    begin(workers=1).until_ready().stop()
    gateway = begin(workers=1)
    gateway.close()
    gateway.home.master_key.unlink()
    again = begin(workers=1)
    assert again.process.wait(timeout=20) == 78
    assert again.process.stderr is not None
    assert "cannot be decrypted: Demo" in again.process.stderr.read()


def readable_by_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
reachable = readable_by_all(Path(os.__file__))


@as_root
@pytest.mark.skipif(reachable, reason="every user can read this Python")
def test_an_owner_who_cannot_read_the_program_is_told(public_path: Path) -> None:
    os.chown(public_path, 12345, 12345)
    gateway = Running(public_path, workers=1)
    assert gateway.process.wait(timeout=20) == 1
    assert "the user 12345, to whom the home belongs, cannot read" in gateway.process.communicate()[1]


@as_root
@pytest.mark.skipif(not reachable, reason="this Python is closed to other users")
def test_root_becomes_the_homes_owner_and_still_binds_low_ports(public_path: Path) -> None:
    home = public_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    low = next(port for port in range(900, 1023) if not in_use(port))
    gateway = Running(home, workers=1, port=low)
    try:
        gateway.until_ready()
        (about,) = gateway.ask("about")
        assert (about["uid"], about["capabilities"]) == (12345, 0)
        assert gateway.knock() == "0 1"
        lower = next(port for port in range(800, 900) if not in_use(port))
        assert gateway.call("commit", ports=[lower], comment="later") == 2
        assert gateway.knock(lower) == "0 2"
        owners = {path.stat().st_uid for path in home.rglob("*")}
        assert owners == {12345}
        assert gateway.stop() == 0
    finally:
        gateway.close()


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_role_is_not_for_people() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "gatepost", "worker"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (
        2,
        "gatepost: this role is started by the gateway itself (run `gatepost start`)\n",
    )
    assert SCRIPT.endswith("processes.py")
