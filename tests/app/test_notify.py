"""What the service manager hears."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gatepost.app.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_each_state_is_one_datagram(tmp_path: Path, abstract: bool) -> None:
    name = f"@gatepost-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"}
        notifier = Notifier(environ, 1)
        notifier.ready("version 1")
        notifier.reloading()
        notifier.stopping(60)
        notifier.alive()
        said = [manager.recv(1000).decode() for _ in range(4)]
    assert said[0] == "READY=1\nSTATUS=version 1"
    assert said[1].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert said[2] == "STOPPING=1\nEXTEND_TIMEOUT_USEC=65000000"
    assert said[3] == "WATCHDOG=1"
    assert environ == {}
    assert notifier.watchdog_seconds == 2.0


def test_without_a_manager_nothing_is_said() -> None:
    notifier = Notifier({}, 1)
    notifier.ready("")
    assert notifier.watchdog_seconds == 0


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "2"}, 1).watchdog_seconds == 0


def test_a_manager_that_is_gone_is_no_error_and_is_told_again_when_it_is_back(tmp_path: Path) -> None:
    name = str(tmp_path / "gone")
    notifier = Notifier({"NOTIFY_SOCKET": name}, 1)
    notifier.ready("nobody hears it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        notifier.alive()
        assert manager.recv(1000) == b"WATCHDOG=1"
