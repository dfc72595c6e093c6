"""Mail flow policies in monitor mode before real clients: all mail is taken, and the log says which would not have been."""

from __future__ import annotations

import json
import re
import smtplib
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
from tests.fakes.ca import CLIENT_AUTH, Issued, TestAuthority
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.processes import FileLines
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, incoming_of
from tests.live.peers.submit import hand_over

CA = TestAuthority("Partner CA")
GOOD = CA.issue(["mx.partner.example"], usages=(CLIENT_AUTH,))
EXPIRED = CA.issue(["mx.partner.example"], usages=(CLIENT_AUTH,), expired=True)
NO_TLS = "TLS was required but remote host did not initiate it"


@dataclass
class Stage:
    scene: Scene
    port: int = field(init=False)

    @cached_property
    def gateway(self) -> Gateway:
        made = self.scene.gateway()
        self.port, private = self.scene.ports.free(), self.scene.ports.free()
        sink = self.scene.receiver()
        whole = document(self.port, private, hop=f"[127.0.0.1]:{sink.port}")
        for policy in whole["mail_flow_policies"]:
            if policy["name"] == "ACCEPTED":
                policy |= {"tls": "required", "verify_client_certificate": True, "tls_monitor": True}
        made.trust(CA.root_pem)
        made.configure(whole)
        made.command("ca", "enable", "custom")
        made.start()
        return made

    def send(self, *, tls: bool, client: Issued | None = None, count: int = 1) -> list[str]:
        """Messages on one connection; the session's lines that are about TLS or the policy."""
        gateway = self.gateway
        with smtplib.SMTP("127.0.0.1", self.port, "client.example") as connection:
            if tls:
                connection.starttls(context=self._context(client))
            mids = [hand_over(connection) for _ in range(count)]
        icid = incoming_of(gateway, mids[0])
        gateway.wait_for_log(rf"ICID {icid} close$")
        lines = [line for line in about(gateway, f"ICID {icid}") if "TLS" in line or "monitor" in line]
        return [re.sub(rf"\bICID {icid}\b", "ICID I", line) for line in lines]

    def _context(self, client: Issued | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if client is not None:
            file = Path(self.scene.folder) / "client.pem"
            file.write_bytes(client.chain_pem + client.key_pem)
            context.load_cert_chain(file)
        return context


@pytest.fixture(scope="module")
def stage(scene: Scene) -> Stage:
    return Stage(scene)


def test_clear_text_is_taken_and_told_once_a_session(stage: Stage) -> None:
    assert stage.send(tls=False, count=3) == [f"ICID I monitor: ACCEPTED would refuse: {NO_TLS}"]


def test_without_a_certificate(stage: Stage) -> None:
    up, told = stage.send(tls=True)
    assert up == "ICID I TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384", "as without the demand"
    assert told == (
        "ICID I monitor: ACCEPTED would refuse: client certificate not verified: no certificate was sent"
    )


def test_with_a_bad_certificate(stage: Stage) -> None:
    _, told = stage.send(tls=True, client=EXPIRED)
    assert told == (
        "ICID I monitor: ACCEPTED would refuse: client certificate not verified: certificate has expired"
        " (CN=mx.partner.example, issuer CN=Partner CA)"
    )


def test_a_client_that_would_pass_leaves_no_line_and_is_counted(stage: Stage) -> None:
    (up,) = stage.send(tls=True, client=GOOD, count=2)
    assert " TLS success " in up
    pattern = r'"event":"PolicyMonitored".*"would":"pass"'
    events = FileLines(stage.gateway.home / "logs" / "events.jsonl")
    try:
        seen = json.loads(events.lines.wait_for(pattern).string)
        assert (seen["policy"], seen["reason"]) == ("ACCEPTED", "")
        start = events.lines.mark()
        stage.send(tls=False)
        events.lines.wait_for(r'"event":"PolicyMonitored".*"would":"refuse"', start=start)
        assert len(events.lines.matching(pattern)) == 1, "two messages of one session are one"
    finally:
        events.close()
    text = stage.gateway.command("metrics")
    counted = dict(re.findall(r'gatepost_monitor_in_total\{worker="0",would="(\w+)"\} (\d+)', text))
    assert counted["pass"] == "1"
