"""The job that tells when a DNS list does not behave at its test points (RFC 5782 §5), and when it does again.

The workers try every list by themselves and leave out one that lists everything (`relay.reputation`); the desk tries them with the same
code, so that somebody learns of it: once a day, after a commit that changed the lists, and every ten minutes while one fails. A list
that gives no answer is told of after the second time, since that is mostly DNS having a bad minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gatepost.app.newest import NewestConfiguration
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.resolver import Resolver
from gatepost.policy.reputation import NO_SCORES, Health, ScoredList, ScoreRules, compile_scores
from gatepost.relay.reputation import try_list
from gatepost.store.config_store import ConfigStore

AGAIN = 86_400.0
AGAIN_FAILED = 600.0
SURE = 2  # silences in a row before anybody is told

Try = Callable[[Sequence[str], ScoredList], Awaitable[Health]]


async def ask_list(servers: Sequence[str], one: ScoredList) -> Health:
    """Try one list over the configured name servers."""
    asked = tuple(parse_name_server(text) for text in servers) or system_name_servers()
    resolver = Resolver(asyncio.get_running_loop(), DnsClient(asked))
    try:
        return await try_list(resolver, one)
    finally:
        await resolver.close()


class ReputationJob:
    """Implements `app.jobs.Job`."""

    name = "reputation"

    def __init__(self, store: ConfigStore, alerts: AlertPort, clock: Clock, *, ask: Try = ask_list) -> None:
        self._alerts = alerts
        self._clock = clock
        self._ask = ask
        self._newest = NewestConfiguration(store)
        self._rules: ScoreRules = NO_SCORES
        self._servers: tuple[str, ...] = ()
        self._due = 0.0
        self._silent: dict[str, int] = {}  # zone -> silences in a row

    async def run(self) -> float:
        """Try the lists when it is time; the seconds until the next time."""
        await self._follow_configuration()
        left = self._due - self._clock.monotonic()
        if left > 0:
            return left
        health = await asyncio.gather(*(self._ask(self._servers, one) for one in self._rules.lists))
        for one, found in zip(self._rules.lists, health, strict=True):
            await self._tell(one.zone, found)
        sound = all(found is not Health.UNKNOWN and found.counts for found in health)
        pause = AGAIN if sound else AGAIN_FAILED
        self._due = self._clock.monotonic() + pause
        return pause

    async def _follow_configuration(self) -> None:
        found = await self._newest.take_read()
        if found is None:
            return
        document = found[1]
        rules = compile_scores(document)
        asked = rules if rules.asked else NO_SCORES
        if (asked, document.dns.servers) != (self._rules, self._servers):
            self._rules, self._servers, self._due = asked, document.dns.servers, 0.0
            zones = {one.zone for one in asked.lists}
            self._silent = {zone: count for zone, count in self._silent.items() if zone in zones}

    async def _tell(self, zone: str, health: Health) -> None:
        if health is Health.UNKNOWN:
            self._silent[zone] = self._silent.get(zone, 0) + 1
            if self._silent[zone] >= SURE:
                await self._alerts.tell(_trouble(zone, health))
            return
        self._silent.pop(zone, None)
        await self._alerts.tell(_cleared(zone) if health is Health.SOUND else _trouble(zone, health))


_MEANING = {
    Health.LISTS_ALL: "It says of 127.0.0.1 that it is listed, which no list may. It is left out of the score until it behaves.",
    Health.STRANGE: "Its name may have expired, or it refuses questions of this name server. It is left out of the score until it behaves.",
    Health.LISTS_NONE: "It says of 127.0.0.2 that it is not listed, which every list should list. It is asked all the same; if it went "
    "away, nothing is listed any more.",
    Health.UNKNOWN: "While it gives no answer the score is what the other lists say.",
}


def _trouble(zone: str, health: Health) -> Alert:
    text = f"The DNS list {zone} {health}. {_MEANING[health]}"
    hint = "`gatepost reputation 192.0.2.1` shows what each list says; `reputation.lists` names them."
    return Alert(f"dns-list:{zone}", "warning", f"The DNS list {zone} {health}", f"{text}\n\n{hint}")


def _cleared(zone: str) -> Alert:
    text = f"The DNS list {zone} behaves at its test points, and counts in the score of senders."
    return Alert(f"dns-list:{zone}", "information", f"The DNS list {zone} is sound again", text, clears=True)
