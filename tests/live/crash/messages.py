"""Messages whose body can be checked wherever it turns up: an id, and the SHA-256 of the body, in one header line.

Bodies come from a seed, so a damaged one can be made again and compared. They hold what breaks careless programs: lines
that begin with dots, lines that are one dot and more, 8-bit octets, empty lines, and lines of the greatest length.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

POOL = 1_200_000
BIG = (100_000, 1_000_000)
SMALL = (20, 4_000)
DOMAINS = ("one.example", "two.example", "three.example", "four.example")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `content` has CRLF line ends and is not dot-stuffed."""

    name: str
    recipients: tuple[str, ...]
    content: bytes


def _line(rng: random.Random) -> bytes:
    match rng.randrange(8):
        case 0:
            return b"." * rng.randrange(1, 4)
        case 1:
            return b"." + rng.randbytes(12).hex().encode()
        case 2:
            return "Grüße, señor – 漢字".encode()
        case 3:
            return b""
        case 4:
            return b"x" * 998
        case _:
            return rng.randbytes(rng.randrange(4, 38)).hex().encode()


class Maker:
    """Makes messages, each with an id of its own: `<prefix><number>`."""

    def __init__(
        self, seed: int, prefix: str, *, big: float = 0.03, domains: tuple[str, ...] = DOMAINS
    ) -> None:
        self._rng = random.Random(f"{seed}/{prefix}")
        self._prefix = prefix
        self._big = big
        self._domains = domains
        self._number = 0
        lines: list[bytes] = []
        size = 0
        while size < POOL:
            lines.append(_line(self._rng) + b"\r\n")
            size += len(lines[-1])
        self._lines = lines
        self._per_line = size / len(lines)

    def make(self, size: int | None = None, recipients: int | None = None) -> Message:
        """The next message; of random size and number of recipients unless they are given."""
        rng = self._rng
        self._number += 1
        name = f"{self._prefix}{self._number}"
        if size is None:
            size = rng.randrange(*(BIG if rng.random() < self._big else SMALL))
        count = max(1, min(len(self._lines), int(size / self._per_line)))
        first = rng.randrange(len(self._lines) - count + 1)
        body = b"".join(self._lines[first : first + count]) + name.encode() + b"\r\n"
        count = recipients or rng.choice((1, 1, 1, 1, 2, 5))
        addresses = tuple(f"{name}-{n}@{rng.choice(self._domains)}" for n in range(count))
        header = (
            f"From: <load@sender.example>\r\nTo: <{addresses[0]}>\r\nSubject: {name}\r\n"
            f"Message-ID: <{name}@sender.example>\r\nX-Load: {name} {hashlib.sha256(body).hexdigest()}\r\n\r\n"
        )
        return Message(name, addresses, header.encode() + body)


Make = Callable[[], Message]
