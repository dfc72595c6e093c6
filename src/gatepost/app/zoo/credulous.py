"""The other resolver of the zoo: it says of every answer that it was validated, and validates nothing (D10).

What it is asked it asks the validating one, without checking (CD), and sets AD in whatever comes: broken signatures and all. It lives on
loopback, so that nothing but the probe of a gateway can tell it from a good one.
"""

from __future__ import annotations

import asyncio
import struct
from asyncio import DatagramTransport, StreamReader, StreamWriter
from contextlib import suppress
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from gatepost.net.dns_client import NameServer, NoAnswer, ask_server

MAX_AT_ONCE = 200
_SECONDS = 20.0  # the good one may wait for a name server that is silent
_PROMPT = 5.0
_MAX_UDP = 1232
_LENGTH = struct.Struct("!H")


class Credulous:
    """The server on `address`, which asks `behind`. From `start` to `close`."""

    def __init__(self, address: str, behind: NameServer, port: int = 53) -> None:
        self._address = address
        self._port = port
        self._behind = behind
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._udp: DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self, group: asyncio.TaskGroup) -> int:
        """Listen; the port. Answers are made in `group`."""
        self._group = group
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._connection, self._address, self._port)
        port: int = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), local_addr=(self._address, port)
        )
        return port

    async def close(self) -> None:
        """End it, with whatever is under way."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, wire: bytes) -> dns.message.Message:
        """The answer to one question. Raises DNSException for what is none."""
        asked = dns.message.from_wire(wire)
        query = dns.message.from_wire(wire)
        query.flags |= dns.flags.CD
        try:
            async with self._places:
                said = (await ask_server(self._behind, query, _SECONDS)).message
        except NoAnswer:
            said = dns.message.make_response(asked)
            said.set_rcode(dns.rcode.SERVFAIL)
            return said
        said.id = asked.id
        said.flags = (said.flags | dns.flags.AD) & ~dns.flags.CD | asked.flags & dns.flags.CD
        return said

    def datagram(self, data: bytes, peer: Any) -> None:
        """A question over UDP."""
        assert self._group is not None
        task = self._group.create_task(self._answer_datagram(data, peer), name="a question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_datagram(self, data: bytes, peer: Any) -> None:
        with suppress(dns.exception.DNSException):
            said = await self.answer(data)
            octets = said.to_wire(max_size=65_535)
            if len(octets) > _MAX_UDP:
                said.answer, said.authority, said.additional = [], [], []
                said.flags |= dns.flags.TC
                octets = said.to_wire()
            if self._udp is not None:
                self._udp.sendto(octets, peer)

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One question on a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.timeout(_PROMPT):
                (length,) = _LENGTH.unpack(await reader.readexactly(2))
                data = await reader.readexactly(length)
            octets = (await self.answer(data)).to_wire(max_size=65_535)
            writer.write(_LENGTH.pack(len(octets)) + octets)
            await writer.drain()
        except (OSError, EOFError, TimeoutError, dns.exception.DNSException):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Credulous) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.datagram(data, addr)
