from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from OpenSSL import SSL
from tests.net.kit import (
    client_context,
    connected,
    issued,
    pair,
    plain_client,
    plain_server,
    raw_pair,
    reactor,
    run,
    server_context,
)
from tests.net.test_stream import reset

from gatepost.net import stream as stream_module
from gatepost.net.errors import TlsFailure
from gatepost.net.stream import Stream
from gatepost.net.tls import TlsParameters
from gatepost.net.tls_stream import HANDSHAKE_LIMIT, failure_of


async def refused(stream: Stream, **keywords: object) -> TlsFailure:
    with pytest.raises(TlsFailure) as caught:
        await stream.start_tls(server_context(**keywords))
    return caught.value


def test_no_shared_cipher_in_the_classic_form() -> None:
    async def main() -> None:
        async with pair() as ends:
            client = client_context(
                parameters=TlsParameters(minimum="TLSv1.2", ciphers="ECDHE-RSA-AES256-GCM-SHA384:-TLS_")
            )
            limited = server_context(parameters=TlsParameters(ciphers="ECDHE-RSA-AES128-GCM-SHA256"))
            # An ECDSA certificate, TLS 1.2 at most, and RSA ciphers only: nothing fits.
            outcome = await asyncio.gather(
                ends.server.start_tls(limited),
                _tls12_only(ends.client, client),
                return_exceptions=True,
            )
            failure = outcome[0]
            assert isinstance(failure, TlsFailure)
            assert failure.text == "(167772353, 'error:0A0000C1:SSL routines::no shared cipher')"
            assert failure.code == 0x0A0000C1
            # The alert reached the client before the connection ended.
            assert isinstance(outcome[1], TlsFailure)
            assert "alert handshake failure" in outcome[1].text

    run(main)


async def _tls12_only(stream: Stream, context: object) -> None:
    connection_of = context.connection  # type: ignore[attr-defined]

    class Limited(type(context)):  # type: ignore[misc]
        __slots__ = ()

        def connection(self, sni: str = "") -> SSL.Connection:
            connection = connection_of(sni)
            connection.set_options(SSL.OP_NO_TLSv1_3)
            return connection  # type: ignore[no-any-return]

    await stream.start_tls(Limited(context._context, offers_certificate=False))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n", "SSL routines"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "http request"),
        (b"\x80\x2e\x01\x00\x02" + bytes(43), "SSL routines"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "SSL routines"),
    ],
    ids=["smtp", "http", "sslv2", "short-hello"],
)
def test_what_is_not_tls_fails_with_the_librarys_text(octets: bytes, text: str) -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            await asyncio.get_running_loop().sock_sendall(peer, octets)
            failure = await refused(stream)
            assert text in failure.text
            assert (
                failure.text == f"({failure.code}, 'error:{failure.code:08X}:{failure.text.split(':', 2)[2]}"
            )
            assert failure.code >> 23 == 20

    run(main)


def test_end_of_file_in_the_handshake() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            peer.send(b"\x16\x03\x01")
            peer.close()
            assert (await refused(stream)).text == "(-1, 'Unexpected EOF')"

    run(main)


def test_reset_in_the_handshake() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            shaking = asyncio.ensure_future(refused(stream))
            await asyncio.sleep(0)
            reset(peer)
            assert (await shaking).text == "[Errno 104] Connection reset by peer"

    run(main)


def test_a_silent_client_times_out_and_the_old_deadline_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "HANDSHAKE_SECONDS", 0.02)

    async def main() -> None:
        async with raw_pair() as (stream, _):
            stream.set_deadline(1000)
            before = stream.deadline
            failure = await refused(stream)
            assert (failure.text, failure.code) == ("timeout", 0)
            assert stream.deadline == before

    run(main)


