"""Web servers that answer what a test says, octet by octet, and requests to them."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from tests.fakes.ca import Issued

from gatepost.core.address import IPAddress
from gatepost.net.http import HttpAnswer, HttpFailed, OperatorHttp, PublicHttp

T = TypeVar("T")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = ipaddress.ip_address("127.0.0.1")
HOST = "answers.example"


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await main()

    return asyncio.run(bounded())


class Server:
    """Says one thing to whoever comes, and keeps what it was asked."""

    def __init__(self, answer: bytes | Serve) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.handlers: set[asyncio.Task[Any]] = set()
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.handlers.add(task)
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.handlers.discard(task)
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | Serve, identity: Issued | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    context = None
    if identity is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(identity.key_pem + identity.chain_pem)
            file.flush()
            context.load_cert_chain(file.name)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(server.handlers):
            task.cancel()
        await asyncio.gather(*server.handlers, return_exceptions=True)


async def look_up_loopback(host: str) -> Sequence[IPAddress]:
    return [LOOPBACK]


async def operator(
    url: str, trust: bytes = b"", *, method: str = "GET", body: bytes = b"", **options: Any
) -> HttpAnswer:
    http = OperatorHttp(trust, **options)
    try:
        return await http.request(method, url, body=body)
    finally:
        await http.close()


def refusal(answer: bytes | Serve, *, timeout: float = 10.0, **options: Any) -> str:
    """Why a request to a server that answers so fails."""

    async def main() -> str:
        async with serving(answer) as server:
            with pytest.raises(HttpFailed) as caught:
                await operator(f"http://127.0.0.1:{server.port}/", timeout=timeout, **options)
            return caught.value.text

    return run(main)


async def public(url: str, look_up: Any = look_up_loopback, trust: bytes = b"", **options: Any) -> HttpAnswer:
    timeout, inside = options.pop("timeout", 5), options.pop("allow_inside", False)
    http = PublicHttp(look_up, trust, timeout=timeout, allow_inside=inside)
    try:
        return await http.get(url, **options)
    finally:
        await http.close()
