"""The gateway's own questions to a worker: answered whatever the access table says, and good for nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.app.test_worker import Driven, driven
from tests.fakes.gateway_parts import listener, own_certificate, policy
from tests.fakes.time_travel import run

from gatepost.app.worker import Worker
from gatepost.net.reactor import Reactor
from gatepost.net.served import Accepts, Clients, Question, Served, Wire
from gatepost.net.socket_address import SocketAddress


async def _announced(it: Driven, worker: Worker, *, implicit: bool = False) -> Served:
    """The worker's listener asked for its certificate, announced as the desk does it."""

    async def announce(places: Sequence[SocketAddress]) -> None:
        await worker.request("proof.expect", {"places": [[place.host, place.port] for place in places]})

    reactor = Reactor(asyncio.get_running_loop())
    try:
        question = Question("127.0.0.1", it.port, implicit, "mx.example.net", Accepts.ANY)
        (answer,) = await Wire(reactor, Clients(), announce).ask([question])
    finally:
        reactor.close()
    return answer


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    "refusing",
    [policy("ACCEPTED", "tcprefuse"), policy("ACCEPTED", "reject"), policy("ACCEPTED", tls="off")],
    ids=["tcprefuse", "reject", "tls-off"],
)
def test_an_announced_probe_sees_the_certificate_whatever_the_access_table_says(
    tmp_path: Path, refusing: dict[str, Any], implicit: bool
) -> None:
    async def main() -> None:
        changes = {"tls": "implicit"} if implicit else {}
        async with driven(tmp_path, listeners=[listener(**changes)], mail_flow_policies=[refusing]) as it:
            answer = await _announced(it, it.worker, implicit=implicit)
            assert answer == Served(own_certificate().chain_der, "TLSv1.3")
            counters = (await it.worker.request("status", {}))["counters"]
            assert (counters["connections_in"], counters["tls_in"]) == (0, 0)
        lines = it.home.event_log.read_text()
        assert lines.count('"ListenerProbed"') == 1
        assert "ConnectionOpened" not in lines
        log = it.home.mail_log  # it may say which name server is believed
        assert not log.exists() or "Probe of listener" not in log.read_text()  # that is at Debug

    run(main)


def test_an_announced_connection_takes_no_mail(tmp_path: Path) -> None:
    async def main() -> None:
        async with driven(tmp_path) as it:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            await it.worker.request("proof.expect", {"places": [list(sock.getsockname())]})
            sock.connect(("127.0.0.1", it.port))
            reader, writer = await asyncio.open_connection(sock=sock)
            assert (await reader.readline()).startswith(b"220 mx.example.net")
            for said, answered in [
                (b"MAIL FROM:<a@b.example>", b"530"),
                (b"EHLO a.example", b"250-"),
            ]:
                writer.write(said + b"\r\n")
                assert (await reader.readline()).startswith(answered)
            while (await reader.readline())[3:4] == b"-":
                pass
            writer.write(b"STARTTLS\r\n")
            assert (await reader.readline()).startswith(b"220")
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            await writer.start_tls(context)
            writer.write(b"EHLO a.example\r\n")
            while (await reader.readline())[3:4] == b"-":
                pass
            writer.write(b"MAIL FROM:<a@b.example>\r\n")
            assert (await reader.readline()).startswith(b"421 4.3.2 ")
            writer.close()

    run(main)
