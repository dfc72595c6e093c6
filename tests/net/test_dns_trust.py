"""Which resolver is believed: only one on this machine that shows that it validates (D10)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.net.kit import run

from gatepost.net.dns_client import DnsClient, NameServer
from gatepost.net.dns_trust import DnsTrust, ProbeNames, Validation, probe
from gatepost.net.resolver import Resolver

NAMES = ProbeNames("signed.example", "bogus.example")
RECORDS = {
    "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
    "bogus.example": {"A": ["192.0.2.1"]},
}


def validating(*, ad: bool = True) -> DnsAuthority:
    authority = DnsAuthority(RECORDS, ad=ad)
    authority.behave("bogus.example", Behaviour.BOGUS)
    return authority


def verdict(authority: DnsAuthority, names: ProbeNames = NAMES) -> str:
    async def main() -> str:
        return (await probe(NameServer(authority.address, authority.port), names)).reason

    found = []
    with authority:
        run(lambda: _keep(main(), found))
    return found[0]


async def _keep(work: object, found: list[str]) -> None:
    found.append(await work)  # type: ignore[misc]


def test_a_validating_resolver_on_this_machine_is_believed() -> None:
    assert verdict(validating()) == ""


@pytest.mark.parametrize(
    ("signed", "bogus", "ad", "reason"),
    [
        (None, Behaviour.BOGUS, False, "does not say that signed.example was validated"),
        (None, None, True, "takes the broken signature of bogus.example"),
        (Behaviour.SERVFAIL, Behaviour.BOGUS, True, "answers signed.example with SERVFAIL"),
        (None, Behaviour.SERVFAIL, True, "cannot reach bogus.example, which would show that it validates"),
        (None, Behaviour.NXDOMAIN, True, "takes the broken signature of bogus.example"),
    ],
)
def test_what_a_resolver_lacks_is_said(
    signed: Behaviour | None, bogus: Behaviour | None, ad: bool, reason: str
) -> None:
    authority = DnsAuthority(RECORDS, ad=ad)
    authority.behave("signed.example", signed)
    authority.behave("bogus.example", bogus)
    assert verdict(authority) == reason


def test_a_resolver_elsewhere_is_not_even_asked() -> None:
    async def main() -> None:
        found = await probe(NameServer("192.0.2.53"), NAMES)
        assert not found.validates
        assert "not on this machine" in found.reason

    run(main)


def test_trust_follows_the_verdicts_and_look_ups_wait_for_the_first() -> None:
    async def main() -> None:
        told: list[Sequence[Validation]] = []
        with validating() as good, DnsAuthority(RECORDS) as bad:
            servers = [NameServer(one.address, one.port) for one in (good, bad)]
            client = DnsClient(servers)
            trust = DnsTrust(client, NAMES, told.append)
            assert not trust.validating
            task = asyncio.create_task(trust.run())
            await trust.settled()
            assert trust.validating
            assert [one.validates for one in trust.verdicts] == [True, False]
            assert client._trusted == {servers[0]}
            assert len(told) == 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main)


def test_what_could_not_be_tried_is_told_from_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first may be otherwise in a minute."""
    monkeypatch.setattr("gatepost.net.dns_trust.PROBE_SECONDS", 0.5)

    async def main() -> None:
        with validating() as good, DnsAuthority(RECORDS) as bad, validating() as silent:
            silent.behave("signed.example", Behaviour.TIMEOUT)
            servers = [NameServer(one.address, one.port) for one in (good, bad, silent)]
            found = [await probe(server, NAMES) for server in servers]
            assert [one.untried for one in found] == [False, False, True]

    run(main)


def test_proof_is_looked_for_when_it_is_wanted() -> None:
    """Nothing asks the servers before; then what was known of answers counts no more, and they are tried once."""

    async def main() -> None:
        with validating() as good:
            client = DnsClient([NameServer(good.address, good.port)])
            told: list[Sequence[Validation]] = []
            trust = DnsTrust(client, NAMES, told.append)
            resolver = Resolver(asyncio.get_running_loop(), client, trust=trust)
            try:
                before = await resolver.txt("signed.example")
                assert (before.secure, resolver.verdicts, trust.started) == (False, (), False)
                await asyncio.gather(*(resolver.want_proof() for _ in range(5)))
                assert [one.validates for one in resolver.verdicts] == [True]
                assert (await resolver.txt("signed.example")).secure
                assert len(told) == 1
            finally:
                await resolver.close()

    run(main)
