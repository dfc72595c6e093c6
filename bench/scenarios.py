"""What is sent: the scenarios by their letters, with 20 sessions each.

`messages` is the size of the first, uncounted run, after which the count is chosen so that a run takes a few
seconds with each server. `target` is the ratio to the best peer's end-to-end rate that Gatepost promises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SESSIONS = 20
IDLE_SESSIONS = 1000
DOMAINS = 200

CLEAR_PORT = 2601
TLS_PORT = 2600


class Way(StrEnum):
    """How a server is set up: what it does with outgoing mail."""

    CLEAR = "clear"
    TLS = "tls"
    MANY = "many"


class Kind(StrEnum):
    MAIL = "mail"
    HANDSHAKES = "handshakes"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Scenario:
    letter: str
    title: str
    way: Way
    messages: int
    kind: Kind = Kind.MAIL
    tls: bool = True
    per_connection: int = 1
    size: int = 4096
    domains: int = 0
    target: float = 0.0
    halve_cpu: bool = False
    paced: bool = False

    def options(self) -> list[str]:
        """The generator's options for one run, without the number of messages."""
        options = [f"--sessions={SESSIONS}", f"--per-connection={self.per_connection}", f"--size={self.size}"]
        if self.tls:
            options.append("--tls")
        if self.domains:
            options.append(f"--domains={self.domains}")
        if self.kind is Kind.HANDSHAKES:
            options.append("--handshakes")
        return options


SCENARIOS = {
    s.letter: s
    for s in (
        Scenario(
            "A", "clear text, 4 KiB, 1 a connection", Way.CLEAR, 400, tls=False, target=2.7, halve_cpu=True
        ),
        Scenario(
            "B",
            "clear text, 4 KiB, 100 a connection",
            Way.CLEAR,
            1000,
            tls=False,
            per_connection=100,
            target=4.5,
            halve_cpu=True,
            paced=True,
        ),
        Scenario("C", "TLS both ways, 4 KiB, 1 a connection", Way.TLS, 200, target=2.0, halve_cpu=True),
        Scenario(
            "D",
            "TLS both ways, 4 KiB, 100 a connection",
            Way.TLS,
            1000,
            per_connection=100,
            target=5.0,
            halve_cpu=True,
            paced=True,
        ),
        Scenario(
            "E",
            "TLS both ways, 1 MiB, 5 a connection",
            Way.TLS,
            60,
            per_connection=5,
            size=1 << 20,
            target=1.5,
        ),
        Scenario("F", "TLS handshakes alone", Way.TLS, 300, kind=Kind.HANDSHAKES, target=1.5),
        Scenario(
            "I", f"{IDLE_SESSIONS} idle TLS sessions after one message each", Way.TLS, 0, kind=Kind.IDLE
        ),
        Scenario(
            "L",
            f"as D, to {DOMAINS} domains on {DOMAINS} addresses",
            Way.MANY,
            1000,
            per_connection=100,
            domains=DOMAINS,
            target=1.5,
        ),
    )
}


def domain_addresses() -> list[tuple[str, str]]:
    """Scenario L's recipient domains and the address of each one's receiver."""
    return [(f"d{n}.bench.example", f"127.0.1.{n}") for n in range(1, DOMAINS + 1)]
