"""Connecting to a host: one address, one port, one attempt.

The order of addresses, and which may be tried at all, is decided elsewhere (`policy.mx`); here is no name and no
choice. `DialFailed.text` is what the log shows: `[Errno 111] Connection refused`, or `timeout`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import suppress

from gatepost.core.address import IPAddress
from gatepost.net.errors import TIMEOUT_TEXT, DialFailed, system_error_text
from gatepost.net.reactor import Reactor
from gatepost.net.socket_address import SocketAddress, socket_address
from gatepost.net.stream import Stream

# Linux; the socket module of Python 3.11 has no name for it. Without it a bind to an address takes a port at
# once, and 28,000 ports are all there are for all destinations together.
_IP_BIND_ADDRESS_NO_PORT = 24


async def dial(
    reactor: Reactor,
    address: IPAddress,
    port: int,
    *,
    source: IPAddress | None = None,
    timeout: float = 30.0,
) -> Stream:
    """A connection to `address`, from `source` where one is given. Raises DialFailed.

    `timeout` is in seconds and exact. Cancelled, it leaves nothing open.
    """
    return await connect(reactor, _new_socket(address), address, port, source=source, timeout=timeout)


def bound_socket(address: IPAddress) -> socket.socket:
    """A socket for `connect` that has its port already, since somebody is to be told of it. Raises DialFailed."""
    sock = _new_socket(address)
    try:
        sock.bind((str(address), 0))
    except OSError as error:
        sock.close()
        raise DialFailed(system_error_text(error)) from None
    return sock


async def connect(
    reactor: Reactor,
    sock: socket.socket,
    address: IPAddress,
    port: int,
    *,
    source: IPAddress | None = None,
    timeout: float = 30.0,
) -> Stream:
    """The same as `dial` with a socket, which the stream owns from now on. Raises DialFailed."""
    try:
        async with asyncio.timeout(timeout):
            await _connect(reactor.loop, sock, (str(address), port), source)
        # The peer is passed: after an immediate reset it could not be asked for any more.
        return Stream(reactor, sock, SocketAddress(str(address), port))
    except TimeoutError:
        sock.close()
        raise DialFailed(TIMEOUT_TEXT) from None
    except OSError as error:
        sock.close()
        raise DialFailed(system_error_text(error)) from None
    except asyncio.CancelledError:
        sock.close()
        raise


def source_towards(address: IPAddress, port: int) -> str:
    """The address that the kernel would call from; the unspecified one where it knows no way there.

    Nothing is sent: a datagram socket only asks the routing table.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), port))
            return socket_address(asking.getsockname()).host
    except OSError:
        return "0.0.0.0" if address.version == 4 else "::"


def _new_socket(address: IPAddress) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise DialFailed(system_error_text(error)) from None


async def _connect(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, target: tuple[str, int], source: IPAddress | None
) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source is not None:
        if source.version == 4:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((str(source), 0))
    result = sock.connect_ex(target)
    if result == errno.EINPROGRESS:
        connected = loop.create_future()
        loop.add_writer(sock.fileno(), _settle, connected)
        try:
            await connected
        finally:
            loop.remove_writer(sock.fileno())
        result = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if result:
        raise OSError(result, "connect")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
