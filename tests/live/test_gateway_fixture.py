"""One message through a real gateway, from start to stop: the fixture, and the shortest proof of the whole way."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes.ca import TestAuthority
from tests.live.peers.clients import swaks
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.receiver import Script, ScriptedReceiver


def test_a_message_passes_over_tls_both_ways(
    gateway: Gateway, receiver: Callable[..., ScriptedReceiver], ports: Ports, authority: TestAuthority
) -> None:
    target = receiver(Script(certificate=authority.issue(["receiver.example"])))
    public, private = ports.free(), ports.free()
    gateway.import_certificate("gw", authority.issue(["mx.example.net"]))
    gateway.configure(document(public, private, hop=f"[127.0.0.1]:{target.port}", certificate="gw"))
    gateway.start(workers=2)

    sent = swaks(private, "--tls", body="through the gateway")
    assert sent.accepted, sent.transcript
    (mail,) = target.wait_for_mail()
    assert b"through the gateway" in mail.content
    assert mail.tls is not None
    assert "with ESMTPS" in mail.received[0]
    gateway.wait_for_log(r"ICID \d+ TLS success protocol TLSv1\.3")
    gateway.wait_for_log(r"DCID \d+ TLS success protocol TLSv1\.3")
    gateway.wait_for_log(r"Message finished MID \d+ done")
    assert gateway.stop() == 0
