"""Delayed rejection with real clients: in clear and over TLS the log shows whom a rejected sender wanted."""

from __future__ import annotations

import smtplib

import pytest
from tests.live.peers.clients import swaks
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.submit import Refused, submit


@pytest.fixture
def rejecting(gateway: Gateway, ports: Ports) -> tuple[Gateway, int]:
    """A gateway that rejects everybody, and its port."""
    port = ports.free()
    configuration = document(port, ports.free())
    incoming = configuration["listeners"][0]
    incoming["host_access"] = [{"group": "BLOCKED_LIST", "senders": ["127.0.0.0/8"], "policy": "BLOCKED"}]
    incoming["delay_rejection"] = True
    configuration["mail_flow_policies"][2]["tls"] = "preferred"
    gateway.configure(configuration)
    gateway.start()
    return gateway, port


@pytest.mark.parametrize("tls", [False, True])
def test_whom_it_wanted_is_in_the_log(rejecting: tuple[Gateway, int], tls: bool) -> None:
    gateway, port = rejecting
    sent = swaks(port, *(["--tls"] if tls else []), to="mary@example.net,joe@example.net")
    assert not sent.accepted
    assert sent.transcript.count("554 5.7.1 Access to this mail system is refused") == 2
    head = r"ICID \d+ Delayed HAT REJECT"
    gateway.wait_for_log(rf"{head} continuing session for recipient logging \(127\.0\.0\.1\)$")
    gateway.wait_for_log(rf"{head} Message from: \S+ \(127\.0\.0\.1\)$")
    for name in ("mary", "joe"):
        gateway.wait_for_log(rf"{head} Message recipient: <{name}@example\.net> \(127\.0\.0\.1\)$")
    icid = gateway.wait_for_log(r"ICID (\d+) Delayed HAT REJECT continuing")[1]
    gateway.wait_for_log(rf"ICID {icid} close")
    assert bool([line for line in gateway.log.all if f"ICID {icid} TLS success" in line]) is tls
    assert not [line for line in gateway.log.all if " MID " in line]


def test_no_message_comes_of_it(rejecting: tuple[Gateway, int]) -> None:
    _, port = rejecting
    with pytest.raises(Refused, match=r"554 5\.7\.1"):
        submit(port, "sender@client.example", "mary@example.net")
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo()
        assert client.mail("sender@client.example")[0] == 250
        assert client.rcpt("mary@example.net")[0] == 554
        assert client.docmd("DATA")[0] in (503, 554)
