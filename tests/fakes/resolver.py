"""A resolver whose zone is written down in the test. It answers like `net.resolver.Resolver`, at once.

A name that is not in the zone does not exist; a name in `failing` gets no answer (SERVFAIL, time-out).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable

from gatepost.core.address import IPAddress
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.net.dns_answer import DnsAnswer, DnsStatus, HostName, Mx, NoName, PtrAnswer, Undetermined
from gatepost.net.dns_trust import Validation
from gatepost.relay.sts import StsAccount
from gatepost.wire.mta_sts import StsPolicy


class FakePolicies:
    """MTA-STS policies by domain, as `relay.sts.StsPolicies` gives them."""

    def __init__(self) -> None:
        self.known: dict[str, StsPolicy] = {}

        self.accounts: dict[str, StsAccount] = {}
        self.doubts: dict[str, str] = {}

    async def of(self, domain: str) -> StsPolicy | None:
        return self.known.get(domain)

    async def doubt(self, domain: str) -> str:
        return self.doubts.get(domain, "")

    def account(self, domain: str) -> StsAccount | None:
        return self.accounts.get(domain)


class FakeResolver:
    """`asked` holds every question in order."""

    def __init__(self) -> None:
        self._mx: dict[str, tuple[Mx, ...]] = {}
        self._addresses: dict[str, tuple[IPAddress, ...]] = {}
        self._names: dict[IPAddress, PtrAnswer] = {}
        self.texts: dict[str, tuple[str, ...]] = {}
        self.tlsa_answers: dict[str, TlsaAnswer] = {}
        self.failing: set[str] = set()
        self.secure: set[str] = set()
        self.verdicts: tuple[Validation, ...] = ()
        self.asked: list[tuple[str, str]] = []
        self.slow: dict[IPAddress, asyncio.Event] = {}  # clients whose name is told when the event is set
        self.slow_now = 0  # how many wait for one

    def set_mx(self, domain: str, *records: tuple[int, str]) -> None:
        self._mx[domain] = tuple(Mx(preference, host) for preference, host in records)

    def set_addresses(self, host: str, *addresses: str) -> None:
        self._addresses[host] = tuple(ipaddress.ip_address(address) for address in addresses)

    def set_name(self, address: str, name: str | None) -> None:
        """The confirmed name of a client; None: its look-up fails."""
        answer: PtrAnswer = Undetermined("SERVFAIL") if name is None else HostName(name)
        self._names[ipaddress.ip_address(address)] = answer

    async def mx(self, domain: str) -> DnsAnswer[Mx]:
        return self._answer("MX", domain, self._mx.get(domain, ()))

    async def addresses(self, host: str) -> DnsAnswer[IPAddress]:
        return self._answer("A", host, self._addresses.get(host, ()))

    async def entries(self, name: str) -> DnsAnswer[IPAddress]:
        return self._answer("A", name, self._addresses.get(name, ()))

    async def txt(self, name: str) -> DnsAnswer[str]:
        return self._answer("TXT", name, self.texts.get(name, ()))

    async def tlsa(self, host: str, port: int) -> TlsaAnswer:
        self.asked.append(("TLSA", f"_{port}._tcp.{host}"))
        return self.tlsa_answers.get(host, TlsaAnswer(TlsaState.ABSENT, detail=f"{host} has no TLSA records"))

    async def want_proof(self) -> None:
        self.asked.append(("proof", ""))

    async def ptr_confirmed(self, address: IPAddress) -> PtrAnswer:
        self.asked.append(("PTR", str(address)))
        if address in self.slow:
            self.slow_now += 1
            try:
                await self.slow[address].wait()
            finally:
                self.slow_now -= 1
        return self._names.get(address, NoName())

    def known_name(self, address: IPAddress) -> PtrAnswer | None:
        return None

    def forget(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _answer(self, kind: str, name: str, values: Iterable[object]) -> DnsAnswer:  # type: ignore[type-arg]
        self.asked.append((kind, name))
        found = tuple(values)
        if name in self.failing:
            return DnsAnswer(DnsStatus.TEMPORARY, detail="SERVFAIL")
        if found:
            return DnsAnswer(DnsStatus.FOUND, found, name in self.secure, 300.0)
        known = name in self._mx or name in self._addresses
        return DnsAnswer(DnsStatus.NO_DATA if known else DnsStatus.NXDOMAIN, (), name in self.secure, 300.0)
