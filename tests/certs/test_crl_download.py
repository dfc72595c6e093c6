"""Fetching a revocation list."""

from __future__ import annotations

import asyncio

import pytest

from gatepost.certs.crl_download import download
from gatepost.config.authorities import RevocationSource
from gatepost.net.http import HttpFailed

URL = "http://crl.example/a"


def fetched(source: RevocationSource, answers: dict[str, bytes]) -> bytes:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        writer.write(answers.get(path, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        here = {
            key: url.replace("crl.example", f"127.0.0.1:{port}")
            for key in ("url", "secondary")
            if (url := getattr(source, key))
        }
        try:
            return await download(source.model_copy(update=here), b"", timeout=5)
        finally:
            server.close()

    return asyncio.run(main())


def test_the_second_url_stands_in_for_the_first() -> None:
    good = b"HTTP/1.1 200 Yes\r\nContent-Length: 4\r\n\r\nlist"
    source = RevocationSource(url="http://crl.example/a", secondary="http://crl.example/b")
    assert fetched(source, {"/b": good}) == b"list"
    with pytest.raises(HttpFailed, match="answered 404; the second URL: the server answered 404"):
        fetched(source, {})


def test_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(HttpFailed, match="301: it sends us elsewhere"):
        fetched(RevocationSource(url=URL), {"/a": moved})
