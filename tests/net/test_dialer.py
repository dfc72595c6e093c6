from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from tests.net.kit import reactor, run

from gatepost.net.dialer import dial, source_towards
from gatepost.net.errors import DialFailed

LOOPBACK = ipaddress.ip_address("127.0.0.1")


def test_connects_from_the_source_address_without_delay() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            async with reactor() as made:
                port = server.getsockname()[1]
                stream = await dial(made, LOOPBACK, port, source=ipaddress.ip_address("127.0.0.9"))
                accepted, peer = server.accept()
                assert peer[0] == "127.0.0.9" == stream.local.host
                assert (stream.peer.host, stream.peer.port) == ("127.0.0.1", port)
                assert stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                accepted.sendall(b"220 hello\r\n")
                assert await stream.read() == b"220 hello\r\n"
                accepted.close()
                stream.abort()

    run(main)


def test_ipv6() -> None:
    async def main() -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            async with reactor() as made:
                here = ipaddress.ip_address("::1")
                stream = await dial(made, here, server.getsockname()[1], source=here)
                assert stream.peer.host == "::1"
                stream.abort()

    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 on this machine")
    run(main)


def test_a_refused_connection_in_the_words_of_the_log() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, not listening
            async with reactor() as made:
                with pytest.raises(DialFailed) as caught:
                    await dial(made, LOOPBACK, taken.getsockname()[1])
                assert caught.value.text == "[Errno 111] Connection refused"

    run(main)


@pytest.mark.parametrize(("target", "source"), [("127.0.0.9", "127.0.0.1"), ("255.255.255.255", "0.0.0.0")])
def test_the_source_towards_a_host_is_the_kernels_choice(target: str, source: str) -> None:
    assert source_towards(ipaddress.ip_address(target), 25) == source


def test_a_source_that_is_not_ours() -> None:
    async def main() -> None:
        async with reactor() as made:
            with pytest.raises(DialFailed) as caught:
                await dial(made, LOOPBACK, 25, source=ipaddress.ip_address("192.0.2.77"))
            assert caught.value.text == "[Errno 99] Cannot assign requested address"

    run(main)


def full_server() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket whose queue is full: the kernel drops further connections silently."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(server.getsockname())
        waiting.append(sock)
    return server, waiting


def test_a_silent_host_is_a_timeout_and_cancelling_leaves_nothing_open() -> None:
    async def main() -> None:
        server, waiting = full_server()
        port = server.getsockname()[1]
        async with reactor() as made:
            with pytest.raises(DialFailed) as caught:
                await dial(made, LOOPBACK, port, timeout=0.03)
            assert caught.value.text == "timeout"
            dialing = asyncio.ensure_future(dial(made, LOOPBACK, port))
            await asyncio.sleep(0.01)
            dialing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialing
            assert len(made.sweeper) == 0
        for sock in [server, *waiting]:
            sock.close()

    run(main)
