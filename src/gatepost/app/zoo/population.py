"""Everything that lives in the zoo, put together: name server, resolver, hosts, web server and the gateway, each started and ended here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from gatepost.app.zoo import zones
from gatepost.app.zoo.behaviours import BEHAVIOURS
from gatepost.app.zoo.certificates import Keepers, Names, Shown, make
from gatepost.app.zoo.credulous import Credulous
from gatepost.app.zoo.hosts import Host, Hosts
from gatepost.app.zoo.nameserver import NameServer
from gatepost.app.zoo.namespace import furnish
from gatepost.app.zoo.places import CREDULOUS, RESOLVER, WEB, Place, addresses, places
from gatepost.app.zoo.policies import PolicyServer, Site, site
from gatepost.app.zoo.stage import KEEPER, Stage
from gatepost.app.zoo.table import INHABITANTS, Inhabitant
from gatepost.app.zoo.unbound import Unbound
from gatepost.net.dns_client import parse_name_server


class Population:
    """One zoo, from `open` to `close`. `chosen` are those that somebody asked for; the keeper is there in any case."""

    def __init__(self, folder: Path, chosen: Sequence[Inhabitant] = INHABITANTS) -> None:
        keeper = [one for one in INHABITANTS if one.name == KEEPER and one not in chosen]
        self.chosen = tuple(chosen)
        self.all = (*chosen, *keeper)
        self.where: dict[str, Place] = places(self.all)
        self.shown: dict[str, tuple[Shown, ...]] = {}
        self.hosts: dict[str, tuple[Host, ...]] = {}
        self.stage = Stage(folder)
        self.name_server: NameServer | None = None
        self._folder = folder
        self._ending = AsyncExitStack()

    async def open(self, group: asyncio.TaskGroup, tell: Callable[[str], None]) -> None:
        """Start all of it. Raises OperatorError; what was started is ended by `close`."""
        furnish(addresses(self.where), self._folder)
        tell("certificates")
        keepers = Keepers()
        await asyncio.to_thread(self._dress, keepers)
        tell("name server and resolvers")
        known = zones.build(self.all, self.where, self.shown)
        self.name_server = NameServer(known.world)
        self._ending.callback(self.name_server.close)
        unbound = Unbound(self._folder / "unbound")
        self._ending.push_async_callback(unbound.stop)
        await unbound.start(group, known.anchor)
        credulous = Credulous(CREDULOUS, parse_name_server(RESOLVER))
        self._ending.push_async_callback(credulous.close)
        await credulous.start(group)
        tell("hosts and policies")
        hosts = Hosts([host for several in self.hosts.values() for host in several])
        self._ending.callback(hosts.close)
        web = PolicyServer(WEB, self._sites(keepers))
        self._ending.callback(web.close)
        tell("gateway")
        self._ending.push_async_callback(self.stage.stop)
        await self.stage.start(keepers.trusted_pem)

    def _dress(self, keepers: Keepers) -> None:
        """Certificates and hosts of everybody."""
        for one in self.all:
            names = [
                Names(one.domain, f"mx{number or ''}.{one.domain}")
                for number in (0, *range(2, len(one.hosts) + 1))
            ]
            pairs = list(zip(one.hosts, names, self.where[one.name].hosts, strict=True))
            self.shown[one.name] = tuple(make(host.shows, keepers, name) for host, name, _ in pairs)
            self.hosts[one.name] = tuple(
                Host(name.mx, address, BEHAVIOURS[host.does], shown)
                for (host, name, address), shown in zip(pairs, self.shown[one.name], strict=True)
            )

    def _sites(self, keepers: Keepers) -> dict[str, Site]:
        return {
            one.domain: site(
                one.policy, one.domain, make(one.policy.shows, keepers, Names(one.domain, one.mx))
            )
            for one in self.all
            if one.policy is not None
        }

    async def close(self) -> None:
        """End all of it, the last first."""
        await self._ending.aclose()
