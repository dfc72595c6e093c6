"""The job that orders and renews automatic certificates: `certs.renewing` with what the desk has.

What it changes goes through the door as `Caller.gateway()`: the new certificate becomes a version like anybody's, with an
audit line. A certificate with `wait_for_dane` waits for its TLSA record (`certs.dane_gate`). Ports for challenges come from the supervisor and are open only while an order runs.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from gatepost.certs.acme.ports import Challenges
from gatepost.certs.acme_secrets import Secret
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.authority_link import connected
from gatepost.certs.dane_gate import DaneGate
from gatepost.certs.dns_proofs import Records, records_of
from gatepost.certs.order_challenges import OrderChallenges, Ports
from gatepost.certs.renewal import Wanted
from gatepost.certs.renewing import Renewals, Tools
from gatepost.config.acme import AcmeChallenge
from gatepost.control.ports import Caller, Gateway, Operations
from gatepost.core.ports import AlertPort, Clock
from gatepost.pki.profile import Profile
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import Keeper
from gatepost.wire.acme_objects import ChallengeKind


class RenewalJob:
    """Implements `app.jobs.Job`."""

    name = "renewal"

    def __init__(
        self,
        store: ConfigStore,
        keeper: Keeper,
        gateway: Gateway,
        operations: Operations,
        clock: Clock,
        alerts: AlertPort,
        ports: Ports,
    ) -> None:
        self._store = store
        self._clock = clock
        self._operations = operations
        self._ports = ports
        self._vault = AcmeVault(store, keeper, clock)
        self._renewals = Renewals(
            Tools(
                store,
                keeper,
                self._vault,
                lambda trust_pem: connected(trust_pem, clock),
                self._challenges,
                self._commit,
                gateway.emit,
                alerts,
                clock,
                gate=DaneGate(store, alerts, clock),
            )
        )

    async def run(self) -> float:
        """Order what is due; returns the seconds until there is something to do again."""
        return await self._renewals.run()

    @asynccontextmanager
    async def _challenges(self, wanted: Wanted) -> AsyncIterator[Challenges]:
        kind = wanted.acme.challenge_of(wanted.certificate)
        records = await self._records(wanted) if kind is AcmeChallenge.DNS else None
        async with OrderChallenges(ChallengeKind(kind.value), self._ports, records) as challenges:
            yield challenges

    async def _records(self, wanted: Wanted) -> Records | None:
        """Who makes the records of dns-01. Raises AcmeFailed where the key for that is missing."""
        version = self._store.latest()
        if wanted.acme.dns is None or version is None:
            return None
        resolvers = (version.content.document.get("dns") or {}).get("servers") or ()
        return records_of(wanted.acme.dns, await self._vault.secret(Secret.TSIG), resolvers, self._clock)

    async def _commit(self, profile: Profile, comment: str) -> None:
        """Put it in force. Raises OperatorError."""
        value = b64encode(orjson.dumps(profile.with_key_document())).decode("ascii")
        await self._operations.call("acme.install", {"profile": value, "comment": comment}, Caller.gateway())
