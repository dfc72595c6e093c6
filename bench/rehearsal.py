"""`python -m bench.rehearsal`: what a rehearsal of many records takes, and how long the desk's loop stands still meanwhile.

A home gets a `records.db` of 200,000 messages to 10,000 domains over 13 days, a connection for every second message, with a certificate for each
host of its own; every fourth domain is at one of fifty providers, whose hosts serve many domains over shared connections. Most are valid, some
of them self-signed, expired, for another name, or without STARTTLS; some messages needed a second host. Beside them are as many incoming sessions as
connections. The operation `policy.rehearse` is then asked for under `required-verify`, as a running gateway's desk does, with a gateway that finds
nothing when it looks up. Told are the seconds, the longest time that the loop did not answer, and the memory of this process and of its child.

`--profile` replays in this process instead, and prints where the time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import datetime
import hashlib
import pstats
import random
import resource
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bench.certificates import Authority, Clock
from gatepost.control.ops.door import Door
from gatepost.control.ports import Caller, WorkerAnswer
from gatepost.core.events import Event
from gatepost.policy.recorded import plain_names, plain_tlsa
from gatepost.policy.tls_out import HopNames
from gatepost.store.beginning import begin
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.records import Batch, CertificateRow, ConnectionRow, DeliveryRow, RecordStore, SessionRow
from gatepost.store.secrets import LocalKeeper, read_master_key

MESSAGES = 200_000
DOMAINS = 10_000
PROVIDERS = 50
SPAN = 13 * 86_400.0
BATCH = 5_000
TICK = 0.002
SEED = 4
SENDERS = 300
VISITORS = 5_000
_DAY = datetime.timedelta(days=1)
_KINDS = ("good", "self-signed", "expired", "other", "plain")
_WEIGHTS = (90, 4, 2, 2, 2)
POLICY = """
system: {{hostname: gw.example.net}}
interfaces:
  - {{name: Data 1, address: 127.0.0.1, hostname: mx.example.net}}
listeners:
  - name: IncomingMail
    type: public
    interface: Data 1
    port: 2525
    tls: starttls
    certificate: Demo
    host_access:
      - {{group: ALL, policy: ACCEPTED}}
    recipient_access:
      - {{recipient: ALL, action: accept}}
mail_flow_policies:
  - {{name: ACCEPTED, action: accept, tls: required}}
certificate_authorities: {{system: false, custom: true}}
destination_controls:
  default: {{tls: {level}, insecure_names: allow, bounce_profile: Default}}
