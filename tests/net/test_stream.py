from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct

import pytest
from tests.net.kit import (
    client_context,
    connected,
    pair,
    plain_client,
    plain_server,
    raw_pair,
    reactor,
    read_exactly,
    read_to_end,
    run,
    server_context,
    until,
)

from gatepost.net.errors import StreamLost, StreamTimeout, TlsFailure
from gatepost.net.stream import NO_CLOSE_NOTIFY, UNREAD_LIMIT, UNSENT_HIGH, Stream

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def write_for_ever(stream: Stream) -> None:
    """Ends with the first write that meets the reset which an earlier one caused."""
    while True:
        stream.write(b"x")
        await stream.drain()
        await asyncio.sleep(0)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def read_or_end(stream: Stream) -> bytes | StreamLost:
    try:
        return await stream.read()
    except StreamLost as lost:
        return lost


@BOTH
def test_both_directions_are_exact_for_random_splits(tls: bool) -> None:
    there_and_back = noise(700_000), noise(500_000, 2)

    async def write_all(stream: Stream, data: bytes, seed: int) -> None:
        sizes = random.Random(seed)
        position = 0
        while position < len(data):
            size = sizes.choice((1, 7, 100, 4096, 16384, 16385, 40_000, 200_000))
            stream.write(data[position : position + size])
            position += size
            await stream.drain()

    async def main() -> None:
        async with pair(tls=tls) as ends:
            results = await asyncio.gather(
                read_exactly(ends.server, len(there_and_back[0])),
                read_exactly(ends.client, len(there_and_back[1])),
                write_all(ends.client, there_and_back[0], 3),
                write_all(ends.server, there_and_back[1], 4),
            )
            assert (results[0], results[1]) == there_and_back

    run(main)


def test_records_in_any_pieces_give_the_same_plaintext() -> None:
    """The peer's records arrive cut at random places, also inside their headers."""
    data = noise(120_000)

    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            loop = asyncio.get_running_loop()
            stream = Stream(made, there)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            peer = plain_client().wrap_bio(incoming, outgoing)
            sizes = random.Random(5)

            async def deliver() -> None:
                octets = outgoing.read()
                while octets:
                    cut = sizes.choice((1, 2, 3, 4, 5, 6, 30, 1000, 5000, 17_000))
                    await loop.sock_sendall(here, octets[:cut])
                    octets = octets[cut:]
                    await asyncio.sleep(0)

            async def shake() -> None:
                while True:
                    try:
                        peer.do_handshake()
                        return
                    except ssl.SSLWantReadError:
                        await deliver()
                        incoming.write(await loop.sock_recv(here, 65536))

            async def talk() -> None:
                await shake()
                position = 0
                while position < len(data):
                    size = sizes.choice((1, 50, 4096, 16384, 30_000))
                    peer.write(data[position : position + size])
                    position += size
                    if sizes.random() < 0.5:
                        await deliver()
                await deliver()

            talking = asyncio.ensure_future(talk())
            await stream.start_tls(server_context())
            assert await read_exactly(stream, len(data)) == data
            await talking
            stream.abort()
            here.close()

    run(main)


@BOTH
def test_clean_end_is_empty_again_and_again(tls: bool) -> None:
    async def main() -> None:
        async with pair(tls=tls) as ends:
            ends.client.write(b"QUIT\r\n")
            closing = asyncio.ensure_future(ends.client.close())
            assert await read_to_end(ends.server) == b"QUIT\r\n"
            assert await ends.server.read() == b""
            await ends.server.close()
            await closing

    run(main)


def test_fin_without_close_notify_is_a_loss_after_the_data() -> None:
    async def main() -> None:
        async with pair(tls=True) as ends:
            ends.client.write(b"half a message")
            ends.client.abort()
            assert await ends.server.read() == b"half a message"
            with pytest.raises(StreamLost) as caught:
                await ends.server.read()
            assert caught.value.text == NO_CLOSE_NOTIFY

    run(main)


def test_reset_is_a_loss_with_the_system_text() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            waiting = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            reset(peer)
            with pytest.raises(StreamLost) as caught:
                await waiting
            assert caught.value.text == "[Errno 104] Connection reset by peer"

    run(main)


def test_what_came_before_a_reset_is_read_and_then_the_reset_is_seen() -> None:
    """The loop tells of both at once and then no more: a session that waited for more would keep its place (C27)."""

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            waiting = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            peer.sendall(b"QUIT\r\n")
            reset(peer)
            assert await waiting == b"QUIT\r\n"
            with pytest.raises(StreamLost) as caught:
                await stream.read()
            assert caught.value.text == "[Errno 104] Connection reset by peer"

    run(main)


def test_a_reset_behind_more_than_one_read_takes_is_seen_after_all_of_it() -> None:
    """From there on the stream asks by itself, and still stops while nobody reads."""
    sent = noise(4 * UNREAD_LIMIT)

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            peer.send(sent)  # what fits
            reset(peer)
            got = bytearray()
            while not isinstance(piece := await read_or_end(stream), StreamLost):
                assert len(piece) <= UNREAD_LIMIT
                got += piece
                await asyncio.sleep(0)
            assert len(got) > UNREAD_LIMIT
            assert sent.startswith(got)

    run(main)