def test_a_handshake_without_end_is_cut() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            # A ClientHello said to be 16 MiB long, in records as large as they may be.
            hello = b"\x01\xff\xff\xff" + bytes(HANDSHAKE_LIMIT * 2)
            records = b"".join(
                b"\x16\x03\x01\x40\x00" + hello[i : i + 16384] for i in range(0, len(hello) - 16384, 16384)
            )
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(peer, records))
            failure = await refused(stream)
            assert failure.text
            sending.cancel()

    run(main)


def test_change_cipher_spec_without_end_is_cut() -> None:
    """Records that the library skips count as well: the limit is of octets, not of messages."""

    async def main() -> None:
        async with raw_pair() as (stream, peer):
            flood = b"\x14\x03\x03\x00\x01\x01" * 20_000
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(peer, flood))
            assert (await refused(stream)).text
            sending.cancel()

    run(main)


def test_a_client_of_tls_1_0_is_refused_and_told_why() -> None:
    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            stream = Stream(made, there)
            shaking = asyncio.ensure_future(refused(stream))
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                old = plain_client(
                    minimum_version=ssl.TLSVersion.TLSv1,
                    maximum_version=ssl.TLSVersion.TLSv1,
                    ciphers="DEFAULT:@SECLEVEL=0",
                )
            with pytest.raises(ssl.SSLError) as caught:
                await asyncio.open_connection(sock=here, ssl=old, server_hostname="mx.example")
            assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
            assert "unsupported protocol" in (await shaking).text
            stream.abort()

    run(main)


def test_tls_1_0_works_where_the_administrator_allows_it() -> None:
    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            stream = Stream(made, there)
            context = server_context(parameters=TlsParameters(minimum="TLSv1.0"))
            shaking = asyncio.ensure_future(stream.start_tls(context))
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                old = plain_client(
                    minimum_version=ssl.TLSVersion.TLSv1,
                    maximum_version=ssl.TLSVersion.TLSv1,
                    ciphers="DEFAULT:@SECLEVEL=0",
                )
            _, writer = await asyncio.open_connection(sock=here, ssl=old, server_hostname="mx.example")
            assert (await shaking).protocol == "TLSv1"
            stream.abort()
            writer.close()

    run(main)


@asynccontextmanager
async def offering(protocols: list[str]) -> AsyncIterator[tuple[asyncio.Task[object], Awaitable[Any]]]:
    """Our server end, and a client that offers `protocols`: both handshakes, begun."""
    async with reactor() as made:
        here, there = await connected()
        stream = Stream(made, there)
        client = plain_client(alpn=protocols) if protocols else plain_client()
        yield (
            asyncio.ensure_future(stream.start_tls(server_context())),
            asyncio.open_connection(sock=here, ssl=client, server_hostname="a.example"),
        )
        stream.abort()


@pytest.mark.parametrize(
    ("offered", "selected"), [([], None), (["smtp"], "smtp"), (["h2", "smtp"], "smtp"), (["esmtp"], "esmtp")]
)
def test_alpn_is_smtp_or_nothing(offered: list[str], selected: str | None) -> None:
    async def main() -> None:
        async with offering(offered) as (serving, connecting):
            _, writer = await connecting
            await serving
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == selected
            writer.close()

    run(main)


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2"], ["imap", "pop3"]])
def test_a_client_of_another_protocol_is_refused(offered: list[str]) -> None:
    """C44: a browser that was led to the mail port gets no session to inject into."""

    async def main() -> None:
        async with offering(offered) as (serving, connecting):
            with pytest.raises(ssl.SSLError, match="no application protocol"):
                await connecting
            with pytest.raises(TlsFailure, match="ALPN"):
                await serving

    run(main)


def test_at_most_so_many_handshakes_at_once_and_waiting_counts() -> None:
    async def main() -> None:
        async with reactor(max_handshakes_in=1) as made:
            first = [Stream(made, end) for end in await connected()]
            second = [Stream(made, end) for end in await connected()]
            slow = asyncio.ensure_future(first[0].start_tls(server_context()))
            await asyncio.sleep(0)
            second[0].set_deadline(0.02)
            with pytest.raises(TlsFailure) as caught:
                await second[0].start_tls(server_context())
            assert caught.value.text == "timeout"
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            assert made.handshakes_in.taken == 0
            for stream in first + second:
                stream.abort()

    run(main)