"""


# --- the records ------------------------------------------------------------------------------------------


class Hosts:
    """What each domain's hosts are like, and their certificates."""

    def __init__(self, domains: int) -> None:
        rng = random.Random(SEED)
        self.authority = Authority(30 * _DAY)
        self._stranger = Authority(30 * _DAY)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificates: dict[str, bytes] = {}
        self._sub = self._kept(self.authority.sub.public_bytes(Encoding.DER))
        self.of: list[tuple[str, str, str, list[str]]] = []  # domain, host, address, chain
        shared = [
            self._host(f"mx{n}.provider{n}.example", f"198.51.100.{n + 1}", "good") for n in range(PROVIDERS)
        ]
        for number in range(domains):
            domain = f"d{number}.example"
            if number % 4 == 0:
                host, address, chain = shared[number // 4 % PROVIDERS]
            else:
                kind = rng.choices(_KINDS, _WEIGHTS)[0]
                host, address, chain = self._host(
                    f"mx.{domain}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", kind
                )
            self.of.append((domain, host, address, chain))

    def _kept(self, der: bytes) -> str:
        fingerprint = hashlib.sha256(der).hexdigest()
        self.certificates[fingerprint] = der
        return fingerprint

    def _host(self, host: str, address: str, kind: str) -> tuple[str, str, list[str]]:
        if kind == "plain":
            return host, address, []
        signer = self._stranger if kind == "self-signed" else self.authority
        life = 25 * _DAY if kind == "expired" else 90 * _DAY
        leaf = signer.host("elsewhere.example" if kind == "other" else host, self._key, life)
        return host, address, [self._kept(leaf), *([] if kind == "self-signed" else [self._sub])]


def connection(at: float, dcid: int, began: float, host: tuple[str, str, str, list[str]]) -> ConnectionRow:
    """As `preferred` leaves it behind."""
    domain, name, address, chain = host
    stage = "established" if chain else "not-offered"
    tls = {
        "verdict": "encrypted" if chain else "clear",
        "stage": stage,
        "reason": "",
        "rule": "destination_controls.default",
        "sni": name,
        "protocol": "TLSv1.3" if chain else "",
        "cipher": "TLS_AES_256_GCM_SHA384" if chain else "",
        "group": "X25519MLKEM768" if chain else "",
        "chain": chain,
    }
    facts = {
        "local_address": "192.0.2.1",
        "hop": plain_names(HopNames(domain, mx_host=name)),
        "tlsa": plain_tlsa(None),
        "sts": None,
        "esmtp": True,
        "starttls": bool(chain),
        "helo": name,
        "broken": "",
        "lost": "",
        "tls": tls,
        "later": [f"backup.{domain} [192.0.2.9]:25"] if domain.endswith("7.example") else [],
    }
    return ConnectionRow(at, dcid, domain, began, name, address, 25, facts)


def deliveries(hosts: Hosts, messages: int, end: float) -> Iterator[tuple[list[ConnectionRow], DeliveryRow]]:
    """Message by message: the connections made for it, and what became of it. Few domains get most."""
    rng = random.Random(SEED + 1)
    opened: dict[str, int] = {}
    dcid = 0
    for number in range(messages):
        at = end - SPAN * (messages - number) / messages
        host = hosts.of[
            min(int(rng.paretovariate(0.6)) - 1, len(hosts.of) - 1)
            if rng.random() < 0.5
            else rng.randrange(len(hosts.of))
        ]
        made: list[ConnectionRow] = []
        if number % 2 == 0 or host[2] not in opened:
            dcid += 1
            if dcid % 50 == 0:
                down = connection(at - 0.2, dcid, at - 0.5, host)
                down.facts.update(tls=None, broken="connection refused", esmtp=False, starttls=False)
                made.append(down)
                dcid += 1
            made.append(connection(at - 0.1, dcid, at - 0.5, host))
            opened[host[2]] = dcid
        sender = f"s{rng.randrange(SENDERS)}.example"
        yield (
            made,
            DeliveryRow(at, number + 1, host[0], 1 + number % 3 // 2, sender, "delivered", opened[host[2]]),
        )


def session(icid: int, at: float, rng: random.Random) -> SessionRow:
    """A visitor that says MAIL some times; most are under TLS."""
    visitor = rng.randrange(VISITORS)
    tls = visitor % 20 != 0
    facts: dict[str, Any] = {
        "interface": "Data 1",
        "verified": "yes",
        "action": "accept",
        "group": "ALL",
        "match": "ALL",
    }
    facts |= {"score": "not enabled", "policy": "ACCEPTED", "level": "preferred", "hello": "client.example"}
    facts["senders"] = {f"user{n}@v{visitor}.example": [0, 1] if tls else [1, 0] for n in range(1 + icid % 3)}
    if tls:
        facts |= {
            "protocol": "TLSv1.3",
            "cipher": "TLS_AES_256_GCM_SHA384",
            "key_group": "X25519MLKEM768",
            "client": None,
        }
    address = f"10.200.{visitor >> 8}.{visitor & 255}"
    return SessionRow(icid, at, "IncomingMail", address, f"out.v{visitor}.example", at + 1, facts)


def fill(path: Path, hosts: Hosts, messages: int) -> None:
    """The database, as the desk would have written it."""
    store, end, rng = RecordStore.open(path), time.time() - 60, random.Random(SEED + 2)
    certificates = tuple(CertificateRow(key, der) for key, der in hosts.certificates.items())
    store.write(Batch(certificates=certificates), b"", end)
    connections: list[ConnectionRow] = []
    rows: list[DeliveryRow] = []
    sessions: list[SessionRow] = []
    for made, row in deliveries(hosts, messages, end):
        connections += made
        rows.append(row)
        if row.mid % 2:
            sessions.append(session(row.mid, row.at, rng))
        if len(rows) == BATCH or row.mid == messages:
            store.write(Batch(tuple(connections), tuple(rows), tuple(sessions)), b"", row.at)
            connections, rows, sessions = [], [], []
    store.close()


# --- the desk ---------------------------------------------------------------------------------------------


class Silent:
    """A running gateway whose worker finds nothing."""

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        store()

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        return [WorkerAnswer(0, {})]

    async def status(self) -> Mapping[str, Any]:
        return {"workers": [{"index": 0, "state": "running"}]}

    def look(self, job: str, /) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def emit(self, event: Event, /) -> None:
        """Nobody reads it."""


async def lag(worst: list[float]) -> None:
    """The longest time that the loop was away."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        worst[0] = max(worst[0], time.perf_counter() - before - TICK)


async def rehearse(door: Door, args: Mapping[str, Any]) -> tuple[dict[str, Any], float, float]:
    """The account, the seconds and the longest stop of the loop."""
    await door.call("policy.rises", {"text": args["text"]}, Caller.local(0))  # what is imported once
    worst = [0.0]
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(lag(worst))
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        found = await door.call("policy.rehearse", args, Caller.local(0))
        seconds = time.perf_counter() - began
        watching.cancel()
    return found, seconds, worst[0]


def _used(who: int) -> str:
    used = resource.getrusage(who)
    return f"{used.ru_utime + used.ru_stime:.1f} s of processor time, {used.ru_maxrss / 1024:.0f} MiB"


class _Here(ThreadPoolExecutor):
    """Threads would hide from the profile."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def measure(home: Home, root: bytes, *, offline: bool, profile: bool) -> dict[str, Any]:
    """One rehearsal, with its figures printed."""
    key = read_master_key(home, {})
    store = ConfigStore.open(home.config_db)
    begin(home, store, key, time.time())
    gateway = None if profile else Silent()
    door = Door(home, store, LocalKeeper(key), gateway, Clock())
    asyncio.run(door.call("ca.import", {"file": _b64(root.decode())}, Caller.local(0)))
    args = {"text": _b64(POLICY.format(level="required-verify")), "offline": offline}
    profiler = cProfile.Profile()
    with asyncio.Runner() as runner:
        if profile:
            runner.get_loop().set_default_executor(_Here())
            profiler.enable()
        found, seconds, worst = runner.run(rehearse(door, args))
        profiler.disable()
    store.close()
    out, into = found["outbound"], found["inbound"]
    print(
        f"outgoing  {out['messages']:>9,} messages, {out['would_fail']:,} would fail, {out['could_not_tell']:,} could not tell"
    )
    print(
        f"incoming  {into['messages']:>9,} messages, {into['would_fail']:,} would fail, {into['could_not_tell']:,} could not tell"
    )
    print(f"rehearsal {seconds:>9.2f} s  longest stop of the loop {worst * 1000:.1f} ms")
    print(f"desk      {_used(resource.RUSAGE_SELF)}")
    print(f"children  {_used(resource.RUSAGE_CHILDREN)}")
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return found


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")


def main() -> int:
    """Make the records, rehearse, print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rehearsal", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--domains", type=int, default=DOMAINS)
    parser.add_argument("--offline", action="store_true", help="let nothing be looked up")
    parser.add_argument("--profile", action="store_true", help="in this process, with a profile")
    parser.add_argument("--home", type=Path, help="keep the records there, and use them again")
    chosen = parser.parse_args()
    root = chosen.home or Path(tempfile.mkdtemp(prefix="gatepost-rehearsal."))
    home, trusted = Home(root), root / "bench-root.pem"
    home.initialise({})
    try:
        began = time.perf_counter()
        if not home.records_db.exists():
            hosts = Hosts(chosen.domains)
            fill(home.records_db, hosts, chosen.messages)
            trusted.write_bytes(hosts.authority.root.public_bytes(Encoding.PEM))
        size = home.records_db.stat().st_size / 2**20
        print(f"records   {size:>9.0f} MiB, made in {time.perf_counter() - began:.1f} s")
        measure(home, trusted.read_bytes(), offline=chosen.offline, profile=chosen.profile)
    finally:
        if chosen.home is None:
            shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
