"""Attacks on memory, time and descriptors (C21, C22, C27): what a client sends without end costs it the connection,
and neither the gateway's memory nor the sessions of others pay for it.

Memory is what the workers have resident before the attack and at its end, as a rule while the attacker is still
connected; a peak in between is not seen. Allocators keep some of what was freed, hence the allowance.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.hostile.house import Hostile, House, token

MIB = 1 << 20
ALLOWANCE = 24 * MIB  # of both workers together


@contextlib.contextmanager
def bounded_memory(house: House, most: int = ALLOWANCE) -> Iterator[None]:
    before = house.memory()
    yield
    grown = house.memory() - before
    assert grown < most, f"the workers grew by {grown / MIB:.1f} MiB"


def pour(client: Hostile, piece: bytes, total: int) -> int:
    """Sends `piece` again and again, reading whatever is answered, until `total` octets went or the server ended it."""
    sent = 0
    view = memoryview(piece)
    rest = view
    client.socket.setblocking(False)
    deadline = time.monotonic() + 30
    while sent < total and time.monotonic() < deadline:
        readable, writable, _ = select.select([client.socket], [client.socket], [], 10)
        try:
            if readable and not client.socket.recv(1 << 20):
                break
            if writable:
                done = client.socket.send(rest)
                sent += done
                rest = rest[done:] if done < len(rest) else view
        except (BlockingIOError, InterruptedError):
            continue
        except OSError:
            break
    client.socket.setblocking(True)
    client.socket.settimeout(20)
    return sent


def test_c27_a_hundred_thousand_recipients(house: House) -> None:
    """At most the policy's number is taken; the rest is refused, and the message goes to those taken."""
    with bounded_memory(house):
        client = house.client()
        client.ehlo()
        client.command("MAIL FROM:<a@hostile.example>")
        count = 100_000
        flood = b"".join(b"RCPT TO:<u%d@example.net>\r\n" % number for number in range(count))
        sender = threading.Thread(target=client.socket.sendall, args=(flood,))
        sender.start()
        codes: dict[str, int] = {}
        while line := client.line():
            codes[line[:3]] = codes.get(line[:3], 0) + 1
            if sum(codes.values()) == count:
                break
        sender.join()
        assert codes["250"] == 1000
        assert set(codes) <= {"250", "452", "421"}
        client.close()


def test_c27_commands_without_reading_the_answers(house: House) -> None:
    """Whoever does not read is not read: answers do not pile up."""
    with bounded_memory(house):
        client = house.client()
        client.ehlo()
        client.socket.settimeout(1)
        sent = 0
        flood = b"NOOP\r\n" * 10_000
        with contextlib.suppress(TimeoutError, OSError):
            while sent < 16 * MIB:
                sent += client.socket.send(flood)
        assert sent < 16 * MIB, "the gateway goes on reading"


def test_c21_a_hundred_thousand_tiny_chunks(house: House) -> None:
    start = house.mark()
    with bounded_memory(house):
        client = house.client()
        client.ehlo()
        client.envelope()
        pour(client, b"BDAT 1\r\nx" * 100, 900_000)
        assert house.log(r"ICID \d+ Receiving Failed: Too many small chunks", start=start)


def test_c20_a_chunk_of_two_gigabytes_is_not_waited_for(house: House) -> None:
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(b"BDAT 2147483648 LAST\r\n")
    assert client.rest()[0].startswith("552 5.3.4")


def test_c22_a_command_line_of_a_megabyte(house: House) -> None:
    start = house.mark()
    with bounded_memory(house):
        client = house.client()
        assert pour(client, b"A" * 65_536, MIB) <= MIB
        house.log(r"ICID \d+ Receiving Failed: Line without end", start=start)


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"X-Long: ", b"y" * 65_536), (b"", b"X-Many: y\r\n" * 6_000), (b"X-Folded: ", b" y\r\n" * 16_000)],
    ids=["one field of 10 MB", "a million fields", "folds without end"],
)
def test_c22_headers_without_end(house: House, head: bytes, piece: bytes) -> None:
    """The header is bounded; the message is refused at its real end and the session goes on."""
    start = house.mark()
    with bounded_memory(house):
        client = house.client()
        client.ehlo()
        client.envelope()
        assert client.command("DATA")[0].startswith("354")
        client.send(head)
        assert pour(client, piece, 10 * MIB) >= 10 * MIB
        client.send(b"\r\n\r\nbody\r\n.\r\n")
        assert client.reply()[0].startswith("552 5.6.0")
        assert client.alive()
    house.log(r"ICID \d+ Receiving Failed: Message header exceeds limit", start=start)


