"""The load: several SMTP sessions at once, plain and over STARTTLS, and a record of every 250.

What counts as promised is what got a 250 behind its final dot. A message whose answer never came may or may not be in the
gateway; it is kept apart and never sent again, so that every second arrival is the gateway's doing.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.live.crash.messages import DOMAINS, Maker, Message

QUEUED = re.compile(rb"250 2\.0\.0 Ok: queued as (\d+)")
PAUSE = 0.05  # seconds before a refused session connects again


class Refused(Exception):
    """The gateway said no (4yz or 5yz), or 421 and the end."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply.decode(errors="replace").strip())
        self.code = int(reply[:3])


class Client:
    """One SMTP client connection, as simple as can be."""

    def __init__(self, port: int, *, tls: bool, timeout: float = 60.0) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.certificate = b""
        try:
            self.reply(220)
            self.command(b"EHLO load.example", 250)
            if tls:
                self.command(b"STARTTLS", 220)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                secured = context.wrap_socket(self.socket)
                self.socket, self.certificate = secured, secured.getpeercert(binary_form=True) or b""
                self.command(b"EHLO load.example", 250)
        except BaseException:
            self.socket.close()
            raise

    def reply(self, wanted: int) -> bytes:
        """The next reply. Raises Refused for another code, ConnectionError when the connection is gone."""
        while True:
            head, found, rest = self._buffer.partition(b"\r\n")
            while found and head[3:4] == b"-":
                head, found, rest = rest.partition(b"\r\n")
            if found:
                self._buffer = rest
                if int(head[:3]) != wanted:
                    raise Refused(head)
                return head
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionResetError("the connection was closed")
            self._buffer += data

    def command(self, line: bytes, wanted: int) -> bytes:
        self.socket.sendall(line + b"\r\n")
        return self.reply(wanted)

    def envelope(self, message: Message) -> None:
        """MAIL to DATA, pipelined."""
        size = len(message.content)
        lines = [f"MAIL FROM:<load@sender.example> SIZE={size} BODY=8BITMIME"]
        lines += [f"RCPT TO:<{recipient}>" for recipient in message.recipients]
        self.socket.sendall("\r\n".join([*lines, "DATA", ""]).encode())
        for _ in lines:
            self.reply(250)
        self.reply(354)

    def body(self, message: Message) -> int:
        """The content and its end; returns the MID that the gateway promised."""
        stuffed = (b"\r\n" + message.content).replace(b"\r\n.", b"\r\n..")[2:]
        self.socket.sendall(stuffed + b".\r\n")
        found = QUEUED.match(self.reply(250))
        assert found, "a 250 without a MID"
        return int(found[1])

    def send(self, message: Message) -> int:
        self.envelope(message)
        return self.body(message)

    def quit(self) -> None:
        self.command(b"QUIT", 221)
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


@dataclass(frozen=True, slots=True)
class Promise:
    """A message that got its 250."""

    mid: int
    recipients: tuple[str, ...]
    at: float


@dataclass
class Record:
    """What the load knows. `unknown` are messages whose answer never came."""

    promised: dict[str, Promise] = field(default_factory=dict)
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    lost: int = 0  # connections that ended without an answer
    refused_connections: int = 0
    sessions: int = 0


class Load:
    """Sessions in threads, until `stop`. `pace` is the mean pause between two messages of a session, in seconds."""

    def __init__(
        self,
        port: int,
        seed: int,
        *,
        sessions: int = 6,
        pace: float = 0.05,
        big: float = 0.03,
        per_connection: int = 15,
        domains: tuple[str, ...] = DOMAINS,
        prefix: str = "s",
    ) -> None:
        self.port = port
        self.record = Record()
        self._pace = pace
        self._per_connection = per_connection
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._failed: list[BaseException] = []
        self._threads = [
            threading.Thread(
                target=self._guarded,
                args=(
                    Maker(seed, f"{prefix}{index}m", big=big, domains=domains),
                    random.Random(f"{seed}/{index}"),
                    bool(index % 2),
                ),
                name=f"load {index}",
                daemon=True,
            )
            for index in range(sessions)
        ]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Record:
        """End every session after the message in hand. Raises what went wrong in a thread."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), f"{thread.name} does not end"
        if self._failed:
            raise self._failed[0]
        return self.record

    def until(self, more: int, seconds: float = 60.0) -> None:
        """Wait until so many more messages have been promised."""
        with self._changed:
            wanted = len(self.record.promised) + more
            done = self._changed.wait_for(
                lambda: self._failed or len(self.record.promised) >= wanted, timeout=seconds
            )
        if self._failed:
            raise self._failed[0]
        assert done, f"no {more} messages were taken in {seconds:g} s: {self.record.refusals}"

    # --- a session ---------------------------------------------------------------------------

    def _guarded(self, maker: Maker, rng: random.Random, tls: bool) -> None:
        try:
            while not self._stopping.is_set():
                self._session(maker, rng, tls)
        except BaseException as error:
            with self._changed:
                self._failed.append(error)
                self._changed.notify_all()

    def _session(self, maker: Maker, rng: random.Random, tls: bool) -> None:
        try:
            client = Client(self.port, tls=tls)
        except (OSError, Refused) as error:
            with self._changed:
                self.record.refused_connections += 1
                if isinstance(error, Refused):
                    self.record.refusals[str(error)] += 1
            self._stopping.wait(PAUSE)
            return
        self.record.sessions += 1
        try:
            for _ in range(self._per_connection):
                if self._stopping.is_set():
                    break
                self._one(client, maker.make())
                self._stopping.wait(rng.random() * 2 * self._pace)
            client.quit()
        except Refused as refusal:
            with self._changed:
                self.record.refusals[str(refusal)] += 1
            self._stopping.wait(PAUSE)
        except OSError:
            with self._changed:
                self.record.lost += 1
        finally:
            client.close()

    def _one(self, client: Client, message: Message) -> None:
        client.envelope(message)
        try:
            mid = client.body(message)
        except Refused:
            raise
        except OSError:
            with self._changed:
                self.record.unknown[message.name] = message.recipients
            raise
        with self._changed:
            self.record.promised[message.name] = Promise(mid, message.recipients, time.time())
            self._changed.notify_all()


def send_many(port: int, seed: int, prefix: str, count: int, **choices: float) -> dict[str, Promise]:
    """Send so many messages on a few connections, each of which must be taken."""
    maker = Maker(seed, prefix, **choices)  # type: ignore[arg-type]
    promised: dict[str, Promise] = {}
    client = Client(port, tls=True)
    for _ in range(count):
        message = maker.make()
        promised[message.name] = Promise(client.send(message), message.recipients, time.time())
    client.quit()
    return promised
