from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from OpenSSL import SSL
from tests.net.kit import (
    client_context,
    connected,
    issued,
    load_identity,
    pair,
    plain_client,
    reactor,
    read_exactly,
    run,
    server_context,
)

from gatepost.net import openssl_private
from gatepost.net.errors import ContextError, StreamLost, TlsFailure
from gatepost.net.listener import Listener
from gatepost.net.stream import Stream
from gatepost.net.tls import (
    ClientContext,
    Identity,
    ServerContext,
    TlsParameters,
    TlsSession,
    check_parameters,
)


async def served(
    context: ServerContext, client: ssl.SSLContext, name: str = "mx.example", session: object = None
) -> tuple[TlsSession, ssl.SSLSocket]:
    """One handshake of a standard-library client; its blocking socket is returned open."""
    async with reactor() as made:
        here, there = await connected()
        here.setblocking(True)
        stream = Stream(made, there)

        def shake() -> ssl.SSLSocket:
            sock = client.wrap_socket(here, server_hostname=name or None, session=session)  # type: ignore[arg-type]
            sock.sendall(b"EHLO a\r\n")
            sock.recv(10)  # a reply, and with it the tickets of TLS 1.3
            return sock

        shaking = asyncio.get_running_loop().run_in_executor(None, shake)
        established = await stream.start_tls(context)
        assert await stream.read() == b"EHLO a\r\n"
        stream.write(b"250 b\r\n")
        sock = await shaking
        stream.abort()
        return established, sock


def leaf_of(sock: ssl.SSLSocket) -> bytes:
    der = sock.getpeercert(binary_form=True)
    sock.close()
    assert der is not None
    return der


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_second_handshake_with_the_first_ones_session_is_a_full_one(version: ssl.TLSVersion) -> None:
    async def main() -> None:
        context = server_context(request_certificate=True)
        client = plain_client(maximum_version=version)
        load_identity(client, issued("client.example").identity)
        first, sock = await served(context, client)
        session = sock.session
        sock.close()
        second, again = await served(context, client, session=session)
        assert not again.session_reused
        # On a resumed session there would be no chain, since the peer did not send one.
        assert first.peer_chain == second.peer_chain == issued("client.example").ders
        again.close()

    run(main)


def test_our_own_client_is_never_resumed_either() -> None:
    async def main() -> None:
        context, client = server_context(), client_context()
        for _ in range(2):
            async with pair() as ends:
                await ends.tls(client, context)
                assert ends.client._pump is not None
                assert openssl_private.session_reused(ends.client._pump._connection) is False

    run(main)


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_two_key_types_each_with_its_own_chain(maximum: ssl.TLSVersion) -> None:
    rsa, ec = issued("mx.example", "rsa"), issued("mx.example", "ec")

    async def main() -> None:
        for order in ((rsa, ec), (ec, rsa)):
            context = server_context(identities=[one.identity for one in order])
            for wanted, algorithms in ((rsa, "RSA+SHA256:rsa_pss_rsae_sha256"), (ec, "ECDSA+SHA256")):
                async with pair() as ends:
                    client = SSL.Context(SSL.TLS_METHOD)
                    client.set_max_proto_version(int(maximum))
                    assert openssl_private.set_signature_algorithms(client, algorithms)
                    await ends.tls(ClientContext(client, offers_certificate=False), context)
                    assert ends.client.tls is not None
                    assert ends.client.tls.peer_chain == wanted.ders

    run(main)


