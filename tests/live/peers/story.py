"""The mail log as tests compare it: lines without their time, those about one message or connection, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.live.peers.gateway import Gateway
from tests.live.peers.processes import PATIENCE

_HEAD = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d"
    r" \d\d:\d\d:\d\d \d{4} (Critical|Warning|Info|Debug|Trace): "
)
_COMING_IN = r"\bICID \d+|MID \d+ (?:Message-ID|Subject|ready|queued) "
SETTLED = r"Message finished MID {mid} done|Delayed: DCID \d+ MID {mid} |MID {mid} held: "


def texts(lines: Iterable[str]) -> list[str]:
    """The lines without their time; those above Info keep their level: `Warning: …`."""
    found = []
    for line in lines:
        head = _HEAD.match(line)
        assert head is not None, f"not a line of the mail log: {line!r}"
        level = "" if head[1] == "Info" else f"{head[1]}: "
        found.append(level + line[head.end() :])
    return found


def about(gateway: Gateway, *names: str, start: int = 0) -> list[str]:
    """The lines so far about any of these (`ICID 1`, `DCID 2`, `MID 3`), in their order."""
    wanted = re.compile("|".join(rf"\b{name}\b" for name in names))
    return [text for text in texts(gateway.log.all[start:]) if wanted.search(text)]


def settled(gateway: Gateway, mid: int, *, count: int = 1, timeout: float = PATIENCE) -> None:
    """Waits until the message was finished, put off or held."""
    gateway.wait_for_log(SETTLED.format(mid=mid), count=count, timeout=timeout)


def connections_of(gateway: Gateway, mid: int) -> list[int]:
    """The delivery connections that a message was on or was put off by, in order, each once."""
    found = gateway.log.matching(rf"(?:Delivery start|Delayed:|Bounced:) DCID (\d+) MID {mid} ")
    return list(dict.fromkeys(int(match[1]) for match in found))


def delivery(gateway: Gateway, mid: int, *, timeout: float = PATIENCE) -> list[str]:
    """The whole story of a message's last delivery connection, once that is closed: its lines and the message's.

    What the log says of the message while it comes in is left out. Numbers that differ from run to run are masked: `DCID D`, `MID M`.
    """
    settled(gateway, mid, timeout=timeout)
    dcid = connections_of(gateway, mid)[-1]
    gateway.wait_for_log(rf"DCID {dcid} close$", timeout=timeout)
    lines = about(gateway, f"DCID {dcid}", f"MID {mid}")
    lines = [line for line in lines if not re.search(_COMING_IN, line)]
    masked = [re.sub(rf"\bDCID {dcid}\b", "DCID D", line) for line in lines]
    return [re.sub(rf"\bMID {mid}\b", "MID M", line) for line in masked]


def incoming_of(gateway: Gateway, mid: int) -> int:
    """The incoming connection of a message."""
    return int(gateway.wait_for_log(rf"Start MID {mid} ICID (\d+)$")[1])
