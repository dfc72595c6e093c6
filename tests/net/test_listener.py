from __future__ import annotations

import asyncio
import errno
import socket

import pytest
from tests.net.kit import run, until

from gatepost.net.listener import Listener
from gatepost.net.socket_address import SocketAddress, socket_address


class Accepting(socket.socket):
    """A listening socket whose next accepts fail."""

    failures: tuple[int, ...] = ()

    def accept(self):  # type: ignore[no-untyped-def]
        if self.failures:
            number, *rest = self.failures
            self.failures = tuple(rest)
            raise OSError(number, "made up")
        return super().accept()


def listening() -> Accepting:
    sock = Accepting()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


class Host:
    """A listener with what it handed out and complained about."""

    def __init__(self, sock: socket.socket) -> None:
        self.problems: list[str] = []
        self.accepted: asyncio.Queue[tuple[socket.socket, SocketAddress]] = asyncio.Queue()
        self.listener = Listener(
            asyncio.get_running_loop(),
            sock,
            lambda accepted, peer: self.accepted.put_nowait((accepted, peer)),
            self.problems.append,
            back_off=0.01,
        )

    async def connection(self) -> None:
        with socket.create_connection((self.listener.address.host, self.listener.address.port)) as peer:
            sock, address = await asyncio.wait_for(self.accepted.get(), 2)
            assert address == SocketAddress(*peer.getsockname())
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.close()


def test_accepts_from_resume_until_stop() -> None:
    async def main() -> None:
        host = Host(listening())
        with socket.create_connection((host.listener.address.host, host.listener.address.port)):
            await asyncio.sleep(0.01)
            assert host.accepted.empty()  # it starts paused
            host.listener.resume()
            (await host.accepted.get())[0].close()
        await host.connection()
        host.listener.pause()
        with socket.create_connection((host.listener.address.host, host.listener.address.port)):
            await asyncio.sleep(0.01)
            assert host.accepted.empty()
        host.listener.resume()
        (await host.accepted.get())[0].close()
        host.listener.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host.listener.address.host, host.listener.address.port))

    run(main)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_without_descriptors_it_rests_and_tells_once(number: int) -> None:
    async def main() -> None:
        sock = listening()
        sock.failures = (number, number)
        host = Host(sock)
        host.listener.resume()
        await host.connection()
        assert len(host.problems) == 2  # once for each rest, not for each turn of the loop
        assert "rests: [Errno" in host.problems[0]
        host.listener.stop()

    run(main)


def test_a_stop_during_the_rest_is_final() -> None:
    async def main() -> None:
        sock = listening()
        sock.failures = (errno.EMFILE,)
        host = Host(sock)
        host.listener.resume()
        with socket.create_connection((host.listener.address.host, host.listener.address.port)):
            await until(lambda: bool(host.problems))
            host.listener.stop()
            await asyncio.sleep(0.03)
            assert host.accepted.empty()

    run(main)


def test_connections_that_went_away_are_no_problem() -> None:
    async def main() -> None:
        sock = listening()
        sock.failures = (errno.ECONNABORTED, errno.EAGAIN, errno.EPROTO)
        host = Host(sock)
        host.listener.resume()
        await host.connection()
        assert host.problems == []
        host.listener.stop()

    run(main)


def test_two_listeners_share_one_socket() -> None:
    async def main() -> None:
        sock = listening()
        hosts = [Host(sock), Host(sock.dup())]
        for host in hosts:
            host.listener.resume()
        for _ in range(20):
            with socket.create_connection(sock.getsockname()):
                done, rest = await asyncio.wait(
                    [asyncio.ensure_future(host.accepted.get()) for host in hosts],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                assert len(done) == 1
                done.pop().result()[0].close()
                for waiting in rest:
                    waiting.cancel()
        for host in hosts:
            host.listener.stop()

    run(main)


@pytest.mark.parametrize(
    ("raw", "host"),
    [
        (("192.0.2.1", 25), "192.0.2.1"),
        (("::ffff:192.0.2.1", 25, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 25, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 25, 0, 2), "fe80::1"),
    ],
)
def test_addresses_in_the_form_of_the_log(raw: tuple[str, int], host: str) -> None:
    assert socket_address(raw) == SocketAddress(host, 25)