def test_a_reset_that_a_write_meets_first_is_seen_by_the_next_read() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            waiting = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            peer.sendall(b"NOOP\r\n")
            reset(peer)
            stream.write(b"421 closing\r\n")
            assert await waiting == b"NOOP\r\n"
            with pytest.raises(StreamLost):
                await stream.read()

    run(main)


def test_a_reset_behind_the_last_record_ends_a_tls_session() -> None:
    async def main() -> None:
        async with pair(tls=True) as ends:
            waiting = asyncio.ensure_future(ends.server.read())
            await asyncio.sleep(0)
            ends.client.write(b"half a message")
            reset(ends.client._sock)
            assert await waiting == b"half a message"
            with pytest.raises(StreamLost):
                await ends.server.read()

    run(main)


def test_a_reset_behind_the_command_that_asks_for_tls_ends_the_handshake() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            waiting = asyncio.ensure_future(stream.read())
            await asyncio.sleep(0)
            peer.sendall(b"STARTTLS\r\n")
            reset(peer)
            assert await waiting == b"STARTTLS\r\n"
            stream.write(b"220 go on\r\n")
            with pytest.raises(TlsFailure):
                await stream.start_tls(server_context())

    run(main)


def test_a_failed_write_shows_in_drain_and_the_last_reply_is_still_read() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            await asyncio.get_running_loop().sock_sendall(peer, b"421 closing\r\n")
            peer.close()
            with pytest.raises(StreamLost):
                await write_for_ever(stream)
            stream.write(b"ignored")
            assert await stream.read() == b"421 closing\r\n"

    run(main)


@BOTH
def test_a_slow_reader_stops_the_writer_and_lets_it_go_on(tls: bool) -> None:
    data = noise(2_000_000)

    async def main() -> None:
        async with pair(tls=tls, buffer=8192) as ends:
            sent = 0
            stopped: asyncio.Task[None] | None = None
            while stopped is None:
                ends.client.write(data[sent : sent + 50_000])
                sent += 50_000
                draining = asyncio.ensure_future(ends.client.drain())
                done, _ = await asyncio.wait([draining], timeout=0.05)
                if not done:
                    stopped = draining
            # What can be on the way: our buffer, its one write, theirs, and the kernel's.
            assert sent <= UNSENT_HIGH + UNREAD_LIMIT + 50_000 + 400_000
            got = await read_exactly(ends.server, sent)
            await stopped
            assert got == data[:sent]

    run(main)


def test_one_read_hands_out_at_most_the_limit() -> None:
    data = noise(500_000)

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(peer, data))
            parts = []
            while sum(map(len, parts)) < len(data):
                await asyncio.sleep(0.002)
                parts.append(await stream.read())
                assert len(parts[-1]) <= UNREAD_LIMIT
            await sending
            assert b"".join(parts) == data

    run(main)


@BOTH
def test_a_cancelled_read_loses_nothing(tls: bool) -> None:
    async def main() -> None:
        async with pair(tls=tls) as ends:
            for number in range(20):
                reading = asyncio.ensure_future(ends.server.read())
                await asyncio.sleep(0)
                ends.client.write(b"%02d" % number)
                if number % 2:
                    await asyncio.sleep(0.001)  # sometimes it is awake already when it is cancelled
                reading.cancel()
                try:
                    got = await reading
                except asyncio.CancelledError:
                    got = await read_exactly(ends.server, 2)
                assert got == b"%02d" % number

    run(main)


@BOTH
def test_a_cancelled_drain_leaves_the_stream_whole(tls: bool) -> None:
    data = noise(600_000)

    async def main() -> None:
        async with pair(tls=tls, buffer=8192) as ends:
            ends.client.write(data)
            draining = asyncio.ensure_future(ends.client.drain())
            await asyncio.sleep(0.01)
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining
            ends.client.write(b"the end")
            got = await read_exactly(ends.server, len(data) + 7)
            assert got == data + b"the end"
            await ends.client.drain()

    run(main)


def test_the_deadline_ends_a_read_and_a_drain_and_can_be_lifted() -> None:
    async def main() -> None:
        async with pair(buffer=8192) as ends:
            ends.server.set_deadline(0.01)
            with pytest.raises(StreamTimeout) as caught:
                await ends.server.read()
            assert caught.value.text == "timeout"
            ends.server.set_deadline(None)
            ends.client.write(b"late")
            assert await ends.server.read() == b"late"
            ends.client.set_deadline(0.01)
            ends.client.write(bytes(3_000_000))
            with pytest.raises(StreamTimeout):
                await ends.client.drain()

    run(main)


def test_close_sends_what_is_unsent_first() -> None:
    data = noise(300_000)

    async def main() -> None:
        async with pair(tls=True, buffer=8192) as ends:
            ends.client.write(data)
            closing = asyncio.ensure_future(ends.client.close())
            assert await read_to_end(ends.server) == data
            await ends.server.close()
            await closing

    run(main)


