"""What the world is told of our domains: their MX hosts and the addresses of these, looked up side by side and within seconds.

"No answer" is an answer of its own, and so is "not looked up"; neither is ever taken for "there is none". A domain without MX
records is served by the host of its own name (RFC 5321 §5.1), one with a null MX takes no mail (RFC 7505).

Limits: 20 domains, 20 hosts a domain, and one deadline for everything; what was not answered by then has no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gatepost.core.address import IPAddress
from gatepost.net.dns_answer import DnsAnswer, DnsStatus, Mx

SECONDS = 4.0
MAX_DOMAINS = 20
MAX_HOSTS = 20


class Known(StrEnum):
    """How much is known of a name."""

    FOUND = "found"
    NONE = "none"  # there is no such name, or no such record
    NO_ANSWER = "no answer"
    NOT_LOOKED_UP = "not looked up"
    NULL = "takes no mail"


class Lookup(Protocol):
    """The resolver, as far as it is needed here (`net.resolver.Resolver`)."""

    async def mx(self, domain: str) -> DnsAnswer[Mx]: ...

    async def addresses(self, host: str) -> DnsAnswer[IPAddress]: ...


@dataclass(frozen=True, slots=True)
class MxHost:
    """One MX host of a domain. `implicit`: the domain has no MX record and is its own host."""

    host: str
    preference: int
    addresses: tuple[IPAddress, ...] = ()
    known: Known = Known.FOUND
    implicit: bool = False


@dataclass(frozen=True, slots=True)
class MxDomain:
    """A domain and its MX hosts, the preferred first. `detail` says why there is no answer."""

    domain: str
    known: Known
    hosts: tuple[MxHost, ...] = ()
    detail: str = ""


async def look_up(
    domains: Sequence[str], resolver: Lookup | None, seconds: float = SECONDS
) -> dict[str, MxDomain]:
    """The MX hosts of these domains. Without a resolver, and beyond the limit, nothing is looked up."""
    found = {domain: MxDomain(domain, Known.NOT_LOOKED_UP) for domain in domains}
    if resolver is None:
        return found
    deadline = asyncio.get_running_loop().time() + seconds
    asked = tuple(found)[:MAX_DOMAINS]
    answers = await asyncio.gather(*(_domain(domain, resolver, deadline) for domain in asked))
    found.update((answer.domain, answer) for answer in answers)
    return found


async def _domain(domain: str, resolver: Lookup, deadline: float) -> MxDomain:
    try:
        async with asyncio.timeout_at(deadline):
            answer = await resolver.mx(domain)
    except TimeoutError:
        return MxDomain(domain, Known.NO_ANSWER, detail="no answer in time")
    if answer.temporary:
        return MxDomain(domain, Known.NO_ANSWER, detail=answer.detail)
    if answer.status is DnsStatus.NXDOMAIN:
        return MxDomain(domain, Known.NONE)
    if answer.found and all(not record.host for record in answer.values):
        return MxDomain(domain, Known.NULL)
    hosts = [MxHost(record.host, record.preference) for record in answer.values if record.host]
    if not answer.found:
        hosts = [MxHost(domain, 0, implicit=True)]
    looked = await asyncio.gather(*(_host(host, resolver, deadline) for host in hosts[:MAX_HOSTS]))
    if not answer.found and looked[0].known is Known.NONE:
        return MxDomain(domain, Known.NONE)
    return MxDomain(domain, Known.FOUND, tuple(looked))


async def _host(host: MxHost, resolver: Lookup, deadline: float) -> MxHost:
    try:
        async with asyncio.timeout_at(deadline):
            answer = await resolver.addresses(host.host)
    except TimeoutError:
        return MxHost(host.host, host.preference, (), Known.NO_ANSWER, host.implicit)
    known = Known.FOUND if answer.found else Known.NO_ANSWER if answer.temporary else Known.NONE
    return MxHost(host.host, host.preference, answer.values, known, host.implicit)
