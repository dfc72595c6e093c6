"""`python -m bench.policy`: what the decisions cost that a connection and a delivery wait for.

Each is the product's own function on a table of the size that is promised: a host access table of 100,000 entries (addresses, networks of every length,
ranges, host names, domains, IPv6), destination controls of 10,000 entries, and the decision for one delivery (find the rule, plan, judge) with facts
as a connection leaves them. Told are the median and the slowest of some rounds, in microseconds a decision; each round goes through all questions once.
Besides: how long the large table takes to compile, and the memory that it holds.
"""

from __future__ import annotations

import gc
import ipaddress
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from gatepost.config.outbound import Dane
from gatepost.config.senders import Sender, parse_sender
from gatepost.core.address import IPAddress
from gatepost.core.tls import (
    NameMatch,
    NameSource,
    PeerCertificate,
    ReferenceName,
    TlsFacts,
    TlsLevel,
    TlsStage,
)
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationEntry, DestinationRule, DestinationTable
from gatepost.policy.hat import Hat, HatGroup, NameState, PeerName
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls
from gatepost.wire.mta_sts import Mode, StsPolicy

HAT_ENTRIES = 100_000
DESTINATIONS = 10_000
QUESTIONS = 2_000
ROUNDS = 15
TODAY = date(2026, 11, 24)
GOALS = {"hat": 10.0, "destinations": 5.0, "decision": 50.0}  # microseconds
SEED = 4
_KINDS = ("address", "network", "range", "host", "domain", "v6")
_WEIGHTS = (40, 20, 5, 15, 15, 5)


@dataclass(frozen=True)
class Cost:
    """Microseconds a decision, over the rounds."""

    median: float
    slowest: float
    fastest: float


