"""The public port in the desk: what is built before a commit, what follows the switch, and what is not loaded without it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority

from gatepost.app.channel import ChannelClosed
from gatepost.app.public_web import PublicWeb
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.event import Event
from gatepost.core.events import Warned
from gatepost.store.tls_reports_incoming import IncomingReports

HOST = "mta-sts.example.net"
ISSUED = TestAuthority("Example CA").issue([HOST])


class Bench:
    """Channel, inbox of descriptors, keeper and clock in one: a supervisor that has bound these sockets."""

    def __init__(self, folder: Path) -> None:
        self.sockets: dict[str, socket.socket] = {}
        self.events: list[Event] = []
        self.gone = False
        self.asked: list[str] = []
        self.web = PublicWeb(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,
            self.events.append,
            self,
            lambda where, error: "reference",
            IncomingReports(folder),
            lambda: None,
        )

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def request(self, kind: str, args: Mapping[str, Any], timeout: float | None = None) -> Any:
        self.asked.append(kind)
        if self.gone:
            raise ChannelClosed("it is gone")
        return list(self.sockets)

    def clear(self, beginning: str = "") -> None:
        assert beginning == "public_web"

    def take(self, label: str) -> int:
        return self.sockets[label].dup().detach()

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes:
        assert (name, revision, sealed) == ("web", 3, b"sealed")
        return ISSUED.key_pem

    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes:
        raise AssertionError

    def bind(self, *labels: str) -> None:
        for listening in self.sockets.values():
            listening.close()
        self.sockets = {label: socket.create_server(("127.0.0.1", 0)) for label in labels}


def payload(*, sealed: bytes = b"sealed", chain: bytes = ISSUED.chain_pem, **document: Any) -> dict[str, Any]:
    policies = [{"domain": "example.net", "mode": "none", "certificate": "web"}]
    given = {"public_web": {"address": "127.0.0.1"}, "mta_sts_policies": policies} | document
    profile = {"chains": [chain.decode()], "revision": 3, "sealed": b64encode(sealed).decode("ascii")}
    return {"version": 7, "document": given, "profiles": {"web": profile}}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_without_the_section_nothing_is_built_and_nothing_asked_for(bench: Bench) -> None:
    async def main() -> None:
        assert await bench.web.prepare({"version": 7, "document": {}, "profiles": {}}) is None
        await bench.web.take_up(None)

    asyncio.run(main())
    assert bench.asked == []


@pytest.mark.slow
def test_without_the_section_no_server_is_loaded() -> None:
    code = (
        "import sys, gatepost.app.desk\n"
        "print([name for name in ('gatepost.net.public_server', 'gatepost.wire.http_server', 'aiohttp.web')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (payload(sealed=b""), "the certificate web is not there, or has no private key"),
        (payload() | {"profiles": {}}, "the certificate web is not there, or has no private key"),
        (
            payload(chain=TestAuthority("Other").issue([HOST]).chain_pem),
            "the private key does not belong to the certificate",
        ),
    ],
)
def test_what_cannot_be_shown_refuses_the_commit(bench: Bench, given: dict[str, Any], why: str) -> None:
    with pytest.raises(OperatorError, match=why) as refusal:
        asyncio.run(bench.web.prepare(given))
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION


def test_sockets_are_kept_added_and_given_up_as_the_supervisor_has_them(bench: Bench) -> None:
    async def main() -> None:
        loop_socket = []
        bench.bind("public_web a")
        shown = await bench.web.prepare(payload())
        await bench.web.take_up(shown)
        server = bench.web._server
        assert server is not None
        loop_socket.append(server._listeners["public_web a"])
        await bench.web.take_up(shown)
        assert server._listeners["public_web a"] is loop_socket[0]
        bench.bind("public_web b")
        await bench.web.take_up(await bench.web.prepare(payload()))
        assert server.places == {"public_web b"}
        await bench.web.take_up(None)
        assert bench.web._server is None

    asyncio.run(main())
    bench.bind()
    assert bench.events == []


def test_a_supervisor_that_does_not_answer_is_logged_and_nothing_fails(bench: Bench) -> None:
    async def main() -> None:
        bench.gone = True
        await bench.web.take_up(await bench.web.prepare(payload()))
        await bench.web.close()

    asyncio.run(main())
    (event,) = bench.events
    assert isinstance(event, Warned)
    assert event.text == "public_web: the supervisor did not hand over its socket: it is gone"