def test_cipher_choice_of_an_old_client_picks_the_key_type() -> None:
    rsa, ec = issued("mx.example", "rsa"), issued("mx.example", "ec")

    async def main() -> None:
        context = server_context(identities=[rsa.identity, ec.identity])
        for wanted, ciphers in ((rsa, "ECDHE-RSA-AES128-GCM-SHA256"), (ec, "ECDHE-ECDSA-AES128-GCM-SHA256")):
            client = plain_client(maximum_version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
            session, sock = await served(context, client)
            assert (session.protocol, session.cipher) == ("TLSv1.2", ciphers)
            assert leaf_of(sock) == wanted.ders[0]

    run(main)


def test_sni_chooses_the_certificate() -> None:
    async def main() -> None:
        context = server_context(
            by_name={
                "one.example": [issued("one.example").identity],
                "*.wild.example": [issued("*.wild.example").identity],
            }
        )
        for asked, shown in [
            ("one.example", "one.example"),
            ("ONE.example", "one.example"),
            ("mx.wild.example", "*.wild.example"),
            ("deep.mx.wild.example", "mx.example"),
            ("other.example", "mx.example"),
            ("", "mx.example"),
        ]:
            session, sock = await served(context, plain_client(), asked)
            assert leaf_of(sock) == issued(shown).ders[0], asked
            assert session.sni.lower() == asked.lower()

    run(main)


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_strange_name_of_sni_gets_the_first_certificate_and_no_alert(maximum: ssl.TLSVersion) -> None:
    strange = [
        b"192.0.2.1", b"2001:db8::1", b"[2001:db8::1]", b"one.example\\", b"one.example..", b".wild.example",
        b"*.wild.example", b".", b" ", b"a" * 255, b"%s%n", b"a\r\nBcc: x", "bücher.example".encode(), b"\xff\xfe",
    ]  # fmt: skip
    context = server_context(
        by_name={
            "one.example": [issued("one.example").identity],
            "*.wild.example": [issued("*.wild.example").identity],
        }
    )

    async def main() -> None:
        for name in [*strange, b"ONE.EXAMPLE", b"one.example."]:
            async with pair() as ends:
                client = SSL.Context(SSL.TLS_METHOD)
                client.set_max_proto_version(int(maximum))
                await ends.tls(Asking(client, name), context)
                assert ends.client.tls is not None
                shown = "mx.example" if name in strange else "one.example"
                assert ends.client.tls.peer_chain == issued(shown).ders, name

    run(main)


class Asking(ClientContext):
    """A client whose SNI is any octets."""

    def __init__(self, context: SSL.Context, name: bytes) -> None:
        super().__init__(context, offers_certificate=False)
        self.name = name

    def connection(self, sni: str = "") -> SSL.Connection:
        connection = super().connection("")
        connection.set_tlsext_host_name(self.name)
        return connection


def test_alpn_and_resumption_rules_hold_behind_sni_too() -> None:
    async def main() -> None:
        context = server_context(by_name={"one.example": [issued("one.example").identity]})
        client = plain_client(alpn=["smtp"])
        _, sock = await served(context, client, "one.example")
        assert sock.selected_alpn_protocol() == "smtp"
        session = sock.session
        sock.close()
        _, again = await served(context, client, "one.example", session=session)
        assert not again.session_reused
        again.close()

    run(main)


def test_a_client_certificate_is_offered_when_asked_and_recorded_with_its_chain() -> None:
    ours = issued("gw.example")

    async def main() -> None:
        for requested in (True, False):
            async with pair() as ends:
                await ends.tls(
                    client_context(identities=[ours.identity]), server_context(request_certificate=requested)
                )
                assert ends.server.tls is not None
                assert ends.client.tls is not None
                assert ends.server.tls.peer_chain == (ours.ders if requested else ())
                assert ends.client.tls.certificate_requested is requested

    run(main)


def test_a_client_without_a_certificate_is_served_although_one_was_asked_for() -> None:
    async def main() -> None:
        async with pair() as ends:
            await ends.tls(client_context(), server_context(request_certificate=True))
            assert ends.server.tls is not None
            assert ends.server.tls.peer_chain == ()

    run(main)


def test_a_weak_certificate_does_not_end_the_handshake() -> None:
    """The judge decides about it, not the transport (C33: RSA-1024)."""

    async def main() -> None:
        async with pair() as ends:
            weak = issued("weak.example", "rsa1024")
            await ends.tls(client_context(), server_context(identities=[weak.identity]), sni="weak.example")
            assert ends.client.tls is not None
            assert ends.client.tls.peer_chain == weak.ders

    run(main)


def test_what_was_negotiated_is_reported_alike_on_both_sides() -> None:
    async def main() -> None:
        async with pair() as ends:
            await ends.tls(sni="mx.example")
            here, there = ends.client.tls, ends.server.tls
            assert here is not None
            assert there is not None
            assert (here.protocol, here.cipher, here.group, here.sni) == (
                there.protocol,
                there.cipher,
                there.group,
                there.sni,
            )
            assert here.protocol == "TLSv1.3"
            assert here.cipher.startswith("TLS_")
            assert here.group == "X25519MLKEM768"
            assert here.sni == "mx.example"

    run(main)


def test_groups_can_be_set() -> None:
    async def main() -> None:
        async with pair() as ends:
            await ends.tls(server=server_context(parameters=TlsParameters(groups="secp384r1")))
            assert ends.client.tls is not None
            assert ends.client.tls.group == "secp384r1"

    run(main)


@asynccontextmanager
async def s_client(version: str) -> AsyncIterator[tuple[Stream, asyncio.subprocess.Process]]:
    """`openssl s_client` as the peer of a stream of ours, both established."""
    async with reactor() as made:
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        listener = Listener(
            made.loop,
            socket.create_server(("127.0.0.1", 0)),
            lambda sock, peer: arrived.put_nowait(Stream(made, sock, peer)),
            pytest.fail,
        )
        listener.resume()
        tool = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{listener.address.port}", version,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        stream = await arrived.get()
        try:
            await stream.start_tls(server_context())
            yield stream, tool
        finally:
            stream.abort()
            listener.stop()
            if tool.returncode is None:
                tool.kill()
            await tool.wait()


async def type_line(tool: asyncio.subprocess.Process, line: bytes) -> None:
    assert tool.stdin is not None
    tool.stdin.write(line)
    await tool.stdin.drain()


def test_renegotiation_is_refused() -> None:
    """The tool's command `R` asks for one; no second handshake is made (RFC 5746 only secures the first)."""

    async def main() -> str:
        async with s_client("-tls1_2") as (stream, tool):
            await type_line(tool, b"EHLO a\n")
            assert await read_exactly(stream, 7) == b"EHLO a\n"
            await type_line(tool, b"R\n")
            with pytest.raises((StreamLost, TlsFailure)):
                await stream.read()
            stream.abort()
            return (await tool.communicate())[0].decode("utf-8", "replace")

    output = run(main)
    assert "RENEGOTIATING" in output
    assert "no renegotiation" in output
    assert "Secure Renegotiation IS supported" in output
    assert "Compression: NONE" in output


def test_key_updates_are_answered_in_order() -> None:
    """The tool's command `K` updates its keys and asks for ours to be updated as well (RFC 8446 §4.6.3)."""

    async def main() -> None:
        async with s_client("-tls1_3") as (stream, tool):
            assert tool.stdout is not None
            for number in range(3):
                await type_line(tool, b"K\n")
                await tool.stdout.readuntil(b"KEYUPDATE\n")
                await type_line(tool, b"NOOP\n")
                assert await read_exactly(stream, 5) == b"NOOP\n"
                stream.write(b"250 %d answered\r\n" % number)
                await tool.stdout.readuntil(b"250 %d answered" % number)
            await type_line(tool, b"Q\n")
            assert await stream.read() == b""

    run(main)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        (TlsParameters(minimum="TLSv9"), "unknown TLS version"),
        (TlsParameters(ciphers="NONSENSE"), "no cipher matches 'NONSENSE'"),
        (TlsParameters(ciphers="TLS_NONSENSE"), "no cipher matches"),
        (TlsParameters(groups="nonsense"), "no such key-exchange groups"),
        (TlsParameters(groups="?nonsense:?folly"), r"groups '\?nonsense:\?folly' none is left"),
        (TlsParameters(groups="X25519:-X25519"), "none is left"),
    ],
)
def test_settings_that_cannot_work_are_refused(parameters: TlsParameters, problem: str) -> None:
    with pytest.raises(ContextError, match=problem):
        check_parameters(parameters)