@pytest.mark.slow
def test_close_waits_a_second_for_the_close_notify_of_a_silent_peer() -> None:
    async def main() -> None:
        async with pair(tls=True) as ends:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await ends.client.close()
            assert 0.9 <= loop.time() - begun <= 1.9
            assert ends.client.closed

    run(main)


def test_a_refusal_reaches_a_peer_that_goes_on_talking() -> None:
    """Closing with unread input makes the kernel send a reset, which may eat the reply."""

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"x" * 5000)
            stream.write(b"421 too many errors\r\n")
            closing = asyncio.ensure_future(stream.close())
            assert await loop.sock_recv(peer, 100) == b"421 too many errors\r\n"
            assert await loop.sock_recv(peer, 100) == b""
            peer.close()
            await closing

    run(main)


@pytest.mark.parametrize("manner", ["end", "reset", "words and reset", "words and end"])
def test_a_peer_that_goes_while_nobody_reads_is_seen(manner: str) -> None:
    """It is not gone while what it said waits for an answer; and what it said is not lost by waiting."""

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            waiting = asyncio.ensure_future(stream.wait_until(lambda: stream.gone))
            await asyncio.sleep(0)
            assert not stream.gone
            if "words" in manner:
                peer.sendall(b"EHLO x\r\n")
                await until(lambda: stream.unread)
                assert not stream.gone
            if "reset" in manner:
                reset(peer)
            else:
                peer.shutdown(socket.SHUT_WR)
            if manner != "words and end":
                await waiting
                assert stream.gone
                return
            await until(lambda: stream._end is True)
            assert not stream.gone
            waiting.cancel()
            await asyncio.sleep(0)
            assert await stream.read() == b"EHLO x\r\n"
            assert stream.gone

    run(main)


def test_abort_wakes_the_reader() -> None:
    async def main() -> None:
        async with pair() as ends:
            reading = asyncio.ensure_future(ends.server.read())
            await asyncio.sleep(0)
            ends.server.abort()
            with pytest.raises(StreamLost):
                await reading
            with pytest.raises(StreamLost):
                await ends.server.drain()
            assert len(ends.reactor.sweeper) == 1

    run(main)


def test_octets_behind_starttls_never_become_commands() -> None:
    """C1: a command smuggled in clear behind STARTTLS breaks the handshake; it is never handed out."""

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, b"STARTTLS\r\n")
            assert await stream.read() == b"STARTTLS\r\n"
            await loop.sock_sendall(peer, b"MAIL FROM:<evil@example.org>\r\n")
            await until(lambda: stream.unread)
            with pytest.raises(TlsFailure):
                await stream.start_tls(server_context())
            with pytest.raises(TlsFailure):
                await stream.read()
            assert not stream.unread

    run(main)


def test_an_early_client_hello_is_part_of_the_handshake() -> None:
    """C4: whether the hello was read before the handshake began makes no difference."""

    async def main() -> None:
        async with pair() as ends:
            hello = asyncio.ensure_future(ends.client.start_tls(client_context()))
            await until(lambda: ends.server.unread)
            await ends.server.start_tls(server_context())
            await hello
            ends.client.write(b"EHLO a\r\n")
            assert await ends.server.read() == b"EHLO a\r\n"

    run(main)


def test_a_forged_record_breaks_the_session() -> None:
    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            stream = Stream(made, there)
            spare = here.dup()
            _, writer = await asyncio.open_connection(sock=here)
            serving = asyncio.ensure_future(stream.start_tls(server_context()))
            await writer.start_tls(plain_client())
            await serving
            spare.send(b"\x17\x03\x03\x00\x20" + bytes(32))
            spare.close()
            with pytest.raises(TlsFailure) as caught:
                await stream.read()
            assert "bad record mac" in caught.value.text
            with pytest.raises(TlsFailure):
                await stream.drain()
            stream.abort()
            writer.close()

    run(main)


@pytest.mark.parametrize("octets", [b"MAIL FROM:<a@b>\r\n", b"\x17\x03", b"\x17\x03\x03\xff\xff"])
def test_clear_text_inside_a_session_is_never_handed_out(octets: bytes) -> None:
    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            stream = Stream(made, there)
            spare = here.dup()
            _, writer = await asyncio.open_connection(sock=here)
            serving = asyncio.ensure_future(stream.start_tls(server_context()))
            await writer.start_tls(plain_client())
            await serving
            spare.send(octets)
            spare.shutdown(socket.SHUT_WR)
            spare.close()
            with pytest.raises((TlsFailure, StreamLost)):
                await stream.read()
            stream.abort()
            writer.close()

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_standard_librarys_server_understands_our_client(version: ssl.TLSVersion) -> None:
    data = noise(200_000)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(10_000):
            writer.write(octets)
            await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=plain_server(maximum_version=version))
        async with reactor() as made:
            sock = socket.create_connection(server.sockets[0].getsockname())
            sock.setblocking(False)
            stream = Stream(made, sock)
            session = await stream.start_tls(client_context(), sni="mx.example")
            assert session.protocol == version.name.replace("v1_", "v1.")
            stream.write(data)
            assert await read_exactly(stream, len(data)) == data
            await stream.close()
        server.close()

    run(main)