def measure(act: Callable[[], object], count: int, rounds: int = ROUNDS) -> Cost:
    """`act` makes `count` decisions."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        found.append((time.perf_counter() - began) * 1e6 / count)
    return Cost(statistics.median(found), max(found), min(found))


# --- the host access table --------------------------------------------------------------------------------


def senders(count: int, rng: random.Random) -> Iterator[Sender]:
    """Entries of every kind; networks and ranges of every length."""
    for number, kind in enumerate(rng.choices(_KINDS, _WEIGHTS, k=count)):
        yield parse_sender(_entry(kind, number, rng))


def _entry(kind: str, number: int, rng: random.Random) -> str:
    address = ipaddress.IPv4Address(rng.getrandbits(32))
    match kind:
        case "address":
            return str(address)
        case "network":
            return str(ipaddress.ip_network((int(address), rng.randint(12, 30)), strict=False))
        case "range":
            low, high = sorted((rng.randint(0, 255), rng.randint(0, 255)))
            return f"{str(address).rpartition('.')[0]}.{low}-{high}"
        case "host":
            return f"mx{number}.partner{number % 977}.example"
        case "domain":
            return f".net{number}.example"
        case _:
            network = ipaddress.ip_network((rng.getrandbits(128), rng.randint(24, 128)), strict=False)
            return str(network)


def hat_table(count: int = HAT_ENTRIES) -> Hat:
    """The groups, and one for everybody."""
    return Hat([*groups(count), HatGroup("ALL", (parse_sender("ALL"),))])


def groups(count: int) -> list[HatGroup]:
    """Eight groups. A policy that is strict and one that continues are among them."""
    rng = random.Random(SEED)
    return [
        HatGroup(f"G{number}", tuple(senders(count // 8, rng)), decides=number != 3, strict=number == 5)
        for number in range(8)
    ]


def hat_questions(count: int = QUESTIONS) -> Sequence[tuple[IPAddress, PeerName]]:
    """Peers of both families with a name and without; the names have three to five labels, as they do."""
    rng = random.Random(SEED + 1)
    found: list[tuple[IPAddress, PeerName]] = []
    for number in range(count):
        address: IPAddress = ipaddress.IPv4Address(rng.getrandbits(32))
        if number % 5 == 0:
            address = ipaddress.IPv6Address(rng.getrandbits(128))
        name: PeerName = NameState.NONE
        if number % 4:
            name = f"out{number}.{'pool.' * (number % 3)}net{rng.randint(0, HAT_ENTRIES)}.example"
        found.append((address, name))
    return found


def hat_cost(hat: Hat, rounds: int = ROUNDS) -> Cost:
    """Which group is it?"""
    questions = hat_questions()

    def act() -> None:
        for address, name in questions:
            hat.match(address, name)

    return measure(act, len(questions), rounds)


def name_cost(hat: Hat, rounds: int = ROUNDS) -> Cost:
    """Could the host name change that? It is asked before, of a peer that was not met lately."""
    questions = hat_questions()

    def act() -> None:
        for address, _ in questions:
            hat.needs_name(address)

    return measure(act, len(questions), rounds)


# --- destination controls ---------------------------------------------------------------------------------


def destination_table(count: int = DESTINATIONS, *, monitors: bool = False) -> DestinationTable:
    """Exact entries and suffixes, some with an end; with `monitors` every third is evaluated only."""
    levels = list(TlsLevel)
    entries = []
    for number in range(count):
        domain = f"{'.' if number % 4 == 0 else ''}d{number}.example"
        rule = DestinationRule(
            levels[number % len(levels)], domain, path=f"destination_controls.destinations[{number}]"
        )
        until = date(2027, 1, 31) if number % 10 == 0 else None
        entries.append(DestinationEntry(rule, until, monitors and number % 3 == 0))
    return DestinationTable(DestinationRule(TlsLevel.PREFERRED), entries)


def destination_cost(table: DestinationTable, rounds: int = ROUNDS) -> Cost:
    """Domains with an entry, inside one, and with none."""
    rng = random.Random(SEED)
    domains = [
        f"{'a.b.' * (number % 2)}d{rng.randint(0, 2 * DESTINATIONS)}.example" for number in range(QUESTIONS)
    ]

    def act() -> None:
        for domain in domains:
            table.find(domain, TODAY)

    return measure(act, len(domains), rounds)


# --- the decision for one delivery ------------------------------------------------------------------------


def decision_cost(table: DestinationTable, rounds: int = ROUNDS) -> Cost:
    """Find the rule, plan and judge, with TLSA records and a policy at hand and an established session."""
    leaf = PeerCertificate(
        "CN=mx.partner.example", "CN=Example CA", "ab" * 32, 2e9, ("DNS:mx.partner.example",)
    )
    host = ReferenceName("mx.partner.example", NameSource.DNSSEC)
    facts = TlsFacts(
        TlsStage.ESTABLISHED,
        protocol="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        chain=(leaf,),
        chain_judged=True,
        match=NameMatch(host, "DNS:mx.partner.example"),
        dane_match="DANE-EE 3 1 1",
        sts_match=True,
    )
    records = TlsaAnswer(
        TlsaState.FOUND, tuple(Tlsa(3, 1, 1, bytes([n]) * 32) for n in range(4)), "mx.partner.example"
    )
    policy = ("partner.example", StsPolicy(Mode.ENFORCE, 86_400, ("mx.partner.example",)))
    hops = [
        HopNames(f"d{number}.example", mx_host="mx.partner.example", mx_secure=True, mx_signed=True)
        for number in range(QUESTIONS)
    ]

    def act() -> None:
        for number, hop in enumerate(hops):
            rule = table.find(hop.domain, TODAY)
            if number % 2:
                rule = _published[number % len(_published)]
            plan = plan_tls(rule, hop, tlsa=records if number % 3 else None, sts=policy, certificate="gw")
            judge_tls(plan, facts)

    return measure(act, len(hops), rounds)


_published = tuple(
    replace(DestinationRule(level), dane=Dane.OPPORTUNISTIC, mta_sts=True)
    for level in TlsLevel
    if level is not TlsLevel.NONE
)


# --- the figures ------------------------------------------------------------------------------------------


def _resident() -> int:
    """Octets of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def _compiled() -> tuple[Hat, float, float]:
    """The table, the seconds of its compilation from parsed entries, and the MiB that it holds beside these."""
    parsed = groups(HAT_ENTRIES)
    gc.collect()
    before, began = _resident(), time.perf_counter()
    hat = Hat([*parsed, HatGroup("ALL", (parse_sender("ALL"),))])
    seconds = time.perf_counter() - began
    return hat, seconds, (_resident() - before) / 2**20


def main() -> int:
    """Print the figures; 1 when a goal is missed."""
    gc.disable()
    hat, seconds, mebibytes = _compiled()
    plain = destination_table()
    costs = {
        "hat": ("HAT of 100,000 entries, a look-up", hat_cost(hat)),
        "name": ("the same: is the host name needed?", name_cost(hat)),
        "destinations": ("10,000 destination entries, a look-up", destination_cost(plain)),
        "monitored": (
            "the same, a third in monitor mode",
            destination_cost(destination_table(monitors=True)),
        ),
        "decision": ("decision for one delivery", decision_cost(plain)),
    }
    missed = False
    for key, (text, cost) in costs.items():
        goal = GOALS.get(key)
        kept = "" if goal is None else f"  goal {goal:g}  {'kept' if cost.median <= goal else 'MISSED'}"
        missed |= goal is not None and cost.median > goal
        print(f"{text:42} {cost.median:7.2f} us  slowest round {cost.slowest:7.2f} us{kept}")
    print(f"{'HAT of 100,000 entries, compiled':42} {seconds:7.2f} s   {mebibytes:.1f} MiB")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