@pytest.mark.parametrize(
    ("ciphers", "protocol", "cipher"),
    [
        ("default", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ("", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ("TLS_AES_128_GCM_SHA256", "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256",
            "TLSv1.3",
            "TLS_CHACHA20_POLY1305_SHA256",
        ),
        ("HIGH:!aNULL:@SECLEVEL=2", "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_cipher_strings_may_name_suites_of_both_kinds(ciphers: str, protocol: str, cipher: str) -> None:
    async def main() -> None:
        async with pair() as ends:
            await ends.tls(server=server_context(parameters=TlsParameters(ciphers=ciphers)))
            assert ends.server.tls is not None
            assert (ends.server.tls.protocol, ends.server.tls.cipher) == (protocol, cipher)

    run(main)


def test_faulty_identities_are_refused_with_a_sentence_and_without_the_key() -> None:
    one, other = issued("mx.example").identity, issued("other.example").identity
    rsa = issued("mx.example", "rsa").identity
    cases: list[tuple[Identity, str]] = [
        (Identity(one.chain_pem, other.key_pem), "does not belong"),
        (Identity(one.chain_pem, rsa.key_pem), "does not belong|refuses"),
        (Identity(b"nonsense", one.key_pem), "not PEM"),
        (Identity(one.chain_pem, b"nonsense"), "private key cannot be read"),
    ]
    for identity, problem in cases:
        with pytest.raises(ContextError, match=problem):
            server_context(identities=[identity])
    with pytest.raises(ContextError, match="needs a certificate"):
        server_context(identities=[])
    assert "PRIVATE" not in repr(one)


def test_a_context_is_frozen_by_its_first_connection() -> None:
    context = server_context()
    context.connection()
    with pytest.raises(ValueError, match="cannot be mutated"):
        context._default.set_options(0)
