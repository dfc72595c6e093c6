"""Whether a resolver validates DNSSEC, tried and not assumed (architecture 4, DNS; D10).

A resolver's AD flag says that an answer was validated; it is worth something only from a resolver that really validates,
over a way that nobody can sit on. So a server counts only when it listens on loopback *and* passes a probe: a signed
name comes with AD, a name whose signature is known to be broken comes as SERVFAIL, and the same name asked without
checking (CD) comes, which shows that SERVFAIL was a judgement and not an outage.

`DnsTrust` keeps the verdicts of one client up to date: probed at once, then hourly, every minute while a server fails. Look-ups
wait for the first verdict, a few seconds at most, so that the first messages after a start are not judged without DNSSEC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gatepost.net.dns_client import UDP_PAYLOAD, DnsClient, NameServer, NoAnswer, ask_server

PROBE_SECONDS = 4.0  # for one question
FIRST_SECONDS = 5.0  # look-ups wait for the first verdicts no longer than this
AGAIN_SOUND, AGAIN_FAILED = 3600.0, 60.0


@dataclass(frozen=True, slots=True)
class ProbeNames:
    """The names that are asked for: `signed` has a SOA record and a chain of trust, `bogus` a broken signature."""

    signed: str = "."
    bogus: str = "dnssec-failed.org"


@dataclass(frozen=True, slots=True)
class Validation:
    """The verdict on one server. `reason` says what it lacks, and is empty when it validates.

    `untried`: it lacks no more than an answer, which may come later.
    """

    server: NameServer
    reason: str = ""
    untried: bool = False

    @property
    def validates(self) -> bool:
        return not self.reason


def settles_dnssec(verdicts: Sequence[Validation]) -> bool:
    """An answer without proof is known to be unsigned, or that nobody here can tell; not so before a probe, or while one may yet succeed."""
    if any(verdict.validates for verdict in verdicts):
        return True
    return bool(verdicts) and not any(verdict.untried for verdict in verdicts)


async def probe(server: NameServer, names: ProbeNames) -> Validation:
    """Whether this server's AD flag is to be believed. Never raises for what DNS does."""
    if not server.on_loopback:
        return Validation(server, "is not on this machine, and its answers could be changed on the way")
    try:
        signed = await _ask(server, names.signed, dns.rdatatype.SOA)
        if signed.rcode() != dns.rcode.NOERROR:
            said = dns.rcode.to_text(signed.rcode())
            return Validation(server, f"answers {names.signed} with {said}", untried=said == "SERVFAIL")
        if not signed.flags & dns.flags.AD:
            return Validation(server, f"does not say that {names.signed} was validated")
        bogus = await _ask(server, names.bogus, dns.rdatatype.A)
        if bogus.rcode() != dns.rcode.SERVFAIL:
            return Validation(server, f"takes the broken signature of {names.bogus}")
        unchecked = await _ask(server, names.bogus, dns.rdatatype.A, unchecked=True)
    except NoAnswer as failure:
        return Validation(server, f"gives no answer: {failure}", untried=True)
    if unchecked.rcode() != dns.rcode.NOERROR:
        return Validation(
            server, f"cannot reach {names.bogus}, which would show that it validates", untried=True
        )
    return Validation(server)


async def _ask(
    server: NameServer, name: str, kind: dns.rdatatype.RdataType, *, unchecked: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(dns.name.from_text(name), kind, use_edns=0, payload=UDP_PAYLOAD)
    query.flags |= dns.flags.AD | (dns.flags.CD if unchecked else 0)
    return (await ask_server(server, query, PROBE_SECONDS)).message


class DnsTrust:
    """Keeps the trust of one client up to date, until it is closed. `on_change` is called when a verdict changed."""

    def __init__(
        self, client: DnsClient, names: ProbeNames, on_change: Callable[[Sequence[Validation]], None]
    ) -> None:
        self._client = client
        self._names = names
        self._on_change = on_change
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.verdicts: tuple[Validation, ...] = ()

    @property
    def validating(self) -> bool:
        """Some server's AD flag counts."""
        return any(verdict.validates for verdict in self.verdicts)

    @property
    def started(self) -> bool:
        """The servers are probed."""
        return self._task is not None

    async def settled(self) -> None:
        """Until the servers were probed once, or it takes too long."""
        if self._settled.is_set():
            return
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            self._settled.set()

    def start(self) -> None:
        """Probe from now on, until `close`. A bug ends it, and the last verdicts stay: who waits is not held up."""
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def close(self) -> None:
        """Probe no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self) -> None:
        """Probe for ever. Cancelled, it leaves the last verdicts in force."""
        while True:
            verdicts = tuple(
                await asyncio.gather(*(probe(server, self._names) for server in self._client.servers))
            )
            changed = verdicts != self.verdicts
            self.verdicts = verdicts
            self._client.trust([verdict.server for verdict in verdicts if verdict.validates])
            self._settled.set()
            if changed:
                self._on_change(verdicts)
            sound = all(verdict.validates or not verdict.server.on_loopback for verdict in verdicts)
            await asyncio.sleep(AGAIN_SOUND if sound else AGAIN_FAILED)
