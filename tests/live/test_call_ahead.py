"""Call-ahead with Postfix as the routed host: it knows its recipients, and the gateway asks it before it accepts one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.postfix import Postfix
from tests.live.peers.submit import Refused, submit

NewPostfix = Callable[..., Postfix]


def configuration(ports: Ports, hop: int, **sections: Any) -> tuple[dict[str, Any], int]:
    public = ports.free()
    made = document(public, ports.free(), hop=f"[127.0.0.1]:{hop}")
    made["listeners"][0]["recipient_access"] = [
        {"recipient": "example.net", "action": "accept", "call_ahead": True},
    ]
    return made | sections, public


def test_postfix_says_who_exists_over_the_destinations_tls(
    gateway: Gateway, ports: Ports, postfix: NewPostfix, authority: TestAuthority
) -> None:
    issued = authority.issue(["mx.example.net", "example.net"])
    server = postfix(
        certificate=issued,
        options={
            "virtual_mailbox_maps": "inline:{ mary@example.net=all/ }",
            "smtpd_tls_security_level": "encrypt",
            "smtpd_reject_unlisted_recipient": "yes",
        },
    )
    controls = {"default": {"tls": "required-verify", "dane": "none", "mta_sts": False}}
    made, public = configuration(
        ports,
        server.port,
        destination_controls=controls,
        certificate_authorities={"system": False, "custom": True},
    )
    gateway.trust(authority.root_pem)
    gateway.configure(made)
    gateway.start()
    with pytest.raises(Refused, match=r"550 5\.1\.1 The recipient's mail server refuses it"):
        submit(public, to="nobody@example.net")
    gateway.wait_for_log(r"To: <nobody@example\.net> Rejected by call-ahead \(550 5\.1\.1 .*User unknown")
    server.log.wait_for(r"NOQUEUE: reject: RCPT .* from=<> to=<nobody@example\.net>")
    mid = submit(public, to="mary@example.net")
    gateway.wait_for_log(rf"Message finished MID {mid} done")
    [mail] = server.wait_for_mail()
    assert mail.content
    # The question and the delivery both went over TLS.
    server.log.wait_for(r"TLS connection established from .*: TLSv1\.3", count=2)


def test_a_host_that_is_down_defers_and_is_asked_again(
    gateway: Gateway, ports: Ports, postfix: NewPostfix
) -> None:
    port = ports.free()
    made, public = configuration(ports, port)
    gateway.configure(made)
    gateway.start()
    with pytest.raises(Refused, match=r"451 4\.4\.\d The recipient's mail server does not answer"):
        submit(public, to="mary@example.net")
    gateway.wait_for_log(r"To: <mary@example\.net> Rejected by call-ahead \(.*Connection refused")
    server = postfix(port=port)
    gateway.configure(made | {"call_ahead": {"timeout": "9s"}})  # a commit forgets that it was down
    mid = submit(public, to="mary@example.net")
    gateway.wait_for_log(rf"Message finished MID {mid} done")
    server.wait_for_mail()