@pytest.mark.parametrize("manner", ["end", "reset", "hello and end"])
def test_a_peer_that_goes_while_it_waits_for_its_turn_ends_at_once(manner: str) -> None:
    """C27: it would keep its session and descriptor until the handshake's time is over, and then have its turn for nothing."""

    async def main() -> None:
        async with reactor(max_handshakes_in=1) as made:
            holder = _Holder()
            assert made.handshakes_in.take_now(holder)
            here, there = await connected()
            stream = Stream(made, there)
            waiting = asyncio.ensure_future(stream.start_tls(server_context()))
            await asyncio.sleep(0)
            if "hello" in manner:
                here.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
            if manner == "reset":
                reset(here)
            here.close()
            async with asyncio.timeout(1.0):
                with pytest.raises(TlsFailure):
                    await waiting
            assert made.handshakes_in.taken == 1
            made.handshakes_in.leave(holder)
            assert made.handshakes_in.taken == 0
            stream.abort()

    run(main)


class _Holder:
    def expire(self) -> None:
        return


def test_a_server_that_is_none_fails_our_client() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            peer.send(b"500 what?\r\n")
            with pytest.raises(TlsFailure) as caught:
                await stream.start_tls(client_context())
            assert "SSL routines" in caught.value.text

    run(main)


def test_a_server_that_insists_on_another_certificate_is_seen_to_have_asked() -> None:
    """TLS 1.3: our side is established before the server says no; the failure comes with the first read."""

    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            here.setblocking(True)

            def serve() -> None:
                with pytest.raises(ssl.SSLCertVerificationError):
                    plain_server(verify_mode=ssl.CERT_REQUIRED).wrap_socket(here, server_side=True)

            serving = asyncio.get_running_loop().run_in_executor(None, serve)
            stream = Stream(made, there)
            session = await stream.start_tls(client_context(identities=[issued("gw.example").identity]))
            assert session.certificate_requested
            with pytest.raises(TlsFailure) as caught:
                await stream.read()
            assert "unknown ca" in caught.value.text
            await serving
            stream.abort()
            here.close()

    run(main)


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_hangs_up_at_our_certificate_is_seen_to_have_asked(reset: bool) -> None:
    """TLS 1.2, without an alert: some hosts just close, and a close with unread octets is a reset."""

    async def main() -> None:
        async with reactor() as made:
            here, there = await connected()
            here.setblocking(True)

            def serve() -> None:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                server = plain_server(verify_mode=ssl.CERT_REQUIRED, maximum_version=ssl.TLSVersion.TLSv1_2)
                session = server.wrap_bio(incoming, outgoing, server_side=True)
                incoming.write(here.recv(65_536))
                with pytest.raises(ssl.SSLWantReadError):
                    session.do_handshake()
                here.sendall(outgoing.read())
                here.recv(1 if reset else 65_536)  # our certificate has begun to come
                here.close()

            serving = asyncio.get_running_loop().run_in_executor(None, serve)
            stream = Stream(made, there)
            with pytest.raises(TlsFailure) as caught:
                await stream.start_tls(client_context(identities=[issued("gw.example").identity]))
            assert caught.value.certificate_requested
            await serving
            stream.abort()

    run(main)


def test_errors_of_the_library_without_a_queue_have_a_text_too() -> None:
    assert failure_of(SSL.SysCallError(-1, "Unexpected EOF")).text == "(-1, 'Unexpected EOF')"
    assert failure_of(SSL.SysCallError(104, "ECONNRESET")).text == "[Errno 104] Connection reset by peer"
    assert failure_of(SSL.Error([])).text == "TLS protocol error"
    both = [("Provider routines", "", "x"), ("SSL routines", "", "bad record type")]
    assert failure_of(SSL.Error(both)).text.endswith("SSL routines::bad record type')")
