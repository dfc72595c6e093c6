"""Asking a server which certificates it shows: over the wire and in memory, by name and by kind of key."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.net.kit import Issued, issued, plain_server, reactor, run, server_context

from gatepost.net import openssl_private
from gatepost.net.openssl_private import Features
from gatepost.net.served import Accepts, Clients, Question, Served, Wire, shown_by
from gatepost.net.socket_address import SocketAddress
from gatepost.net.tls import ServerContext, TlsParameters

RSA, EC = issued("mx.example", "rsa"), issued("mx.example", "ec")
OTHER = issued("other.example")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def both(**keywords: object) -> ServerContext:
    """A listener with two kinds of keys and another certificate for one name."""
    by_name = {"other.example": [OTHER.identity]}
    return server_context(identities=[RSA.identity, EC.identity], by_name=by_name, **keywords)


@asynccontextmanager
async def talking(script: Script) -> AsyncIterator[int]:
    """A server that does what the script says; its port."""
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def smtp(*answers: str, tls: ssl.SSLContext | None = None) -> Script:
    """Greets and answers one line after the other; then TLS, where there is a context."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for number, answer in enumerate(answers):
                if number:
                    await reader.readline()
                writer.write(answer.encode())
            if tls is not None:
                await writer.start_tls(tls)
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    return script


async def ask(
    port: int, *asked: tuple[str, Accepts], implicit: bool = False, seconds: float = 5.0
) -> list[Served]:
    async def announce(places: Sequence[SocketAddress]) -> None:
        assert len(places) == len(asked)

    async with reactor() as made:
        wire = Wire(made, Clients(), announce, seconds=seconds)
        return await wire.ask([Question("127.0.0.1", port, implicit, sni, accepts) for sni, accepts in asked])


@pytest.mark.parametrize("minimum", ["TLSv1", "TLSv1.2", "TLSv1.3"])
def test_a_context_in_memory_shows_its_certificates_by_name_and_kind_of_key(minimum: str) -> None:
    context, clients = both(parameters=TlsParameters(minimum)), Clients()
    for sni, accepts, chain in [
        ("", Accepts.RSA, RSA.ders),
        ("", Accepts.ECDSA, EC.ders),
        ("unknown.example", Accepts.RSA, RSA.ders),
        ("other.example", Accepts.ECDSA, OTHER.ders),
        ("other.example", Accepts.ANY, OTHER.ders),
    ]:
        assert shown_by(context, clients, sni, accepts) == Served(chain, "TLSv1.3"), (sni, accepts)
    assert shown_by(context, clients, "", Accepts.ANY).chain in (RSA.ders, EC.ders)
    refused = shown_by(context, clients, "other.example", Accepts.RSA)
    assert (refused.chain, refused.reached) == ((), True)
    assert "no shared" in refused.error or "no suitable" in refused.error


def test_a_library_without_a_list_of_algorithms_is_asked_with_ciphers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openssl_private, "prove_features", lambda: Features(True, False, True, True))
    clients = Clients()
    context = both()
    assert shown_by(context, clients, "", Accepts.RSA) == Served(RSA.ders, "TLSv1.2")
    assert shown_by(context, clients, "", Accepts.ECDSA) == Served(EC.ders, "TLSv1.2")
    assert shown_by(context, clients, "", Accepts.ANY).protocol == "TLSv1.3"


@pytest.mark.parametrize("who", [RSA, EC], ids=["rsa", "ec"])
def test_a_foreign_server_is_asked_over_the_wire(who: Issued) -> None:
    hello = "250-mx.example\r\n250 STARTTLS\r\n"
    mine, others = (Accepts.RSA, Accepts.ECDSA) if who is RSA else (Accepts.ECDSA, Accepts.RSA)

    async def main() -> None:
        script = smtp("220 mx.example ESMTP\r\n", hello, "220 go on\r\n", tls=plain_server(who))
        async with talking(script) as port:
            answers = await ask(port, ("", Accepts.ANY), ("mx.example", mine), ("mx.example", others))
        assert answers[:2] == [Served(who.ders, "TLSv1.3")] * 2
        assert (answers[2].chain, answers[2].reached) == ((), True)
        assert answers[2].error

    run(main)


def test_implicit_tls_needs_no_words_before() -> None:
    async def main() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(script, "127.0.0.1", 0, ssl=plain_server(EC))
        (answer,) = await ask(server.sockets[0].getsockname()[1], ("mx.example", Accepts.ANY), implicit=True)
        server.close()
        assert answer.chain[0] == EC.ders[0]

    run(main)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (("554 no\r\n",), "the greeting was 554 no"),
        (("421 busy\r\n",), "the greeting was 421 busy"),
        (("rubbish\r\n",), "the greeting was not understood"),
        (("220 a\r\n", "250 a\r\n"), "STARTTLS is not offered"),
        (
            ("220 a\r\n", "250-a\r\n250 STARTTLS\r\n", "454 not now\r\n"),
            "the answer to STARTTLS was 454 not now",
        ),
    ],
)
def test_what_does_not_lead_to_tls_is_told(answers: tuple[str, ...], reason: str) -> None:
    async def main() -> None:
        async with talking(smtp(*answers)) as port:
            (answer,) = await ask(port, ("", Accepts.ANY))
        assert (answer.chain, answer.reached) == ((), False)
        assert answer.error == reason

    run(main)


def test_what_is_no_tls_is_told_as_a_failed_handshake() -> None:
    async def main() -> None:
        hello = "250-a\r\n250 STARTTLS\r\n"
        async with talking(smtp("220 a\r\n", hello, "220 go\r\n", "no TLS at all\r\n")) as port:
            (answer,) = await ask(port, ("", Accepts.ANY))
        assert (answer.chain, answer.reached) == ((), True)
        assert answer.error

    run(main)


def test_a_silent_server_and_a_closed_port_are_answers_too() -> None:
    async def main() -> None:
        async with talking(smtp()) as port:
            (answer,) = await ask(port, ("", Accepts.ANY), seconds=0.05)
        assert answer == Served(error="no answer in time", reached=False)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        (answer,) = await ask(port, ("", Accepts.ANY))
        assert answer == Served(error="[Errno 111] Connection refused", reached=False)

    run(main)


def test_every_socket_is_announced_before_it_connects() -> None:
    async def main() -> None:
        announced: list[SocketAddress] = []
        seen: list[SocketAddress] = []

        async def announce(places: Sequence[SocketAddress]) -> None:
            announced.extend(places)

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host, port = writer.get_extra_info("peername")
            assert SocketAddress(host, port) in announced
            seen.append(SocketAddress(host, port))
            writer.close()

        async with talking(script) as port, reactor() as made:
            questions = [Question("127.0.0.1", port, False, "", Accepts.ANY)] * 20
            answers = await Wire(made, Clients(), announce).ask(questions)
        assert len(answers) == 20
        assert len(set(seen)) == 20
        assert set(seen) == set(announced)

    run(main)


def test_an_address_that_this_machine_does_not_have_is_an_answer() -> None:
    async def main() -> None:
        async def announce(places: Sequence[SocketAddress]) -> None:
            assert not places

        async with reactor() as made:
            question = Question("192.0.2.77", 25, False, "", Accepts.ANY)
            (answer,) = await Wire(made, Clients(), announce).ask([question])
        assert not answer.reached
        assert "Cannot assign" in answer.error

    run(main)
