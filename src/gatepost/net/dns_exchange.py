"""One question to one name server, over UDP and, when the answer is cut, over TCP.

How it works. dnspython makes and reads the messages; the octets are moved here, since a record that cannot be read must not take
the others of its answer with it: a TLSA record of odd length is unusable, not a reason to believe that there is none (D9). Records
that could not be read are counted in `Exchanged.damaged`.

What it trusts. The socket is connected, so only the asked address is heard; an answer to another id or question is ignored.

Limits. The caller's seconds for all of it; 64 KiB an answer.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message

from gatepost.net.errors import plain_error_text

_MAX_STRANGERS = 100  # datagrams that answer something else, before we give up


class ExchangeFailed(Exception):
    """No answer that can be read; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An answer, without those of its records that could not be read, and how many these were."""

    message: dns.message.Message
    damaged: int


async def exchange(address: str, port: int, query: dns.message.Message, seconds: float) -> Exchanged:
    """Ask. Raises ExchangeFailed."""
    wire = query.to_wire()
    try:
        async with asyncio.timeout(seconds):
            answer = await _by_udp(address, port, query, wire)
            if answer.message.flags & dns.flags.TC:
                answer = await _by_tcp(address, port, query, wire)
            return answer
    except TimeoutError:
        raise ExchangeFailed("timeout") from None
    except asyncio.IncompleteReadError:
        raise ExchangeFailed("the answer was cut off") from None
    except OSError as error:
        raise ExchangeFailed(plain_error_text(error)) from None


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue(_MAX_STRANGERS)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.arrived.full():
            self.arrived.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and not self.arrived.full():
            self.arrived.put_nowait(exc)


async def _by_udp(address: str, port: int, query: dns.message.Message, wire: bytes) -> Exchanged:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=(address, port))
    try:
        transport.sendto(wire)
        for _ in range(_MAX_STRANGERS):
            data = await protocol.arrived.get()
            if isinstance(data, OSError):
                raise data
            answer = _read(data, query)
            if answer is not None:
                return answer
    finally:
        transport.close()
    raise ExchangeFailed("nothing but answers to other questions")


async def _by_tcp(address: str, port: int, query: dns.message.Message, wire: bytes) -> Exchanged:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = _read(await reader.readexactly(size), query)
    finally:
        writer.close()
    if answer is None:
        raise ExchangeFailed("an answer to another question")
    return answer


def _read(data: bytes, query: dns.message.Message) -> Exchanged | None:
    """The answer to this question, or None for what is none."""
    try:
        message = dns.message.from_wire(data, continue_on_error=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if not query.is_response(message):
        return None
    return Exchanged(message, len(message.errors))
