"""The HTTP client for strangers' URLs: one look-up, no inside address, https unless it is allowed otherwise."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.resolver import FakeResolver
from tests.net.http_peer import HOST, LOOPBACK, OK, look_up_loopback, public, run, serving

from gatepost.core.address import IPAddress
from gatepost.net.http import HttpAnswer, HttpFailed, PublicHttp, looked_up_by


def test_a_name_is_looked_up_once_and_the_checked_address_is_dialled() -> None:
    asked: list[str] = []

    async def once(host: str) -> Sequence[IPAddress]:
        asked.append(host)
        return [LOOPBACK] if len(asked) == 1 else []

    ca = TestAuthority()

    async def main() -> None:
        async with serving(OK, ca.issue([HOST])) as server:
            url = f"https://{HOST}:{server.port}/"
            answer = await public(url, once, ca.root_pem, allow_inside=True)
            assert answer.body == b"ok"
            assert asked == [HOST]
            assert f"host: {HOST}:{server.port}".encode() in server.requests[0].lower()

    run(main)


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        (["127.0.0.1"], "answers.example leads to 127.0.0.1: loopback address"),
        (["::1"], "answers.example leads to ::1: loopback address"),
        (["10.0.0.7"], "answers.example leads to 10.0.0.7: private address"),
        (["169.254.169.254"], "answers.example leads to 169.254.169.254: link-local address"),
        (["::ffff:127.0.0.1"], "answers.example leads to ::ffff:7f00:1: loopback address"),
        (["0.0.0.0", "224.0.0.1"], "answers.example leads to 0.0.0.0: unspecified address"),
        ([], "answers.example has no address"),
    ],
)
def test_inside_addresses_are_refused(addresses: list[str], text: str) -> None:
    async def look_up(host: str) -> Sequence[IPAddress]:
        return [ipaddress.ip_address(address) for address in addresses]

    with pytest.raises(HttpFailed) as caught:
        run(lambda: public("https://answers.example/", look_up))
    assert caught.value.text == text


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001"]
)
def test_inside_addresses_are_refused_in_place_of_a_name(host: str) -> None:
    async def main() -> None:
        async with serving(OK) as server:
            with pytest.raises(HttpFailed):
                await public(f"http://{host}:{server.port}/", allow_http=True)
            assert not server.requests

    run(main)


def test_an_inside_address_beside_a_good_one_is_left_out() -> None:
    async def look_up(host: str) -> Sequence[IPAddress]:
        return [LOOPBACK, ipaddress.ip_address("192.0.2.1")]

    async def main() -> None:
        async with serving(OK) as server:
            with pytest.raises(HttpFailed):
                await public(f"http://answers.example:{server.port}/", look_up, allow_http=True, timeout=0.2)
            assert not server.requests

    run(main)


def test_what_is_posted_goes_by_https_only_and_never_inside() -> None:
    ca = TestAuthority()

    async def post(url: str, *, allow_inside: bool) -> HttpAnswer:
        http = PublicHttp(look_up_loopback, ca.root_pem, timeout=5, allow_inside=allow_inside)
        try:
            return await http.post(url, b"report", "application/tlsrpt+gzip")
        finally:
            await http.close()

    async def main() -> None:
        async with serving(OK, ca.issue([HOST])) as server:
            url = f"https://{HOST}:{server.port}/"
            with pytest.raises(HttpFailed, match="loopback address"):
                await post(url, allow_inside=False)
            with pytest.raises(HttpFailed, match="loopback address"):
                await post(f"https://127.1:{server.port}/", allow_inside=False)
            with pytest.raises(HttpFailed, match="only https is taken"):
                await post(url.replace("https", "http"), allow_inside=True)
            assert not server.requests
            assert (await post(url, allow_inside=True)).status == 200
            (request,) = server.requests
            assert request.startswith(b"POST / HTTP/1.1\r\n")
            assert b"\r\ncontent-type: application/tlsrpt+gzip\r\n" in request.lower()
            assert b"\r\ncontent-length: 6\r\n" in request.lower()

    run(main)


def test_plain_http_only_where_it_is_allowed() -> None:
    async def main() -> None:
        async with serving(OK) as server:
            url = f"http://answers.example:{server.port}/"
            with pytest.raises(HttpFailed, match="only https is taken"):
                await public(url, allow_inside=True)
            assert not server.requests
            assert (await public(url, allow_inside=True, allow_http=True)).body == b"ok"
            with pytest.raises(HttpFailed, match="answer longer than 1 octets"):
                await public(url, allow_inside=True, allow_http=True, max_body=1)

    run(main)


def test_the_products_resolver_is_the_port() -> None:
    resolver = FakeResolver()
    resolver.set_addresses("answers.example", "127.0.0.1")
    resolver.failing.add("silent.example")
    look_up = looked_up_by(resolver)

    async def main() -> None:
        assert await look_up("answers.example") == (LOOPBACK,)
        assert not await look_up("nothing.example")
        with pytest.raises(HttpFailed, match=r"silent\.example cannot be looked up: SERVFAIL"):
            await look_up("silent.example")

    run(main)
