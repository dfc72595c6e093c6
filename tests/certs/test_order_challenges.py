"""The ports of one order: opened with the first proof, answering, closed behind it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gatepost.certs.acme.challenges import Dns01, Http01
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.order_challenges import OrderChallenges
from gatepost.core.errors import OperatorError
from gatepost.wire.acme_objects import ChallengeKind

ONE = Http01("mx.example.net", "token-1", "token-1.thumb")
TWO = Http01("mail.example.net", "token-2", "token-2.thumb")


class Ports:
    def __init__(self, error: OperatorError | None = None) -> None:
        self.error = error
        self.opened: list[str] = []
        self.places: list[tuple[str, int]] = []

    async def open(self, kind: str, /) -> list[socket.socket]:
        self.opened.append(kind)
        if self.error is not None:
            raise self.error
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for one in sockets:
            one.setblocking(False)
        self.places = [one.getsockname() for one in sockets]
        return sockets


async def asked(place: tuple[str, int], proof: Http01) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(f"GET {proof.path} HTTP/1.1\r\nHost: {proof.name}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def refused(place: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(place) != 0


def test_ports_are_opened_with_the_first_proof_and_closed_with_the_order() -> None:
    async def main() -> None:
        ports = Ports()
        async with OrderChallenges(ChallengeKind.HTTP01, ports) as challenges:
            assert challenges.prefers == (ChallengeKind.HTTP01,)
            assert ports.opened == []
            await asyncio.gather(challenges.present(ONE), challenges.present(TWO))
            assert ports.opened == ["http-01"]
            for place in ports.places:
                assert (await asked(place, ONE)).endswith(b"\r\n\r\ntoken-1.thumb")
                assert (await asked(place, TWO)).endswith(b"\r\n\r\ntoken-2.thumb")
            await challenges.withdraw(ONE)
            assert (await asked(ports.places[0], ONE)).startswith(b"HTTP/1.1 404")
            assert (await asked(ports.places[0], TWO)).startswith(b"HTTP/1.1 200")
        assert all(refused(place) for place in ports.places)

    asyncio.run(main())


def test_ports_are_closed_when_the_order_is_cut_off() -> None:
    async def main() -> None:
        ports = Ports()

        async def cut_off() -> None:
            async with OrderChallenges(ChallengeKind.HTTP01, ports) as challenges:
                await challenges.present(ONE)
                assert not any(refused(place) for place in ports.places)
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await cut_off()
        assert len(ports.places) == 2
        assert all(refused(place) for place in ports.places)

    asyncio.run(main())


def test_a_port_that_cannot_be_had_is_a_failure_that_names_it() -> None:
    async def main() -> None:
        taken = OperatorError("the challenge http-01 cannot use 192.0.2.1 port 80: taken", "stop the other")
        async with OrderChallenges(ChallengeKind.HTTP01, Ports(taken)) as challenges:
            with pytest.raises(AcmeFailed) as failure:
                await challenges.present(ONE)
            assert failure.value.text == (
                "the challenge http-01 cannot use 192.0.2.1 port 80: taken (stop the other)"
            )
            assert not failure.value.permanent
            await challenges.withdraw(ONE)

    asyncio.run(main())


def test_records_go_to_whom_the_configuration_names() -> None:
    class Records:
        def __init__(self) -> None:
            self.done: list[str] = []

        async def present(self, proof: Dns01, /) -> None:
            self.done.append(f"+ {proof.record}")

        async def withdraw(self, proof: Dns01, /) -> None:
            self.done.append(f"- {proof.record}")

    async def main() -> None:
        proof, records, ports = (
            Dns01("example.net", "_acme-challenge.example.net", "value"),
            Records(),
            Ports(),
        )
        async with OrderChallenges(ChallengeKind.DNS01, ports, records) as challenges:
            await challenges.present(proof)
            await challenges.withdraw(proof)
        assert records.done == ["+ _acme-challenge.example.net", "- _acme-challenge.example.net"]
        assert ports.opened == []
        async with OrderChallenges(ChallengeKind.DNS01, ports) as challenges:
            with pytest.raises(AcmeFailed, match=r"needs acme\.dns"):
                await challenges.present(proof)

    asyncio.run(main())
