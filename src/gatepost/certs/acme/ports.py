"""What the client is given by those who call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gatepost.certs.acme.challenges import Proof
from gatepost.net.http import HttpAnswer
from gatepost.pki.keys import SecretBytes
from gatepost.wire.acme_objects import ChallengeKind

Pause = Callable[[float], Awaitable[None]]
"""Waits for some seconds; `asyncio.sleep`, or a test's own."""


class HttpPort(Protocol):
    """`net.http.OperatorHttp`: raises HttpFailed when there is no answer; bounded in time and size by itself."""

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer: ...


class Challenges(Protocol):
    """Shows proofs to the CA. `prefers` are the kinds that the configuration allows, the best first.

    Several proofs may be presented at the same time, also two values of one DNS record. `present` returns when the CA can
    see the proof and raises AcmeFailed when it cannot be shown; `withdraw` is called once for every proof that was presented
    or half presented, and may raise AcmeFailed, which does not stop the order.
    """

    @property
    def prefers(self) -> tuple[ChallengeKind, ...]: ...

    async def present(self, proof: Proof, /) -> None: ...

    async def withdraw(self, proof: Proof, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SavedOrder:
    """An order on its way: enough to go on with it after an interruption at any step.

    `key_pem` is the key of the certificate, PKCS#8; it is the only secret, seal it. `made` is in seconds since the epoch.
    """

    url: str
    directory: str
    account_url: str
    names: tuple[str, ...]
    profile: str
    key_pem: SecretBytes = field(repr=False)
    made: float


class OrderJournal(Protocol):
    """Keeps the order of one profile, durably: `save` has returned when a crash no longer loses it.

    `obtain` saves when an order was made and forgets what cannot be resumed. It does not forget an order that succeeded: the
    caller does, when the certificate is stored; until then `obtain` gives the same certificate again.
    """

    async def load(self) -> SavedOrder | None: ...

    async def save(self, order: SavedOrder, /) -> None: ...

    async def forget(self) -> None: ...
