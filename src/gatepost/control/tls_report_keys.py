"""Looking up the keys of DKIM signatures, for the time of one look at what came in, within limits.

The resolver is the gateway's own, by the configuration's name servers; nothing that it learnt is kept for the next look. The mail never waits
for this: reports were taken before anybody asks. Eight names of one report are asked for at the same time, five seconds each; when the
look-ups of one look took 15 seconds together, the rest is told as not asked, and comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from gatepost.config.model import Document
from gatepost.net.dns_answer import DnsAnswer
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.resolver import Resolver
from gatepost.wire.dkim_verify import MAX_SIGNATURES, KeyAnswer

LOOK_UP_SECONDS = 5.0
ALL_SECONDS = 15.0
MAX_TEXTS = 20  # of one answer
TRY_SECONDS = (1.5, 3.0)  # of one name server


class TxtLookUp(Protocol):
    """The part of the resolver that is needed here."""

    async def txt(self, name: str) -> DnsAnswer[str]: ...


class KeyLookUps:
    """The look-ups of one look. `spent` counts their seconds."""

    def __init__(self, resolver: TxtLookUp, *, seconds: float = ALL_SECONDS) -> None:
        self._resolver = resolver
        self._left = seconds

    async def ask(self, names: Iterable[str]) -> Mapping[str, KeyAnswer]:
        """What the DNS holds for these names; none of them raises."""
        wanted = list(dict.fromkeys(name for name in names if name))[:MAX_SIGNATURES]
        if not wanted:
            return {}
        if self._left <= 0:
            return dict.fromkeys(wanted, KeyAnswer(unknown="other look-ups took all the time"))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answers = await asyncio.gather(*(self._resolver.txt(name) for name in wanted))
        self._left -= loop.time() - begun
        return {name: _answer(answer) for name, answer in zip(wanted, answers, strict=True)}


OpenKeys = Callable[[Document], AbstractAsyncContextManager[KeyLookUps]]
"""Gives the look-ups of one look under a configuration."""


@asynccontextmanager
async def open_keys(document: Document) -> AsyncIterator[KeyLookUps]:
    """The real ones."""
    servers = tuple(parse_name_server(text) for text in document.dns.servers)
    client = DnsClient(servers or system_name_servers(), try_seconds=TRY_SECONDS)
    resolver = Resolver(asyncio.get_running_loop(), client, lookup_seconds=LOOK_UP_SECONDS)
    try:
        yield KeyLookUps(resolver)
    finally:
        await resolver.close()


def _answer(answer: DnsAnswer[str]) -> KeyAnswer:
    if answer.temporary:
        return KeyAnswer(unknown=answer.detail or "no answer")
    return KeyAnswer(answer.values[:MAX_TEXTS])
