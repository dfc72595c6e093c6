"""When a new certificate may be served: its TLSA record has been visible on every name server for two TTLs (RFC 7671 §8.1).

How it works. A *view* is what every authoritative server of a place's zone said at one moment. `remember` folds a view into the
*memory* of the place, which says since when each server has shown each record; a server that has lost a record begins anew, one that
did not answer is left as it was. `readiness` judges a view and the memory: one TTL lets the old set go from caches, the other one
lets a change travel between the servers of a zone. The TTL that counts is the largest that a cache may have the set without the
record with: that of the set before, or that of the first set with it.

A record that covers what is served now as well, and was in the first set that was seen, asks for no wait: no cache has a set
without it. Where what is served is covered nowhere, a wait protects nobody.

Pure: the moment is an argument. Limits: a clock that jumps ahead shortens a wait; of a place 64 addresses and 100 records of each are
kept. Rows R8, issue item 10; case C41.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from gatepost.certs.dane import Place, Shown, covering, covers, useful
from gatepost.certs.times import iso_time
from gatepost.core.tlsa import Tlsa

TTLS = 2  # RFC 7671 §8.1
MAX_SERVERS = 64
MAX_RECORDS = 100
_LISTED = 3


# --- what the servers say ---------------------------------------------------------------------------


class Signed(StrEnum):
    """What a validating resolver says of a place. Senders heed records of a signed zone only (RFC 7672 §2.2)."""

    YES = "signed"
    NO = "not signed"
    BROKEN = "broken"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class ServerView:
    """What one address of a name server said; `error` is why it said nothing."""

    host: str
    address: str
    records: tuple[Tlsa, ...] = ()
    ttl: int = 0
    error: str = ""

    @property
    def key(self) -> str:
        return f"{self.host} {self.address}"

    @property
    def text(self) -> str:
        return self.host if self.host == self.address else f"{self.host} ({self.address})"


@dataclass(frozen=True, slots=True)
class View:
    """A place at one moment. `name` is where its records are, behind an alias if there is one; `error`: no server is known."""

    place: Place
    name: str = ""
    zone: str = ""
    servers: tuple[ServerView, ...] = ()
    error: str = ""
    signed: Signed = Signed.UNKNOWN
    detail: str = ""

    @property
    def answered(self) -> tuple[ServerView, ...]:
        return tuple(server for server in self.servers if not server.error)

    @property
    def counted(self) -> tuple[ServerView, ...]:
        """All but the silent addresses of servers that answered at another one: IPv6 is not everywhere."""
        heard = {server.host for server in self.answered}
        return tuple(server for server in self.servers if not server.error or server.host not in heard)

    @property
    def records(self) -> tuple[Tlsa, ...]:
        """Every record that some server shows, each once."""
        return tuple(dict.fromkeys(record for server in self.servers for record in server.records))

    @property
    def ttl(self) -> int:
        return max((server.ttl for server in self.answered if server.records), default=0)


# --- since when -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sighting:
    """Since when a server has shown a record, the TTL that counts, and whether no set without it was seen before."""

    since: float
    ttl: int
    first: bool

    @property
    def settled(self) -> float:
        """When no cache has a set without it any more."""
        return self.since + TTLS * self.ttl


@dataclass(frozen=True, slots=True)
class Remembered:
    """One server: its records by their text, and the TTL of its last set."""

    records: Mapping[str, Sighting] = field(default_factory=dict)
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of the servers of a place, by `ServerView.key`."""

    servers: Mapping[str, Remembered] = field(default_factory=dict)

    @property
    def published(self) -> bool:
        """Some server showed a record when it was asked last."""
        return any(server.records for server in self.servers.values())

    def packed(self) -> bytes:
        return orjson.dumps(
            {
                key: {
                    "ttl": one.ttl,
                    "records": {t: [s.since, s.ttl, s.first] for t, s in one.records.items()},
                }
                for key, one in self.servers.items()
            }
        )

    @classmethod
    def unpacked(cls, data: bytes | None) -> Memory:
        """What `packed` wrote. What cannot be read is forgotten: then every wait begins anew."""
        try:
            raw: dict[str, Any] = orjson.loads(data or b"{}")
            return cls({key: _remembered(value) for key, value in raw.items()})
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, AttributeError):
            return cls()


def _remembered(value: Mapping[str, Any]) -> Remembered:
    records = {
        str(text): Sighting(float(since), int(ttl), bool(first))
        for text, (since, ttl, first) in value["records"].items()
    }
    return Remembered(records, int(value["ttl"]))


def remember(memory: Memory, view: View, now: float) -> Memory:
    """The memory after a look at `now`. Servers that the zone does not name any more are forgotten."""
    if view.error:
        return memory
    servers: dict[str, Remembered] = {}
    for server in view.servers[:MAX_SERVERS]:
        known = memory.servers.get(server.key)
        if not server.error:
            servers[server.key] = _seen(known, server, now)
        elif known is not None:
            servers[server.key] = known
    return Memory(servers)


