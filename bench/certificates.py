"""`python -m bench.certificates`: a store of 10,000 certificates is listed, searched and checked for expiry.

A home of its own in a folder that is removed. Each profile has a key and a certificate that an authority of the bench signed, with
one intermediate. Measured is what the desk does for a request, in this process: the operation from the committed version to
the JSON that goes over the control socket. *First* is the first time after a start, when everything is read and judged;
the others are medians. The goal is 100 ms for each of list, find and expiry check. Then the verification of a chain, with a goal of
500 microseconds of CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.tools import BenchError
from gatepost.certs.expiry import Told, Watch
from gatepost.control.ops import build
from gatepost.control.ports import Caller, Operations
from gatepost.control.protocol import encode_frame
from gatepost.pki.anchors import Anchors
from gatepost.pki.judge import Purpose, judge_chain
from gatepost.pki.profile import Origin, make_profile
from gatepost.store.beginning import begin
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.secrets import LocalKeeper, read_master_key

COUNT = 10_000
ROUNDS = 9
GOAL_MS = 100.0
CHAINS = 500
GOAL_US = 500.0
_DAY = datetime.timedelta(days=1)


class Clock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Authority:
    """A root and an intermediate that sign host certificates, all begun a day before `age` ago."""

    def __init__(self, age: datetime.timedelta = datetime.timedelta()) -> None:
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - age
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench Root")])
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench Sub CA")])
        self.root = self._made(root, root, self.root_key, self.root_key, 3650 * _DAY, None)
        self.sub = self._made(self.name, root, self.key, self.root_key, 1825 * _DAY, None)

    def host(self, host: str, key: ec.EllipticCurvePrivateKey, life: datetime.timedelta) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        return self._made(name, self.name, key, self.key, life, host).public_bytes(Encoding.DER)

    def _made(
        self,
        name: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        life: datetime.timedelta,
        host: str | None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - _DAY)
            .not_valid_after(self.now + life)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(usages, critical=False)
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement in milliseconds; `cpu` is the median of the processor's time, which a busy machine does not change."""

    what: str
    first: float
    median: float
    cpu: float
    worst: float

    def text(self) -> str:
        mark = "" if self.median <= GOAL_MS else f"   over {GOAL_MS:g}"
        return f"{self.what:<34}{self.first:>10.1f}{self.median:>10.1f}{self.cpu:>10.1f}{self.worst:>10.1f}{mark}"


def fill(home: Home, count: int) -> None:
    """Store the profiles in one transaction and commit a version that has them all."""
    home.initialise({})
    store = ConfigStore.open(home.config_db)
    key = read_master_key(home, {})
    begin(home, store, key, time.time())
    version = store.latest()
    if version is None:
        raise BenchError("the home has no version")
    authority = Authority()
    sub = authority.sub.public_bytes(Encoding.DER)
    database = apsw.Connection(str(home.config_db))
    profiles = dict(version.content.profiles)
    database.execute("BEGIN")
    for number in range(count):
        name = f"customer-{number:05}"
        own = ec.generate_private_key(ec.SECP256R1())
        leaf = authority.host(f"mx{number}.example.net", own, (30 + number % 360) * _DAY)
        made = make_profile(name, leaf, own, intermediates=(sub,), origin=Origin.SIGNED, created=time.time())
        database.execute(
            "INSERT INTO profile VALUES (NULL, ?, ?, ?, ?, ?)",
            (name, time.time(), made.certificate_pem, orjson.dumps(made.document()), b"sealed"),
        )
        profiles[name] = database.last_insert_rowid()
    database.execute("COMMIT")
    database.close()
    root = authority.root.public_bytes(Encoding.PEM).decode("ascii")
    content = Content(version.content.document, profiles, root, version.content.users)
    store.commit(version.number, content, "bench", "filled", time.time())
    store.close()


def measure(what: str, run: Callable[[], Any], rounds: int = ROUNDS) -> Line:
    times, cpu = [], []
    for _ in range(rounds + 1):
        begun, spent = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - begun) * 1000)
        cpu.append((time.process_time() - spent) * 1000)
    first, *rest = times
    return Line(what, first, statistics.median(rest), statistics.median(cpu[1:]), max(rest))


def _asked(loop: asyncio.AbstractEventLoop, operations: Operations, op: str, **args: Any) -> Any:
    """One request as the desk answers it, frame included."""
    result = loop.run_until_complete(operations.call(op, args, Caller.local(0)))
    encode_frame({"v": 1, "id": 1, "result": result})
    return result


def lines(home: Home, count: int) -> list[Line]:
    store, clock = ConfigStore.open(home.config_db), Clock()
    operations = build(home, store, LocalKeeper(read_master_key(home, {})), None, clock)
    loop = asyncio.new_event_loop()
    name = f"customer-{count // 2:05}"
    listed = _asked(loop, operations, "cert.show", name=name)
    if listed["status"] != "valid":
        raise BenchError(f"the bench's certificates are {listed['status']}")
    watch = Watch(store)

    def expiry() -> None:
        version = store.latest()
        if version is None:
            raise BenchError("the home has no version")
        Told(store).due(watch.items(version.content), clock.now())

    try:
        return [
            measure(f"list ({count:,})", lambda: _asked(loop, operations, "cert.list")),
            measure(f"find one of {count:,}", lambda: _asked(loop, operations, "cert.show", name=name)),
            measure(f"check all {count:,}", lambda: _asked(loop, operations, "cert.check")),
            measure(f"expiry check ({count:,})", expiry),
        ]
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        store.close()


def judgement(count: int = CHAINS) -> str:
    """The CPU time of one verification: leaf, intermediate and a root of one's own, each leaf seen for the first time."""
    authority = Authority()
    sub = authority.sub.public_bytes(Encoding.DER)
    anchors = Anchors.from_pem(authority.root.public_bytes(Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    chains = [[authority.host(f"mx{number}.example.net", key, 90 * _DAY), sub] for number in range(count)]
    times = []
    for chain in chains:
        spent = time.process_time()
        verdict = judge_chain(chain, anchors, time.time(), Purpose.SERVER)
        times.append((time.process_time() - spent) * 1_000_000)
        if not verdict.ok:
            raise BenchError(f"the bench's chain is refused: {verdict.worst}")
    median = statistics.median(times)
    mark = "" if median <= GOAL_US else f"   over {GOAL_US:g}"
    return f"verify a chain: {median:.0f} microseconds of CPU (median of {count}){mark}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.certificates", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    count: int = parser.parse_args().count
    folder = Path(tempfile.mkdtemp(prefix="gatepost-bench-"))
    try:
        home = Home(folder / "home")
        fill(home, count)
        print(f"{'milliseconds':<34}{'first':>10}{'median':>10}{'cpu':>10}{'worst':>10}")
        for line in lines(home, count):
            print(line.text())
        print(judgement())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
