"""What was looked up on the way to a host, kept in order, for people who want to see it.

`Overheard` stands in the resolver's place while somebody else asks: every question goes to the real one, and question and answer are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.address import IPAddress
from gatepost.core.reasons import Reason
from gatepost.core.tlsa import TlsaAnswer, owner
from gatepost.net.dns_answer import DnsAnswer, Mx, PtrAnswer
from gatepost.net.dns_trust import Validation
from gatepost.net.resolver import Resolver
from gatepost.wire.mta_sts import StsPolicy

MAX_KEPT = 200


@dataclass(frozen=True, slots=True)
class LookUp:
    """One question and its answer. `kind` is MX, A (both families), TXT or TLSA; that of TLSA has an answer of its own."""

    kind: str
    name: str
    answer: DnsAnswer[Mx] | DnsAnswer[IPAddress] | DnsAnswer[str] | TlsaAnswer


@dataclass(frozen=True, slots=True)
class PolicySeen:
    """What came of a domain's MTA-STS policy: its record, and the policy that counts, if any.

    `identifier` is the id under which it was fetched, `fetched` and `until` are times (0: never), `problem` says why the last fetch failed.
    """

    domain: str
    record: DnsAnswer[str]
    policy: StsPolicy | None
    identifier: str = ""
    fetched: float = 0.0
    until: float = 0.0
    problem: Reason | None = None


class Overheard:
    """The questions of one walk. Answers as the resolver does."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.look_ups: list[LookUp] = []

    def _keep(self, look_up: LookUp) -> None:
        if len(self.look_ups) < MAX_KEPT:
            self.look_ups.append(look_up)

    async def mx(self, domain: str) -> DnsAnswer[Mx]:
        answer = await self._resolver.mx(domain)
        self._keep(LookUp("MX", domain, answer))
        return answer

    async def addresses(self, host: str) -> DnsAnswer[IPAddress]:
        answer = await self._resolver.addresses(host)
        self._keep(LookUp("A", host, answer))
        return answer

    async def txt(self, name: str) -> DnsAnswer[str]:
        answer = await self._resolver.txt(name)
        self._keep(LookUp("TXT", name, answer))
        return answer

    async def tlsa(self, host: str, port: int) -> TlsaAnswer:
        answer = await self._resolver.tlsa(host, port)
        self._keep(LookUp("TLSA", owner(answer.base or host, port), answer))
        return answer

    async def want_proof(self) -> None:
        await self._resolver.want_proof()

    @property
    def verdicts(self) -> tuple[Validation, ...]:
        return self._resolver.verdicts

    async def ptr_confirmed(self, address: IPAddress) -> PtrAnswer:
        return await self._resolver.ptr_confirmed(address)
