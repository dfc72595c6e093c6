"""The job that tells when a name server is not believed about DNSSEC, or not any more, while a destination asks for DANE (D10).

The desk tries the servers by itself with the code that the workers use (`net.dns_trust.probe`): hourly, after every commit, every minute
while one fails. What it finds is kept for `status`. A server that is on this machine and fails is tried again after ten seconds before
anybody is told: it may just be starting. One that is not on this machine cannot become believed, so it is told of once, when it is met.

The workers decide by probes of their own (`net.dns_trust.DnsTrust`); for seconds the two may differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from gatepost.app.newest import NewestConfiguration
from gatepost.config.model import Document
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.net.dns_client import NameServer, parse_name_server, system_name_servers
from gatepost.net.dns_trust import AGAIN_FAILED, AGAIN_SOUND, ProbeNames, Validation, probe
from gatepost.policy.outbound import compile_destinations
from gatepost.store.config_store import ConfigStore
from gatepost.store.name_servers import NameServerState, name_servers, put_name_servers

SURE_AFTER = 10.0  # seconds from the first failure to the second look
SURE = 2  # failures in a row before anybody is told

Probe = Callable[[NameServer, ProbeNames], Awaitable[Validation]]


class NameServerJob:
    """Implements `app.jobs.Job`."""

    name = "name-servers"

    def __init__(
        self,
        store: ConfigStore,
        alerts: AlertPort,
        clock: Clock,
        *,
        ask: Probe = probe,
        system: Callable[[], Sequence[NameServer]] = system_name_servers,
    ) -> None:
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._ask = ask
        self._system = system
        self._newest = NewestConfiguration(store)
        self._servers: tuple[NameServer, ...] = ()
        self._names = ProbeNames()

    async def run(self) -> float:
        """Try every server once; the seconds until the next time."""
        await self._follow_configuration()
        before = {one.server: one for one in name_servers(self._store)}
        if not self._servers:
            if before:
                put_name_servers(self._store, ())
            return AGAIN_SOUND
        verdicts = await asyncio.gather(*(self._ask(server, self._names) for server in self._servers))
        now = self._clock.now()
        states = [_state(verdict, before.get(str(verdict.server)), now) for verdict in verdicts]
        none_left = not any(state.believed for state in states)
        for verdict, state in zip(verdicts, states, strict=True):
            await self._tell(verdict.server, state, before.get(state.server), none_left)
        put_name_servers(self._store, states)
        failing = [
            state
            for state, server in zip(states, self._servers, strict=True)
            if not state.believed and server.on_loopback
        ]
        if not failing:
            return AGAIN_SOUND
        return SURE_AFTER if any(state.failures < SURE for state in failing) else AGAIN_FAILED

    async def _follow_configuration(self) -> None:
        found = await self._newest.take_read()
        if found is None:
            return
        document = found[1]
        self._servers = self._asked(document)
        self._names = ProbeNames(document.dns.probe.signed, document.dns.probe.bogus)

    def _asked(self, document: Document) -> tuple[NameServer, ...]:
        """The servers whose word on DNSSEC is wanted; none where nothing asks for DANE."""
        dns = document.dns
        if not (dns.validate_dnssec and compile_destinations(document).asks_dane):
            return ()
        servers = [parse_name_server(text) for text in dns.servers] or self._system()
        return tuple(dict.fromkeys(servers))

    async def _tell(
        self, server: NameServer, state: NameServerState, before: NameServerState | None, none_left: bool
    ) -> None:
        if state.believed:
            await self._alerts.tell(_cleared(state))
        elif server.on_loopback:
            if state.failures >= SURE:
                await self._alerts.tell(_trouble(state, none_left))
        elif before is None or before.reason != state.reason:
            await self._alerts.tell(_trouble(state, none_left))


def _state(verdict: Validation, before: NameServerState | None, now: float) -> NameServerState:
    failures = 0 if verdict.validates else (before.failures if before is not None else 0) + 1
    if before is not None and before.reason == verdict.reason:
        return replace(before, tried=now, failures=failures)
    return NameServerState(str(verdict.server), verdict.reason, now, now, failures)


def _trouble(state: NameServerState, none_left: bool) -> Alert:
    lines = [
        f"Destinations ask for DANE, and the name server {state.server} is not believed about DNSSEC: it {state.reason}.",
        "",
    ]
    if none_left:
        lines += [
            "No name server is believed now, so no TLSA record is looked up. Destinations with `dane: mandatory` get no mail:",
            "it waits. For those with `dane: opportunistic` only their TLS level holds, and what they published is not heeded.",
        ]
    else:
        lines.append("Another one is believed, and DANE goes on with that.")
    lines += [
        "",
        "A name server is believed when it listens on this machine, says of a signed name that it was validated, and refuses",
        "a broken signature (`dns.probe` names what it is asked). `gatepost status` shows how each one stands.",
    ]
    subject = f"Name server {state.server} is not believed about DNSSEC"
    return Alert(f"dnssec:{state.server}", "warning", subject, "\n".join(lines))


def _cleared(state: NameServerState) -> Alert:
    text = f"The name server {state.server} validates DNSSEC, and is believed about TLSA records."
    subject = f"Name server {state.server} is believed about DNSSEC again"
    return Alert(f"dnssec:{state.server}", "information", subject, text, clears=True)
