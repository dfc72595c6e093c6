"""The ports of challenges: opened by the supervisor, held by the desk, closed with the order or with the desk."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.app.gateway import Running, free_port, until, until_ended, watch

from gatepost.app.challenge_ports import ChallengePorts
from gatepost.app.channel import Channel, ChannelClosed, DescriptorInbox, descriptor_pair, send_descriptors
from gatepost.core.errors import Exit, OperatorError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    gateway = Running(tmp_path_factory.mktemp("challenges") / "home", workers=1)
    try:
        yield gateway.until_ready()
    finally:
        gateway.close()


@pytest.fixture
def port(running: Running) -> int:
    """A free port that the configuration in force gives to http-01."""
    number = free_port()
    running.call("commit", ports=[running.port], comment="challenges", challenge=number)
    return number


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def successor(running: Running, desk: int) -> bool:
    try:
        return running.pids()[-1] != desk
    except OperatorError:
        return False


def test_a_port_is_open_while_the_desk_holds_it_and_not_longer(running: Running, port: int) -> None:
    assert not answers(port)
    assert running.call("open", kind="http-01") == [["127.0.0.1", port]]
    assert answers(port)
    running.call("close")
    assert not answers(port)
    running.call("open", kind="http-01")
    running.call("close")


def test_a_port_that_is_taken_is_named(running: Running, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OperatorError) as refusal:
        running.call("open", kind="http-01")
    assert f"the challenge http-01 cannot use 127.0.0.1 port {port}" in refusal.value.message
    assert "another program listens there" in refusal.value.hint


def test_the_configuration_says_which_port(running: Running, port: int) -> None:
    running.call("commit", ports=[running.port], comment="no challenges")
    with pytest.raises(OperatorError, match="no automatic certificates"):
        running.call("open", kind="http-01")


def test_a_port_closes_with_the_desk_that_dies(running: Running, port: int) -> None:
    running.call("open", kind="http-01")
    assert answers(port)
    desk = running.pids()[-1]
    ends = watch(desk)
    with pytest.raises(OperatorError):
        running.call("crash")
    until_ended([ends])
    until(lambda: not answers(port), "the port is closed")
    until(lambda: successor(running, desk), "another desk")
    assert running.call("open", kind="http-01") == [["127.0.0.1", port]]
    running.call("close")


class Fake:
    """A channel whose other end passes what the test wants."""

    def __init__(self, sender: socket.socket) -> None:
        self.sender = sender
        self.sent: dict[str, int] = {}
        self.error: Exception | None = None
        self.hangs = False

    async def request(self, kind: str, args: dict[str, Any], timeout: float) -> list[str]:
        assert (kind, args) == ("challenge-ports", {"kind": "http-01"})
        if self.error is not None:
            raise self.error
        send_descriptors(self.sender, self.sent)
        if self.hangs:
            await asyncio.Event().wait()
        return list(self.sent)


def given(fake_error: Exception | None = None) -> tuple[Fake, ChallengePorts, DescriptorInbox]:
    sender, receiver = descriptor_pair()
    fake, inbox = Fake(sender), DescriptorInbox(receiver)
    fake.error = fake_error
    channel: Channel = fake  # type: ignore[assignment]
    return fake, ChallengePorts(channel, inbox), inbox


@pytest.mark.parametrize("error", [ChannelClosed("gone"), TimeoutError()])
def test_a_supervisor_that_does_not_answer_is_a_refusal(error: Exception) -> None:
    fake, ports, inbox = given(error)
    with pytest.raises(OperatorError, match="the supervisor did not open the ports for http-01") as refusal:
        asyncio.run(ports.open("http-01"))
    assert refusal.value.code is Exit.TRY_AGAIN
    inbox.close()
    fake.sender.close()


def test_what_came_for_an_order_that_was_cut_off_is_closed_before_the_next() -> None:
    fake, ports, inbox = given()
    first, second = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    place = first.getsockname()

    async def main() -> None:
        fake.sent, fake.hangs = {"http-01 a": first.fileno()}, True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await ports.open("http-01")
        first.close()
        assert answers(place[1])  # the descriptor is still under way
        fake.sent, fake.hangs = {"http-01 b": second.fileno()}, False
        (opened,) = await ports.open("http-01")
        assert not answers(place[1])
        assert opened.getsockname() == second.getsockname()
        assert not os.get_inheritable(opened.fileno())
        opened.close()

    asyncio.run(main())
    second.close()
    inbox.close()
    fake.sender.close()
