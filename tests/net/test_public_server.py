"""The public port against clients of the standard library: exact answers, strangers, slow ones, and changes while it serves."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.net.kit import issued, plain_client, reactor, run

from gatepost.net import public_server
from gatepost.net.public_server import HTTP_PROTOCOLS, MAX_OF_ADDRESS, PublicServer
from gatepost.net.tls import ServerContext
from gatepost.wire.http_server import NOT_FOUND, Answer, Request

HOST = "mta-sts.example.net"


class Pages:
    def __init__(self, text: bytes = b"policy") -> None:
        self.text = text
        self.taken: list[tuple[bytes, str]] = []

    def answer(self, request: Request, /) -> Answer:
        return Answer(200, self.text, "text/plain") if request.path == "/p" else NOT_FOUND

    def wants(self, request: Request, peer: str, /) -> int | Answer:
        return 1000 if request.path == "/r" else NOT_FOUND

    async def take(self, request: Request, body: bytes, peer: str, /) -> Answer:
        if body == b"bug":
            raise ValueError("a bug")
        self.taken.append((body, peer))
        return Answer(201)


class Port:
    """A server on loopback."""

    def __init__(self, server: PublicServer, pages: Pages, port: int, bugs: list[str]) -> None:
        self.server, self.pages, self.port, self.bugs = server, pages, port, bugs

    async def connect(self, name: str | None = HOST, **options: Any) -> tuple[Any, Any]:
        context = plain_client(**options)
        if name is None:
            return await asyncio.open_connection("127.0.0.1", self.port)
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)

    async def ask(self, data: bytes, name: str = HOST) -> bytes:
        reader, writer = await self.connect(name)
        try:
            writer.write(data)
            return bytes(await reader.read())
        finally:
            writer.transport.abort()


def context_of(*names: str, kind: str = "ec") -> ServerContext:
    by_name = {name: (issued(name, kind).identity,) for name in names}
    return ServerContext.build((), scope="web", by_name=by_name, protocols=HTTP_PROTOCOLS)


@asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[Port]:
    bugs: list[str] = []

    def bug(where: str, error: BaseException) -> str:
        bugs.append(f"{where}: {error}")
        return "reference"

    async with reactor() as made:
        server = PublicServer(made, lambda: 0.0, bugs.append, bug, **limits)
        pages = Pages()
        server.show(context_of(HOST), pages)
        sock = socket.create_server(("127.0.0.1", 0))
        server.listen("web", sock)
        try:
            yield Port(server, pages, sock.getsockname()[1], bugs)
        finally:
            await server.close()


def get(path: str = "/p", host: str = HOST, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def until_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server is done with us; it may end with a reset where we were still sending."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def status(answer: bytes) -> str:
    return answer.split(b"\r\n")[0].decode()


def test_the_page_is_there_for_its_host_and_path_and_nothing_else_is() -> None:
    async def main() -> None:
        async with serving() as port:
            page = await port.ask(get())
            assert status(page) == "HTTP/1.1 200 OK"
            assert page.endswith(b"\r\n\r\npolicy")
            assert (await port.ask(get(host=f"{HOST}:{port.port}"))) == page
            assert (await port.ask(get(method="HEAD"))) == page[: -len(b"policy")]
            for other in (
                get("/"),
                get(host="other.example"),
                get("/p/"),
                b"POST /p HTTP/1.1\r\nHost: h\r\n\r\n",
            ):
                answer = await port.ask(other)
                assert status(answer) == "HTTP/1.1 404 Not Found"
                assert answer.endswith(b"\r\n\r\n")
            assert status(await port.ask(b"nonsense\r\n\r\n")) == "HTTP/1.1 400 Bad Request"

    run(main)


def test_a_second_request_on_a_connection_is_not_answered() -> None:
    async def main() -> None:
        async with serving() as port:
            assert (await port.ask(get() + get())).count(b"HTTP/1.1") == 1

    run(main)


@pytest.mark.parametrize(
    "strange",
    [
        {"name": "other.example.net"},
        {"name": "127.0.0.1"},
        {"name": HOST, "alpn": ["h2"]},
        {"name": HOST, "maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "PSK"},
    ],
)
def test_strangers_get_no_handshake(strange: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving() as port:
            with pytest.raises((ssl.SSLError, OSError)):
                await port.connect(**strange)
            assert status(await port.ask(get())) == "HTTP/1.1 200 OK"

    run(main)


def test_clients_that_speak_of_http_are_answered() -> None:
    async def main() -> None:
        async with serving() as port:
            _, writer = await port.connect(alpn=["h2", "http/1.1"])
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.transport.abort()

    run(main)


@pytest.mark.parametrize("begin", [b"", b"GET /p HTTP/1.1\r\nHost: "])
def test_who_is_slow_is_cut_off(begin: bytes) -> None:
    async def main() -> None:
        async with serving(seconds=0.05) as port:
            reader, writer = await port.connect()
            writer.write(begin)
            assert await until_the_end(reader) == b""
            writer.transport.abort()

    run(main)


def test_who_drips_does_not_win_time() -> None:
    async def main() -> None:
        async with serving(seconds=0.1) as port:
            reader, writer = await port.connect()
            ended = asyncio.ensure_future(until_the_end(reader))
            for octet in get() * 1000:
                if ended.done():
                    break
                writer.write(bytes([octet]))
                await asyncio.wait([ended], timeout=0.02)
            assert ended.done()
            assert b"200" not in await ended
            writer.transport.abort()

    run(main)


def test_one_address_has_its_places_and_gives_them_back() -> None:
    async def main() -> None:
        async with serving(seconds=30.0) as port:
            held = [await port.connect() for _ in range(MAX_OF_ADDRESS)]
            with pytest.raises((ssl.SSLError, OSError)):
                await port.connect()
            for _, writer in held:
                writer.transport.abort()
            while port.server._open:
                await asyncio.wait(set(port.server._open), timeout=1)
            assert status(await port.ask(get())) == "HTTP/1.1 200 OK"

    run(main)


def test_where_all_places_are_taken_who_has_waited_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_server, "MAX_CONNECTIONS", 3)

    async def main() -> None:
        async with serving(seconds=30.0) as port:
            held = [await port.connect() for _ in range(3)]
            with pytest.raises((ssl.SSLError, OSError)):
                await port.connect()  # nobody has had time enough yet
            monkeypatch.setattr(public_server, "GRACE", 0.0)
            assert status(await port.ask(get())) == "HTTP/1.1 200 OK"
            reader, writer = held[0]
            assert await until_the_end(reader) == b""
            for reader, writer in held[1:]:
                writer.write(get())
                assert status(await reader.read()) == "HTTP/1.1 200 OK"
            for _, writer in held:
                writer.transport.abort()

    run(main)


def test_networks_of_ipv6_count_as_one() -> None:
    assert public_server.owner_of("2001:db8::1") == public_server.owner_of("2001:db8::2:1")
    assert public_server.owner_of("192.0.2.1") != public_server.owner_of("192.0.2.2")


def test_a_body_is_taken_where_it_is_wanted() -> None:
    def post(path: str, body: bytes, more: str = "") -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        return head.encode() + body

    async def main() -> None:
        async with serving() as port:
            assert status(await port.ask(post("/r", b"report"))) == "HTTP/1.1 201 Created"
            assert status(await port.ask(post("/x", b"report"))) == "HTTP/1.1 404 Not Found"
            assert status(await port.ask(post("/r", b"a" * 1001))) == "HTTP/1.1 413 Content Too Large"
            assert port.pages.taken == [(b"report", "127.0.0.1")]
            reader, writer = await port.connect()
            writer.write(post("/r", b"", "Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 2"))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hi")
            assert status(await reader.read()) == "HTTP/1.1 201 Created"
            writer.transport.abort()

    run(main)


def test_a_bug_ends_its_connection_and_no_other() -> None:
    async def main() -> None:
        async with serving() as port:
            data = f"POST /r HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nbug".encode()
            reader, writer = await port.connect()
            writer.write(data)
            await until_the_end(reader)
            writer.transport.abort()
            assert port.bugs == ["public port: a bug"]
            assert status(await port.ask(get())) == "HTTP/1.1 200 OK"

    run(main)


def leaf(writer: Any) -> bytes:
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return found


def test_page_and_certificate_change_and_open_connections_go_on() -> None:
    async def main() -> None:
        async with serving() as port:
            reader, writer = await port.connect()
            port.server.show(context_of(HOST, kind="rsa"), Pages(b"another"))
            writer.write(get())
            assert (await reader.read()).endswith(b"policy")
            assert leaf(writer) == issued(HOST, "ec").ders[0]
            writer.transport.abort()
            reader, writer = await port.connect()
            assert leaf(writer) == issued(HOST, "rsa").ders[0]
            writer.write(get())
            assert (await reader.read()).endswith(b"another")
            writer.transport.abort()

    run(main)


def test_with_nothing_to_show_connections_are_closed() -> None:
    async def main() -> None:
        async with serving() as port:
            port.server.show(None, None)
            with pytest.raises((ssl.SSLError, OSError)):
                await port.connect()
            port.server.leave("web")
            assert port.server.places == frozenset()
            with pytest.raises(OSError):
                await port.connect()

    run(main)
