"""From MX records to the hosts to try.

Order: by preference, random among equals (RFC 5321 §5.1). A single record whose host is the root is a null MX
(RFC 7505): the domain takes no mail. If we are in the list ourselves, we and everything not better than we
are dropped; when nothing is left the mail would loop (5.4.6).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from gatepost.core.address import normalise_domain

MAX_MX_HOSTS = 20  # tried for one message; a domain may publish hundreds

NOT_A_NAME = "no host name"
OURSELVES = "leads to this gateway itself"
NOT_BETTER = "not preferred to this gateway, which is an exchanger too"
BEYOND = f"beyond the first {MAX_MX_HOSTS} exchangers"


@dataclass(frozen=True, slots=True)
class MxHost:
    """One mail exchanger: as DNS gave it, or normalised in an `MxOrder`."""

    preference: int
    host: str


class MxOutcome(Enum):
    """What a list of MX records amounts to: the enhanced code and the text of its bounce."""

    FOUND = ("", "")
    NULL = ("5.1.10", "the domain has a null MX: it accepts no mail")  # RFC 7505 §4
    NO_HOST = ("5.4.4", "no MX record of the domain names a host")
    LOOP = ("5.4.6", "mail for the domain loops back to this gateway: the best of its MX are ours")

    @property
    def status(self) -> str:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class MxOrder:
    """The exchangers in the order in which they are tried; none unless `outcome` is FOUND.

    `dropped` are the records that are not used, each with the reason.
    """

    ranked: tuple[MxHost, ...]
    outcome: MxOutcome
    dropped: tuple[tuple[MxHost, str], ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.ranked)

    @property
    def null(self) -> bool:
        return self.outcome is MxOutcome.NULL


def order_hosts(records: Iterable[MxHost], own_names: Collection[str], rng: random.Random) -> MxOrder:
    """The hosts to try, without ourselves by name; `own_names` are normalised, `records` as DNS gave them.

    A name with several preferences keeps its best. A root host beside others is no null MX
    (RFC 7505 §3) and is left out, like names that are addresses or no names at all.
    """
    raw = list(records)
    if raw and all(record.host in (".", "") for record in raw):
        return MxOrder((), MxOutcome.NULL)
    best: dict[str, int] = {}
    nameless = []
    for record in raw:
        host = _host_name(record.host)
        if not host:
            nameless.append((record, NOT_A_NAME))
        elif record.preference < best.get(host, 65536):
            best[host] = record.preference
    if not best:
        return MxOrder((), MxOutcome.NO_HOST, tuple(nameless))
    drawn = sorted((preference, rng.random(), host) for host, preference in best.items())
    ranked = tuple(MxHost(preference, host) for preference, _, host in drawn)
    order = drop_ourselves(ranked, lambda record: record.host in own_names)
    return replace(order, dropped=(*nameless, *order.dropped))


def _host_name(text: str) -> str:
    """The normalised name, or empty for what is none; RFC 5321 §5.1: an MX names a host, not an address."""
    try:
        name = normalise_domain(text)
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "" if name.startswith("[") else name
    return ""


def drop_ourselves(ranked: Sequence[MxHost], is_ours: Callable[[MxHost], bool]) -> MxOrder:
    """RFC 5321 §5.1: without ourselves and without every host of equal or worse preference.

    To be asked again when the addresses are known: a foreign name may lead to our own address.
    """
    ours = [host for host in ranked if is_ours(host)]
    limit = min((host.preference for host in ours), default=None)
    left = ranked if limit is None else [host for host in ranked if host.preference < limit]
    dropped = [(host, OURSELVES if host in ours else NOT_BETTER) for host in ranked if host not in left]
    dropped += [(host, BEYOND) for host in left[MAX_MX_HOSTS:]]
    outcome = MxOutcome.FOUND if left else MxOutcome.LOOP
    return MxOrder(tuple(left[:MAX_MX_HOSTS]), outcome, tuple(dropped))