def _seen(known: Remembered | None, server: ServerView, now: float) -> Remembered:
    records = {}
    for record in server.records[:MAX_RECORDS]:
        before = known.records.get(record.text()) if known is not None else None
        if before is None:
            ttl = max(server.ttl, known.ttl if known is not None else 0)
            records[record.text()] = Sighting(now, ttl, known is None or not known.records)
        else:  # a moment that lies ahead is of a clock that went back
            records[record.text()] = Sighting(min(before.since, now), before.ttl, before.first)
    return Remembered(records, server.ttl if server.records else 0)


# --- whether it may be served -----------------------------------------------------------------------


class Verdict(StrEnum):
    """From the easiest to the hardest."""

    FREE = "no records"
    READY = "ready"
    WAITS = "waits"
    UNKNOWN = "not known"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a new certificate may be served at `place`, and why; with `waits`, from `at` on.

    `protects`: peers with DANE accept what is served now, and waiting keeps it so; where nothing could be seen, that records were
    there before. `ttl` is the one that decides.
    """

    place: Place
    verdict: Verdict
    reason: str
    at: float = 0.0
    protects: bool = True
    ttl: int = 0

    @property
    def free(self) -> bool:
        """Nothing speaks against serving it."""
        return self.verdict in (Verdict.FREE, Verdict.READY)


def hardest(found: Iterable[Readiness]) -> Readiness | None:
    """The one that decides for several places; None for none."""
    order = list(Verdict)
    return max(found, key=lambda one: (order.index(one.verdict), one.at), default=None)


def readiness(
    view: View, memory: Memory, served: Sequence[Shown], new: Sequence[Shown], now: float
) -> Readiness:
    """Judge a place for `new` instead of what is `served` there; `memory` has the view in it already."""
    place = view.place
    if view.error:
        return Readiness(place, Verdict.UNKNOWN, view.error, protects=memory.published)
    if not view.answered:
        reason = f"no name server of {view.zone} answers"
        return Readiness(place, Verdict.UNKNOWN, reason, protects=memory.published)
    if not any(useful(server.records) for server in view.answered):
        return Readiness(place, Verdict.FREE, _nothing_binds(view))
    protects = any(covering(s.records, one, place.host, now) for s in view.answered for one in served)
    fresh = [one for one in new if all(one.chain != old.chain or not one.chain for old in served)]
    moments: list[tuple[float, int]] = [(now, view.ttl)]
    lacking: list[ServerView] = []
    silent: list[ServerView] = []
    for server in view.counted:
        if server.error:
            silent.append(server)
            continue
        for one in fresh:
            settled = _settled(memory, server, one, served, place.host, now)
            if settled is None:
                lacking.append(server)
            else:
                moments.append(settled)
    at, ttl = max(moments)
    found = Readiness(place, Verdict.READY, "", at, protects, ttl)
    return _judged(found, lacking, silent, now)


def _settled(
    memory: Memory, server: ServerView, new: Shown, served: Sequence[Shown], host: str, now: float
) -> tuple[float, int] | None:
    """From when on every cache has a record of this server that covers it, and the TTL that counts; None where there is none."""
    known = memory.servers.get(server.key, Remembered()).records
    moments = []
    for record in covering(server.records, new, host, now):
        sighting = known.get(record.text())
        if sighting is None:
            continue
        both = sighting.first and any(covers(record, old, host, now) for old in served)
        moments.append((min(now, sighting.since) if both else sighting.settled, sighting.ttl))
    return min(moments, default=None)


def _judged(
    found: Readiness, lacking: Sequence[ServerView], silent: Sequence[ServerView], now: float
) -> Readiness:
    at, owner = found.at, found.place.owner
    verdict, reason = Verdict.READY, f"its TLSA record at {owner} has been visible long enough"
    if lacking:
        verdict = Verdict.MISSING
        reason = f"no TLSA record at {owner} is of the new certificate on {_named(lacking)}"
    elif silent:
        verdict = Verdict.UNKNOWN
        reason = (
            f"whether its TLSA record at {owner} is there cannot be told: {_named(silent)} did not answer"
        )
    elif at > now and found.protects:
        verdict = Verdict.WAITS
        reason = (
            f"its TLSA record at {owner} has to be visible for two TTLs ({TTLS} x {found.ttl} s), "
            f"until {iso_time(at + 1)}"
        )
    elif at > now:
        reason = f"what is served now matches no TLSA record at {owner}, and the new certificate does"
    return replace(found, verdict=verdict, reason=reason)


def _named(servers: Sequence[ServerView]) -> str:
    texts = list(dict.fromkeys(server.text for server in servers))
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def _nothing_binds(view: View) -> str:
    if view.records:
        return f"no TLSA record at {view.place.owner} is one that SMTP can use"
    return f"there are no TLSA records at {view.place.owner}"