def test_c22_a_line_of_ten_megabytes_in_the_body_passes_unchanged(house: House) -> None:
    """A text line may be long; nothing is cut or folded, and memory does not hold it."""
    word = token()
    line = b"z" * (10 * MIB)
    with bounded_memory(house):
        client = house.client()
        client.ehlo()
        client.envelope()
        client.command("DATA")
        client.send(f"Subject: {word}\r\n\r\n".encode() + line + b"\r\n.\r\n")
        assert client.reply()[0].startswith("250")
        (mail,) = house.arrived(word)
        assert mail.content.endswith(b"\r\n\r\n" + line + b"\r\n")


def test_c22_a_message_beyond_the_limit_is_read_to_its_end_and_not_kept(house: House) -> None:
    with bounded_memory(house):
        client = house.client(house.ports.tight)
        client.ehlo()
        client.envelope()
        client.command("DATA")
        client.send(b"Subject: large\r\n\r\n")
        pour(client, b"0123456789abcdef\r\n" * 4_000, 20 * MIB)
        client.send(b"\r\n.\r\n")
        assert client.reply()[0].startswith("552 5.3.4")


def test_c27_slow_commands_and_slow_messages_end_by_the_session_s_limit(house: House) -> None:
    """Octets that drip in renew the patience for each, but not the session's own end."""
    start = house.mark()
    dripping = [house.client(house.ports.tight) for _ in range(2)]
    silent = house.client(house.ports.tight)
    dripping[1].ehlo()
    dripping[1].envelope()
    dripping[1].command("DATA")
    over: set[Hostile] = set()
    deadline = time.monotonic() + 15
    while len(over) < 2 and time.monotonic() < deadline:
        for client in dripping:
            if client not in over:
                try:
                    client.send(b"x")
                except OSError:
                    over.add(client)
                    continue
                if select.select([client.socket], [], [], 0.2)[0]:
                    over.add(client)
    assert len(over) == 2, "a slow client is never told to go"
    assert silent.rest() == ["421 4.4.2 Timeout, closing connection"]
    for client in dripping:
        assert client.rest()[:1] == ["421 4.4.2 This connection has lasted long enough, please connect again"]
    house.log(r"ICID \d+ Receiving Failed: Timeout", start=start)
    house.log(r"Message aborted", start=start)


def test_c27_a_slow_handshake_ends_by_the_listener_s_patience(house: House) -> None:
    """One octet a time of a record that never ends; the handshake has its time as a whole."""
    start = house.mark()
    client = house.client(house.ports.tight)
    client.ehlo()
    client.command("STARTTLS")
    began = time.monotonic()
    octets = iter(b"\x16\x03\x01\x10\x00" + b"\x01" * 4_000)
    while time.monotonic() - began < 10:
        try:
            client.send(bytes([next(octets)]))
        except OSError:
            break
        if select.select([client.socket], [], [], 0.1)[0]:
            break
    assert time.monotonic() - began < 6
    house.log(r"ICID \d+ TLS failed: timeout", start=start)


def test_c27_half_open_handshakes_do_not_keep_others_out(house: House) -> None:
    """More stalled handshakes than a worker has places for; others still get TLS, in and out."""
    stalled = []
    for _ in range(260):
        client = house.client()
        client.send(b"EHLO stalled.example\r\nSTARTTLS\r\n")
        stalled.append(client)
    for client in stalled:
        client.reply()
        assert client.reply()[0].startswith("220")
    began = time.monotonic()
    house.check_message_passes()
    assert time.monotonic() - began < 5
    for client in stalled:
        client.close()


