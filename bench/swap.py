"""`python -m bench.swap`: certificates replaced under a steady load of handshakes; none may fail.

A gateway of its own on loopback, in a folder that is removed. Handshakes are begun at a fixed rate, whatever becomes of those
before (STARTTLS, a third each of any, RSA-only and ECDSA-only clients), while the certificate in use is imported
again and again, which is a commit each, proven by the gateway itself. Every handshake must end, with one of the
certificates that were made for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.tools import BenchError
from gatepost.control.shell.client import Client
from gatepost.net.reactor import Reactor
from gatepost.net.served import Accepts, Clients, Question, Served, Wire
from gatepost.net.socket_address import SocketAddress
from gatepost.pki.keys import KeyKind, generate, key_pem
from gatepost.pki.profile import Origin, make_profile
from gatepost.pki.selfsigned import SubjectFields, make_self_signed

KINDS = (Accepts.ANY, Accepts.RSA, Accepts.ECDSA)
NAME = "mx.example.net"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Made:
    """A profile's two certificates: the files to import, and the leaves that clients will see."""

    files: tuple[bytes, bytes]
    leaves: frozenset[bytes]


@dataclass(slots=True)
class Tally:
    """What came of the handshakes."""

    handshakes: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    commits: int = 0
    seen: set[bytes] = field(default_factory=set)


def make() -> Made:
    files, leaves = [], []
    for kind in (KeyKind.RSA2048, KeyKind.P256):
        made = make_self_signed(SubjectFields(NAME), [NAME], 30, generate(kind), time.time())
        profile = make_profile("gw", made.certificate, made.key, origin=Origin.SELF_SIGNED, created=0.0)
        files.append(key_pem(made.key).reveal() + profile.certificate_pem.encode("ascii"))
        leaves.append(made.certificate)
    return Made((files[0], files[1]), frozenset(leaves))


def document(port: int) -> str:
    listener = {
        "name": "In",
        "interface": "Loop",
        "port": port,
        "certificate": "gw",
        "host_access": [{"group": "ALL", "policy": "ACCEPTED"}],
        "recipient_access": [{"recipient": "ALL", "action": "reject"}],
    }
    policy = {"name": "ACCEPTED", "action": "accept", "tls": "preferred"}
    return json.dumps(
        {
            "system": {"hostname": NAME},
            "interfaces": [{"name": "Loop", "address": "127.0.0.1"}],
            "listeners": [listener],
            "mail_flow_policies": [policy],
            "dns": {"reverse": False},
        }
    )


def put(client: Client, made: Made, *, first: bool = False) -> None:
    """Import both certificates, the second beside the first: two commits."""
    for number, data in enumerate(made.files):
        file = b64encode(data).decode("ascii")
        how = {"beside": True} if number else {"replace": not first}
        client.call("cert.import", name="gw", file=file, **how)


@contextlib.contextmanager
def gateway(home: Path, workers: int) -> Iterator[None]:
    """A running gateway on this home, ended whatever happens."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "gatepost",
        "start",
        "--home",
        str(home),
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        limit = time.monotonic() + START_SECONDS
        assert process.stdout is not None
        while "is running" not in (line := process.stdout.readline()):
            if not line or time.monotonic() > limit:
                raise BenchError("the gateway did not start")
        yield
    finally:
        process.terminate()
        process.wait(20)


class Load:
    """Handshakes at a fixed rate."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._reactor = Reactor(self._loop, max_handshakes_out=1000)
        self._wire = Wire(self._reactor, Clients(), _no_announcement)

    async def run(self, rate: float, seconds: float) -> None:
        begin = self._loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begin + number / rate - self._loop.time()))
                group.create_task(self._one(KINDS[number % len(KINDS)]))
        self._reactor.close()

    async def _one(self, accepts: Accepts) -> None:
        started = self._loop.time()
        question = Question("127.0.0.1", self._port, False, NAME, accepts)
        (answer,) = await self._wire.ask([question])
        self._tally.handshakes += 1
        self._tally.seconds.append(self._loop.time() - started)
        self._note(answer)

    def _note(self, answer: Served) -> None:
        if answer.chain:
            self._tally.seen.add(answer.chain[0])
        else:
            self._tally.failures.append(answer.error)


async def _no_announcement(places: Sequence[SocketAddress]) -> None:
    """The load comes as any peer does."""


async def swap(client: Client, port: int, rate: float, seconds: float, made: list[Made]) -> Tally:
    tally = Tally()
    async with asyncio.TaskGroup() as group:
        load = group.create_task(Load(port, tally).run(rate, seconds))
        turn = 0
        while not load.done():
            turn += 1
            await asyncio.to_thread(put, client, made[turn % len(made)])
            tally.commits += len(made[0].files)
    known = frozenset().union(*(one.leaves for one in made))
    tally.failures += ["a certificate that nobody made"] * len(tally.seen - known)
    return tally


def report(tally: Tally, rate: float) -> str:
    times = sorted(tally.seconds)
    p99 = times[int(len(times) * 0.99)] * 1000
    lines = [
        f"{tally.handshakes} handshakes at {rate:g} a second, {tally.commits} commits, "
        f"{len(tally.seen)} certificates seen, {len(tally.failures)} failures",
        f"from connect to close: median {times[len(times) // 2] * 1000:.1f} ms, 99 % {p99:.1f} ms, longest {times[-1] * 1000:.1f} ms",
    ]
    return "\n".join([*lines, *sorted(set(tally.failures))])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.swap", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gatepost-swap-"))
    os.environ["GATEPOST_HOME"] = str(folder / "home")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        client, made = Client(str(folder / "home")), [make() for _ in range(3)]
        put(client, made[0], first=True)
        client.call("config.apply", text=b64encode(document(port).encode()).decode("ascii"))
        with gateway(folder / "home", options.workers):
            tally = uvloop.run(swap(Client(str(folder / "home")), port, options.rate, options.seconds, made))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report(tally, options.rate))
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
