"""How the names of one order are proved: the ports that answer, and the records in the DNS, for as long as it runs.

A port is opened with the first proof that needs it and closed with the order; never before, never longer, since what
answers on it is no service of the gateway (architecture 8). It is asked of `Ports`, because the process that orders may
not open ports below 1024 itself. Records are made by whatever the configuration names, a program or dynamic updates.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from gatepost.certs.acme.challenges import Dns01, Http01, Proof, TlsAlpn01
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.dns_proofs import Records
from gatepost.core.errors import OperatorError
from gatepost.net.challenge_servers import Http01Responder, TlsAlpn01Responder
from gatepost.wire.acme_objects import ChallengeKind

Responder = Http01Responder | TlsAlpn01Responder


class Ports(Protocol):
    """Opens the ports on which an authority looks for an answer (`acme.http_port`, `acme.tls_port`)."""

    async def open(self, kind: str, /) -> list[socket.socket]:
        """Listening, non-blocking sockets for `http-01` or `tls-alpn-01`; the caller closes them.

        Raises OperatorError that names the port and the address that cannot be had.
        """
        ...


class OrderChallenges:
    """Implements `certs.acme.ports.Challenges` for one order; leave it (`async with`) to close what is open.

    `kind` is how the configuration wants the names to be proved; `records` does it for dns-01.
    """

    def __init__(self, kind: ChallengeKind, ports: Ports, records: Records | None = None) -> None:
        self._kind = kind
        self._ports = ports
        self._records = records
        self._responders: dict[ChallengeKind, Sequence[Responder]] = {}
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for responders in self._responders.values():
            for responder in responders:
                await responder.close()
        self._responders = {}

    @property
    def prefers(self) -> tuple[ChallengeKind, ...]:
        return (self._kind,)

    async def present(self, proof: Proof, /) -> None:
        if isinstance(proof, Dns01):
            await self._dns().present(proof)
            return
        for responder in await self._opened(proof.kind):
            match proof, responder:
                case Http01(), Http01Responder():
                    responder.present(proof.name, proof.path, proof.key_authorization)
                case TlsAlpn01(), TlsAlpn01Responder():
                    responder.present(proof.server_name, proof.certificate, proof.key)

    async def withdraw(self, proof: Proof, /) -> None:
        if isinstance(proof, Dns01):
            await self._dns().withdraw(proof)
            return
        for responder in self._responders.get(proof.kind, ()):
            match proof, responder:
                case Http01(), Http01Responder():
                    responder.withdraw(proof.name, proof.path)
                case TlsAlpn01(), TlsAlpn01Responder():
                    responder.withdraw(proof.server_name)

    def _dns(self) -> Records:
        if self._records is None:
            raise AcmeFailed(
                "dns-01 needs acme.dns: a program, or a server for dynamic updates", permanent=True
            )
        return self._records

    async def _opened(self, kind: ChallengeKind) -> Sequence[Responder]:
        """The servers of a challenge, started when the first proof comes."""
        async with self._turn:  # several names are proved at the same time
            if kind not in self._responders:
                try:
                    sockets = await self._ports.open(kind.value)
                except OperatorError as error:
                    raise AcmeFailed(
                        f"{error.message} ({error.hint})" if error.hint else error.message
                    ) from None
                made = Http01Responder if kind is ChallengeKind.HTTP01 else TlsAlpn01Responder
                responders = self._responders[kind] = [made(one) for one in sockets]
                for responder in responders:
                    await responder.start()
                if not responders:
                    raise AcmeFailed(f"no port for {kind} could be opened")
            return self._responders[kind]
