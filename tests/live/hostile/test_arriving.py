"""Floods of connections whose names nobody can tell (C27): within the limits while they are looked up, and told as ever."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.hostile.house import check_log_lines
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports

from gatepost.control.protocol import call
from gatepost.store.home import Home

LISTENER, OF_ADDRESS = 40, 7
BUSY = b"421 4.3.2 Too many connections, please try again later\r\n"
FROM_ADDRESS = b"421 4.7.0 Too many connections from your address, please try again later\r\n"


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with two workers, of one listener that matters here, and its name server, which answers nothing."""

    gateway: Gateway
    port: int
    silent: DnsAuthority

    def connect(self, source: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20, (source, 0))

    def workers(self) -> list[int]:
        status = call(Home(self.gateway.home).control_socket, "status", {}, timeout=20)
        return [worker["pid"] for worker in status["workers"]]

    def sockets(self) -> int:
        """How many sockets both workers have open."""
        count = 0
        for pid in self.workers():
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    count += os.readlink(entry).startswith("socket:")
        return count


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("arriving")
    gateway, public = Gateway(folder), ports.free()
    with DnsAuthority({}) as silent:
        silent.behave("*", Behaviour.TIMEOUT)
        configuration = document(public, ports.free())
        configuration["dns"] = {
            "servers": [f"127.0.0.1:{silent.port}"],
            "reverse": True,
            "validate_dnssec": False,
        }
        configuration["listeners"][0]["max_connections"] = LISTENER
        configuration["mail_flow_policies"][0]["max_connections_per_ip"] = OF_ADDRESS
        gateway.configure(configuration)
        gateway.start(workers=2)
        yield Stage(gateway, public, silent)
        gateway.stop()
        check_log_lines([line for line in gateway.log.all if "Process worker" not in line])
        gateway.close()


def test_c27_a_flood_from_addresses_without_names(stage: Stage) -> None:
    """Everybody beyond the listener's limit is told so at once, and nothing is asked or kept for them."""
    start, before, asked = stage.gateway.log.mark(), stage.sockets(), len(stage.silent.asked)
    flood = [stage.connect(f"127.3.{number // 250}.{number % 250 + 1}") for number in range(300)]
    try:
        told = Counter(bytes(_line(connection)) for connection in flood)
        assert told == {BUSY: 300 - LISTENER, b"220 ": LISTENER}
        assert stage.sockets() - before <= LISTENER + 5
        names = {name for name, _, _ in stage.silent.asked[asked:]}
        assert len(names) == LISTENER
    finally:
        for connection in flood:
            connection.close()
    stage.gateway.log.wait_for(r"ICID \d+ close", start=start, count=300)
    lines = [line for line in stage.gateway.log.all[start:] if "New SMTP" in line]
    assert len(lines) == 300
    assert all(line.endswith("reverse dns host unknown verified None") for line in lines)
    assert (
        len(stage.gateway.log.matching(r"ICID \d+ ACCEPT SG ALL match ALL SBRS not enabled$", start)) == 300
    )
    assert (
        len(stage.gateway.log.matching(r"Receiving Failed: Connection limit exceeded$", start))
        == 300 - LISTENER
    )


def test_c27_a_flood_from_one_address_without_a_name(stage: Stage) -> None:
    start = stage.gateway.log.mark()
    flood = [stage.connect("127.4.0.1") for _ in range(60)]
    try:
        told = Counter(bytes(_line(connection)) for connection in flood)
        assert told == {FROM_ADDRESS: 60 - OF_ADDRESS, b"220 ": OF_ADDRESS}
        with stage.connect("127.4.0.2") as other:
            assert _line(other) == b"220 "
    finally:
        for connection in flood:
            connection.close()
    stage.gateway.log.wait_for(r"ICID \d+ close", start=start, count=61)


def test_c27_those_who_vanish_while_they_are_looked_up_leave_their_places(stage: Stage) -> None:
    """Four times as many as there are places, one after the other: each comes when the one before has gone."""
    start = stage.gateway.log.mark()
    for number in range(4 * LISTENER):
        connection = stage.connect(f"127.5.{number // 250}.{number % 250 + 1}")
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        if number % LISTENER == LISTENER - 1:
            stage.gateway.log.wait_for(r"ICID \d+ close", start=start, count=number + 1)
    assert not stage.gateway.log.matching("Connection limit exceeded", start)
    assert len(stage.gateway.log.matching(r"ICID \d+ lost$", start)) == 4 * LISTENER
    full = [stage.connect(f"127.6.0.{number + 1}") for number in range(LISTENER)]
    assert {_line(connection) for connection in full} == {b"220 "}
    for connection in full:
        connection.close()
    stage.gateway.log.wait_for(r"ICID \d+ close", start=start, count=5 * LISTENER)


def test_c27_a_worker_that_is_killed_leaves_the_places_of_those_that_arrived(stage: Stage) -> None:
    flood = [stage.connect(f"127.7.0.{number + 1}") for number in range(LISTENER)]
    for pid in stage.workers():
        os.kill(pid, 9)
    for connection in flood:
        connection.close()
    again = [stage.connect(f"127.8.0.{number + 1}") for number in range(LISTENER)]
    assert {_line(connection) for connection in again} == {b"220 "}
    for connection in again:
        connection.close()


def _line(connection: socket.socket) -> bytes:
    """The refusal as a whole, or the code of a greeting."""
    got = b""
    while not got.endswith(b"\n"):
        piece = connection.recv(4096)
        if not piece:
            break
        got += piece
    return got[:4] if re.match(rb"220 ", got) else got
