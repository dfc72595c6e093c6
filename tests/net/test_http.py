"""The HTTP clients: requests and answers, servers that are slow or say too much, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import threading

import pytest
import uvloop
from tests.fakes.ca import Issued, TestAuthority
from tests.net.http_peer import HOST, OK, Serve, operator, public, refusal, run, serving

from gatepost.net.http import HttpFailed, OperatorHttp, checked_url


def test_a_request_and_its_answer() -> None:
    said = b"HTTP/1.1 201 Created\r\nLocation: /order/1\r\nLink: <a>;rel=up\r\nLink: <b>;rel=index\r\nContent-Length: 4\r\n\r\nbody"

    async def main() -> None:
        async with serving(said) as server:
            http = OperatorHttp(b"")
            url = f"http://127.0.0.1:{server.port}/new?x=%2F#part"
            answer = await http.request("POST", url, body=b"{}", headers={"Content-Type": "application/json"})
            await http.close()
        assert (answer.status, answer.body) == (201, b"body")
        assert answer.headers["location"] == "/order/1"
        assert answer.headers["link"] == "<a>;rel=up, <b>;rel=index"
        request = server.requests[0].lower()
        assert request.startswith(b"post /new?x=%2f http/1.1\r\n")
        for line in (b"content-type: application/json", b"content-length: 2", b"accept-encoding: identity"):
            assert line in request
        assert b"cookie" not in request

    run(main)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def main() -> None:
        async with serving(OK) as other:
            to = f"http://127.0.0.1:{other.port}/".encode()
            said = b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n"
            async with serving(said) as server:
                answer = await operator(f"http://127.0.0.1:{server.port}/")
            assert answer.status == 302
            assert not other.requests

    run(main)


def test_every_request_has_its_own_connection_and_no_cookie() -> None:
    said = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(said)
        await reader.read()  # until the client closes

    async def main() -> None:
        async with serving(answer) as server:
            http = OperatorHttp(b"")
            for _ in range(3):
                assert (await http.request("GET", f"http://localhost:{server.port}/")).status == 200
            await http.close()
        assert connections == 3
        assert all(b"cookie" not in request.lower() for request in server.requests)

    run(main)


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def main() -> int:
        async with serving(OK) as server:
            return (await operator(f"http://127.0.0.1:{server.port}/")).status

    assert run(main) == 200


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: and more\r\n" * 100)
        await writer.drain()


@pytest.mark.parametrize("server", [drip, silent])
def test_one_clock_runs_over_the_whole(server: Serve) -> None:
    assert refusal(server, timeout=0.2) == "no answer within 0.2 s"


def test_reading_stops_at_the_limit() -> None:
    assert refusal(endless, max_body=1 << 20) == "answer longer than 1 MiB"
    assert refusal(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", max_body=1 << 10) == (
        "answer longer than 1 KiB"
    )
    assert refusal(OK, max_body=1) == "answer longer than 1 octets"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (endless_header, "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "the answer is not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 8_000 + b"\r\n",
            "the connection was closed without an answer",
        ),
        (b"220 mx.example ESMTP\r\n", "the answer is not HTTP"),
        (b"", "the connection was closed without an answer"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "the connection was closed in the middle of the answer",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
            "the answer is compressed, which was not asked for",
        ),
    ],
    ids=["endless header", "long line", "half a header", "smtp", "nothing", "half a body", "compressed"],
)
def test_what_is_no_answer_has_a_clear_reason(answer: bytes | Serve, text: str) -> None:
    assert refusal(answer) == text


def test_many_long_headers_are_refused() -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 8_000) for number in range(20))
    assert refusal(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 0\r\n\r\n") == (
        "the header of the answer is too long"
    )


def test_nobody_listens() -> None:
    async def main() -> HttpFailed:
        async with serving(OK) as server:
            port = server.port
        with pytest.raises(HttpFailed) as caught:
            await operator(f"http://127.0.0.1:{port}/")
        return caught.value

    failed = run(main)
    assert (failed.text, failed.unproven) == ("connection refused", False)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(HttpFailed, match=r"^nothing\.invalid cannot be looked up$"):
        run(lambda: operator("http://nothing.invalid/"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://answers.example/",
        "https:///path",
        "https://",
        "//answers.example/",
        "https://user:word@answers.example/",
        "https://answers.example:99999/",
        "https://answers.example:0/",
        "https://answers.example/a b",
        "https://answers.example/\r\nX: y",
        "https://answers.example/\x00",
        "https://ansẅers.example/",
        "https://[::1/",
        "https://answers.example/" + "a" * 2_000,
        "",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(HttpFailed):
        checked_url(url)


def test_https_is_verified_against_the_given_roots_and_the_name() -> None:
    ca, stranger = TestAuthority("HTTP CA"), TestAuthority("Another CA")
    sub = ca.intermediate()
    cases: list[tuple[Issued, bytes, str]] = [
        (sub.issue(["localhost"]), ca.root_pem, ""),
        (sub.issue(["localhost"]), stranger.root_pem + b"rubbish\n" + ca.root_pem, ""),
        (sub.issue(["localhost"]), stranger.root_pem, "unable to get local issuer certificate"),
        (sub.issue(["localhost"]), b"", "unable to get local issuer certificate"),
        (sub.issue(["localhost"], expired=True), ca.root_pem, "certificate has expired"),
        (sub.issue(["localhost"], not_yet_valid=True), ca.root_pem, "certificate is not yet valid"),
        (sub.issue([HOST]), ca.root_pem, "certificate is not valid for localhost"),
        (sub.issue(["localhost"], san=False), ca.root_pem, "certificate is not valid for localhost"),
    ]

    async def main() -> None:
        for issued, trust, text in cases:
            async with serving(OK, issued) as server:
                url = f"https://localhost:{server.port}/"
                if not text:
                    assert (await operator(url, trust)).body == b"ok"
                    continue
                with pytest.raises(HttpFailed) as caught:
                    await operator(url, trust)
                assert (caught.value.text, caught.value.unproven) == (text, True)
                assert not server.requests

    run(main)


def test_https_to_a_server_without_tls() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.example ESMTP\r\n")
        await reader.read()
        writer.close()

    async def main() -> HttpFailed:
        listening = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        try:
            with pytest.raises(HttpFailed) as caught:
                await operator(f"https://127.0.0.1:{port}/")
        finally:
            listening.close()
        return caught.value

    failed = run(main)
    assert failed.text.startswith("TLS failed: ")
    assert failed.unproven


def test_nothing_stays_open_behind_the_end_of_a_client() -> None:
    """A TLS server in another thread that never says goodbye holds up neither `close` nor the end of the loop."""
    authority = TestAuthority()
    identity = authority.issue([HOST])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.key_pem + identity.chain_pem)
        file.flush()
        context.load_cert_chain(file.name)
    gone = threading.Event()
    ended = threading.Event()

    def hang() -> None:
        plain, _ = listening.accept()
        with context.wrap_socket(plain, server_side=True) as connection:
            while b"\r\n\r\n" not in connection.recv(4096):
                continue
            connection.settimeout(10)
            try:
                ended.set() if not connection.recv(1) else None
            except OSError:
                ended.set()
            gone.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=hang, daemon=True)
        thread.start()
        url = f"https://{HOST}:{listening.getsockname()[1]}/"
        loop = uvloop.new_event_loop()
        with pytest.raises(HttpFailed, match="no answer within"):
            loop.run_until_complete(public(url, trust=authority.root_pem, timeout=0.3, allow_inside=True))
        assert ended.wait(5)
        loop.close()
        gone.set()
        thread.join()
