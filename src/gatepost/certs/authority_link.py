"""The real authority behind the port of the renewals: our ACME client over the operator's HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gatepost.certs.acme.account import Account, AccountKey, ExternalAccount, find, register
from gatepost.certs.acme.client import DEFAULT_LIMITS, AcmeClient, Limits
from gatepost.certs.acme.issuing import Issued, OrderRequest, obtain
from gatepost.certs.acme.ports import Challenges, HttpPort, OrderJournal, Pause
from gatepost.certs.acme.renewal_info import renewal_window
from gatepost.core.ports import Clock
from gatepost.net.http import OperatorHttp
from gatepost.policy.renew import Window
from gatepost.wire.acme_objects import Directory


class AcmeAuthority:
    """Implements `ordering.Authority`."""

    def __init__(
        self, http: HttpPort, clock: Clock, *, limits: Limits = DEFAULT_LIMITS, pause: Pause = asyncio.sleep
    ) -> None:
        self._http = http
        self._clock = clock
        self._limits = limits
        self._pause = pause

    async def directory(self, url: str, /) -> Directory:
        client = AcmeClient(self._http, url, self._clock, limits=self._limits, pause=self._pause)
        return await client.directory()

    async def find(self, directory: str, key: AccountKey, /) -> Account | None:
        return await find(self._http, directory, key, self._clock, limits=self._limits, pause=self._pause)

    async def register(
        self,
        directory: str,
        key: AccountKey,
        /,
        *,
        contact: tuple[str, ...],
        terms_agreed: bool,
        external: ExternalAccount | None,
    ) -> Account:
        return await register(
            self._http,
            directory,
            key,
            self._clock,
            contact=contact,
            terms_agreed=terms_agreed,
            external=external,
            limits=self._limits,
            pause=self._pause,
        )

    async def obtain(
        self, request: OrderRequest, account: Account, challenges: Challenges, journal: OrderJournal, /
    ) -> Issued:
        return await obtain(
            request,
            account,
            self._http,
            challenges,
            journal,
            self._clock,
            limits=self._limits,
            pause=self._pause,
        )

    async def window(self, directory: str, leaf: bytes, /) -> Window | None:
        return await renewal_window(
            self._http, directory, leaf, self._clock, limits=self._limits, pause=self._pause
        )


@asynccontextmanager
async def connected(trust_pem: bytes, clock: Clock) -> AsyncIterator[AcmeAuthority]:
    """An authority whose server must lead to these roots."""
    http = OperatorHttp(trust_pem)
    try:
        yield AcmeAuthority(http, clock)
    finally:
        await http.close()