def test_c27_two_thousand_idle_connections(house: House) -> None:
    """Idle sessions are cheap, and the others go on."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[0] < 4_000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 8_000), limit[1]))
    before = house.memory()
    idle = [socket.create_connection(("127.0.0.1", house.ports.public), 20) for _ in range(2_000)]
    try:
        for connection in idle:
            assert connection.recv(4096).startswith(b"220")
        grown = house.memory() - before
        assert grown < 2_000 * 16_384, f"{grown / 2_000:.0f} octets an idle connection"
        house.check_message_passes()
    finally:
        for connection in idle:
            connection.close()


def test_c27_connections_beyond_the_limit_are_told_so(house: House) -> None:
    """The address's limit and the listener's, over both workers; places come back when connections go."""
    start = house.mark()
    taken = [house.client(house.ports.tight) for _ in range(20)]
    refused = house.client(house.ports.tight, greeted=False)
    assert refused.rest() == ["421 4.7.0 Too many connections from your address, please try again later"]
    others = [house.client(house.ports.tight, source="127.0.0.2") for _ in range(10)]
    refused = house.client(house.ports.tight, greeted=False, source="127.0.0.3")
    assert refused.rest() == ["421 4.3.2 Too many connections, please try again later"]
    house.log(r"ICID \d+ Receiving Failed: Connection limit exceeded", start=start, count=2)
    for client in (*taken, *others):
        client.command("QUIT")
        client.rest()
    again = [house.client(house.ports.tight) for _ in range(20)]
    assert len(again) == 20


def test_c27_a_flood_of_connections_that_vanish(house: House) -> None:
    """Connected and reset at once, in every moment of a session's beginning; each is gone when its peer is."""
    start = house.mark()
    with bounded_memory(house):
        for number in range(600):
            connection = socket.create_connection(("127.0.0.1", house.ports.public), 20)
            if number % 3:
                connection.recv(4096)
            if number % 3 == 2:
                connection.sendall(b"EHLO x\r\nSTARTTLS\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    house.log(r"ICID \d+ close", start=start, count=600)
    assert not house.gateway.log.matching(r"ICID \d+ TLS failed: timeout", start)
    house.check_message_passes()


def test_c27_out_of_descriptors(house: House) -> None:
    """EMFILE: accepting rests instead of spinning, those who are in go on, and it comes back by itself."""
    start = house.mark()
    workers = house.pids[:2]
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
    while not all("mail_logs" in target for target in map(_open_files, workers)):
        house.check_message_passes()  # a worker opens the log when it first has something to say
    inside = house.client().secure()
    waiting = []
    try:
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_limit_that_leaves(10, pid), limits[pid][1]))
        for _ in range(60):
            waiting.append(socket.create_connection(("127.0.0.1", house.ports.public), 20))
        house.log(r"Warning: accepting rests for a moment: .*\[Errno 24\] Too many open files", start=start)
        before = [_cpu(pid) for pid in workers]
        assert inside.alive()
        # A message that needs a file has no descriptor for it: not now, said clearly, and nothing is lost or half kept.
        word = token()
        inside.envelope()
        answer = inside.data(f"Subject: {word}\r\n\r\n".encode() + b"large\r\n" * 40_000)
        assert answer[0][:3] in ("451", "452", "250"), answer
        if answer[0].startswith("250"):
            house.arrived(word)
        assert inside.alive()
        select.select([], [], [], 1.0)  # the time in which it must not spin
        spent = sum(_cpu(pid) for pid in workers) - sum(before)
        assert spent < 0.5, f"{spent} s of CPU in one second"
    finally:
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits[pid])
        for connection in waiting:
            connection.close()
    house.check_message_passes()


def _descriptors(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _limit_that_leaves(free: int, pid: int) -> int:
    """The limit under which so many descriptors are free: those of earlier connections are free in between."""
    taken = {int(name) for name in _descriptors(pid)}
    return next(itertools.islice((number for number in itertools.count() if number not in taken), free, None))


def _open_files(pid: int) -> str:
    return " ".join(os.readlink(f"/proc/{pid}/fd/{name}") for name in _descriptors(pid))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
