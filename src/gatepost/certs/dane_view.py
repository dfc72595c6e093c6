"""The zone as it is: every authoritative server asked for the TLSA records of our places, and what they said before kept.

How it works. The resolvers of the configuration tell the zone and its servers (or `tlsa.servers` names them); each address is then
asked directly, all at once, so that no cache stands between. Where a resolver on this machine validates, it also says whether
the zone is signed. What was seen, and since when, is in the store under `tlsa HOST PORT`, apart from the versions, so a restart
loses no time.

Limits. 12 s for all places of one call, 16 questions at a time, 64 addresses of a place. Raises nothing for what DNS does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gatepost.certs.dane import Place
from gatepost.certs.dane_time import MAX_SERVERS, Memory, ServerView, Signed, View, remember
from gatepost.config.model import Document
from gatepost.core.ports import Clock
from gatepost.core.tlsa import TlsaState
from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer, parse_name_server, system_name_servers
from gatepost.net.dns_trust import DnsTrust, ProbeNames
from gatepost.net.resolver import Resolver
from gatepost.net.zone_servers import ZoneServer, real_name, tlsa_set, zone_of, zone_servers
from gatepost.store.config_store import ConfigStore

SECONDS = 12.0
TRY_SECONDS = (1.5, 3.0)
QUESTIONS = 16
MAX_PLACES = 32


class DaneLooker:
    """Looks at places with the resolvers and servers of one configuration, and keeps what it saw."""

    def __init__(
        self, document: Document, store: ConfigStore, clock: Clock, *, seconds: float = SECONDS
    ) -> None:
        self._document = document
        self._store = store
        self._clock = clock
        self._seconds = seconds
        servers = tuple(parse_name_server(text) for text in document.dns.servers) or system_name_servers()
        self._client = DnsClient(servers, try_seconds=TRY_SECONDS)
        self._questions = asyncio.Semaphore(QUESTIONS)

    def memory(self, place: Place) -> Memory:
        """What was seen of a place until now."""
        return Memory.unpacked(self._store.get_meta(_key(place)))

    async def look(
        self, wanted: Iterable[Place], *, signed: bool = False
    ) -> dict[Place, tuple[View, Memory]]:
        """Look at places now. `signed`: ask a validating resolver too, where there is one."""
        places = list(wanted)[:MAX_PLACES]
        views = await asyncio.gather(*(self._bounded(place) for place in places))
        if signed:
            found = await self._signed(places)
            views = [
                replace(view, signed=found[view.place][0], detail=found[view.place][1]) for view in views
            ]
        now = self._clock.now()
        result = {view.place: (view, remember(self.memory(view.place), view, now)) for view in views}
        self._store.put_metas({_key(place): memory.packed() for place, (_, memory) in result.items()})
        return result

    async def _bounded(self, place: Place) -> View:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._view(place)
        except TimeoutError:
            text = f"the name servers of {place.host} did not answer within {self._seconds:.0f} s"
            return View(place, place.owner, error=text)

    async def _view(self, place: Place) -> View:
        name, zone = place.owner, ""
        try:
            name = await real_name(self._client, place.owner)
            if self._document.tlsa.servers:
                servers = tuple(_configured(text) for text in self._document.tlsa.servers)
                zone = place.host
            else:
                zone = await zone_of(self._client, name)
                servers = await zone_servers(self._client, zone)
        except NoAnswer as failure:
            if not self._document.tlsa.servers:
                return View(
                    place, name, zone, error=f"the name servers of {place.host} are not known: {failure}"
                )
            servers = tuple(_configured(text) for text in self._document.tlsa.servers)
        asked = [(server.host, address) for server in servers for address in server.addresses][:MAX_SERVERS]
        views = list(await asyncio.gather(*(self._ask(host, address, name) for host, address in asked)))
        views += [
            ServerView(server.host, server.host, error="it has no address") for server in servers
            if not server.addresses
        ]  # fmt: skip
        return View(place, name, zone or place.host, tuple(views))

    async def _ask(self, host: str, address: NameServer, name: str) -> ServerView:
        text = host if host == str(address) else address.address
        problem = ""
        for seconds in TRY_SECONDS:
            try:
                async with self._questions:
                    found = await tlsa_set(address, name, seconds)
                return ServerView(host, text, found.records, found.ttl)
            except NoAnswer as failure:
                problem = str(failure)
        return ServerView(host, text, error=problem)

    async def _signed(self, places: Iterable[Place]) -> Mapping[Place, tuple[Signed, str]]:
        dns = self._document.dns
        if not dns.validate_dnssec or not any(server.on_loopback for server in self._client.servers):
            why = "no resolver on this machine is there to validate DNSSEC"
            return dict.fromkeys(places, (Signed.UNKNOWN, why))
        trust = DnsTrust(self._client, ProbeNames(dns.probe.signed, dns.probe.bogus), lambda verdicts: None)
        resolver = Resolver(asyncio.get_running_loop(), self._client, trust=trust)
        trust.start()
        try:
            found = await asyncio.gather(*(_signed(resolver, trust, place) for place in places))
        finally:
            await resolver.close()
        return dict(zip(places, found, strict=True))


async def _signed(resolver: Resolver, trust: DnsTrust, place: Place) -> tuple[Signed, str]:
    """What the validating resolver says of a place: of its host's addresses first, then of its records (RFC 7672 §2.2)."""
    addresses = await resolver.addresses(place.host)
    if not trust.validating:
        return Signed.UNKNOWN, "; ".join(f"{one.server} {one.reason}" for one in trust.verdicts if one.reason)
    if addresses.temporary:
        return Signed.BROKEN, f"the addresses of {place.host}: {addresses.detail}"
    if not addresses.secure:
        return Signed.NO, f"the addresses of {place.host} are not signed"
    records = await resolver.tlsa(place.host, place.port)
    if records.state is TlsaState.FAILED:
        return Signed.BROKEN, records.detail
    return Signed.YES, "" if records.state is TlsaState.FOUND else records.detail


def _configured(text: str) -> ZoneServer:
    server = parse_name_server(text)
    return ZoneServer(str(server), (server,))


def _key(place: Place) -> str:
    return f"tlsa {place.host} {place.port}"
