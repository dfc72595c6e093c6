"""One name proved: a challenge chosen, presented, validated and withdrawn (RFC 8555 §7.5).

The configuration's order of preference decides, among what the CA offers and what can prove the name at all. What was presented is
withdrawn in every case, also when the order is cancelled. A challenge that the CA is working on already (an order that
is resumed) is presented again and not answered again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from gatepost.certs.acme.challenges import Proof, can_prove, make_proof
from gatepost.certs.acme.client import AcmeClient, Signer
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.ports import Challenges
from gatepost.wire.acme import read_authorization
from gatepost.wire.acme_objects import AcmeNameError, Authorization, Challenge, Status

_OPEN = (Status.PENDING, Status.PROCESSING)


@dataclass(slots=True)
class Authorizer:
    """Proves names for one account. `remarks` are what went wrong while cleaning up."""

    client: AcmeClient
    signer: Signer
    challenges: Challenges
    remarks: list[str]

    async def prove(self, url: str) -> AcmeFailed | None:
        """Bring the authorization at `url` to `valid`; what went wrong, or None. Its text begins with the name."""
        name = "a name"
        try:
            found = await self._read(url, "an authorization")
            name = ("*." if found.wildcard else "") + found.identifier.base
            if found.status is Status.VALID:
                return None
            if found.status is Status.PENDING:
                found = await self._validate(url, found, name)
            if found.status is Status.VALID:
                return None
            return _failed(found, name)
        except AcmeFailed as failure:
            return AcmeFailed(
                failure.text if failure.text.startswith(f"{name}:") else f"{name}: {failure.text}",
                retry_after=failure.retry_after,
                permanent=failure.permanent,
                details=failure.details,
                kind=failure.kind,
            )

    async def _validate(self, url: str, found: Authorization, name: str) -> Authorization:
        challenge = self._choose(found, name)
        try:
            proof = make_proof(
                challenge.kind, found.identifier, challenge.token, self.signer.key, self.client.clock.now()
            )
        except AcmeNameError as error:
            raise AcmeFailed(str(error), permanent=True) from None
        async with self._presented(proof):
            if challenge.status is Status.PENDING:
                await self.client.post(challenge.url, {}, self.signer, f"the challenge for {name}")
            return await self.client.poll(
                url,
                self.signer,
                read_authorization,
                lambda authorization: authorization.status not in _OPEN,
                f"the authorization of {name}",
            )

    @contextlib.asynccontextmanager
    async def _presented(self, proof: Proof) -> AsyncIterator[None]:
        try:
            await self.challenges.present(proof)
            yield
        finally:
            try:
                async with asyncio.timeout(self.client.limits.withdraw_seconds):
                    await self.challenges.withdraw(proof)
            except AcmeFailed as failure:
                self.remarks.append(f"the proof for {proof.name} was not taken away: {failure.text}")
            except TimeoutError:
                self.remarks.append(f"the proof for {proof.name} was not taken away in time")

    def _choose(self, found: Authorization, name: str) -> Challenge:
        for kind in self.challenges.prefers:
            if not can_prove(kind, found.identifier, wildcard=found.wildcard):
                continue
            for challenge in found.challenges:
                if challenge.kind is kind and challenge.status in _OPEN:
                    return challenge
        wanted = ", ".join(kind.value for kind in self.challenges.prefers) or "none"
        offered = ", ".join(found.offered) or "nothing"
        raise AcmeFailed(
            f"{name}: the CA offers {offered}, the configuration allows {wanted}"
            + (" (a wildcard needs dns-01)" if found.wildcard else ""),
            permanent=True,
        )

    async def _read(self, url: str, what: str) -> Authorization:
        return self.client.understood(read_authorization, await self.client.ask(url, self.signer, what), what)


def _failed(found: Authorization, name: str) -> AcmeFailed:
    """The CA's words on why the name was not proved."""
    problem = found.problem
    if problem is None:
        return AcmeFailed(f"{name}: the CA's authorization is {found.status.value}")
    first, *parts = problem.lines()
    return AcmeFailed(f"{name}: {first}", details=tuple(parts), kind=problem.kind)
