"""Waiting until a record is visible on the authoritative servers, before the CA is told to look (RFC 8555 §8.4).

A failed look costs one of a few tries an hour, so it pays to look first. Every server of the zone is asked directly; the
wait ends when each shows the record. A server that never answers (it may be out of reach from here and not from the CA) is asked
three times and then left out, as long as another shows the record. When the zone's servers cannot be found or none
answers, the configured time is waited out and the CA has the last word. When the time is over and a server says that there is no
such record, the CA would find the same: that is a failure with the server's address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.ports import Pause
from gatepost.core.ports import Clock
from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer
from gatepost.net.zone_servers import PORT, real_name, servers_of, txt_values, zone_of

SECONDS = 120.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
PATIENCE = 3  # questions to a server that does not answer


class Propagation:
    """Looks for records. `servers` are asked in place of those that the DNS names for the zone, which listen on `port`."""

    def __init__(
        self,
        client: DnsClient,
        clock: Clock,
        *,
        servers: Sequence[NameServer] = (),
        seconds: float = SECONDS,
        port: int = PORT,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._client = client
        self._clock = clock
        self._servers = tuple(servers)
        self._seconds = seconds
        self._port = port
        self._pause = pause

    async def visible(self, record: str, value: str) -> None:
        """Returns when the record can be seen, or may be. Raises AcmeFailed where it is known not to be there."""
        end = self._clock.monotonic() + self._seconds
        record, servers = await self._where(record)
        waiting = set(servers)
        silent = dict.fromkeys(servers, 0)
        pause = FIRST_PAUSE
        while waiting:
            lacking: list[NameServer] = []
            for server in sorted(waiting, key=str):
                try:
                    shows = value in await txt_values(server, record)
                except NoAnswer:
                    silent[server] += 1
                    continue
                silent[server] = 0
                if shows:
                    waiting.discard(server)
                else:
                    lacking.append(server)
            given_up = {server for server in waiting if silent[server] >= PATIENCE}
            if not waiting - given_up and len(waiting) < len(servers):
                return
            left = end - self._clock.monotonic()
            if left <= 0:
                self._tell(record, lacking)
                return
            await self._pause(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
        if not servers:
            await self._pause(self._seconds)

    async def _where(self, record: str) -> tuple[str, tuple[NameServer, ...]]:
        """The record's own name behind aliases, and who has it; nobody where that cannot be found out."""
        try:
            name = await real_name(self._client, record)
        except NoAnswer:
            return record, self._servers
        if self._servers:
            return name, self._servers
        try:
            return name, await servers_of(self._client, await zone_of(self._client, name), self._port)
        except NoAnswer:
            return name, ()

    def _tell(self, record: str, lacking: Sequence[NameServer]) -> None:
        if lacking:
            listed = ", ".join(map(str, lacking))
            raise AcmeFailed(f"{record} is not visible on {listed} after {self._seconds:.0f} s")
