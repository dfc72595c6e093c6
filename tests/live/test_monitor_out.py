"""Destination entries in monitor mode against real receivers: the mail goes as without them, and the log says what they would have done."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from tests.fakes.ca import self_signed
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.processes import FileLines
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import delivery
from tests.live.peers.submit import submit

DOMAINS = ("clear.example", "selfsigned.example", "good.example", "off.example")


@dataclass
class Stage:
    scene: Scene

    @cached_property
    def receivers(self) -> dict[str, ScriptedReceiver]:
        own = self_signed(["selfsigned.example"])
        return {
            "clear.example": self.scene.receiver(Script(starttls=StartTls.NOT_OFFERED)),
            "selfsigned.example": self.scene.receiver(Script(certificate=own)),
            "good.example": self.scene.receiver(Script(certificate=self_signed(["good.example"]))),
            "off.example": self.scene.receiver(Script(certificate=own)),
        }

    @cached_property
    def gateway(self) -> Gateway:
        made = self.scene.gateway()
        public, self.private = self.scene.ports.free(), self.scene.ports.free()
        entries: list[dict[str, Any]] = [
            {"domain": "clear.example", "tls": "required", "monitor": True},
            {"domain": "selfsigned.example", "tls": "required-verify", "monitor": True},
            {"domain": "good.example", "tls": "required", "monitor": True},
            {"domain": "off.example", "tls": "none"},
            {"domain": "off.example", "tls": "required", "monitor": True},
        ]
        routes = [
            {"domain": domain, "hosts": [f"[127.0.0.1]:{self.receivers[domain].port}"]} for domain in DOMAINS
        ]
        made.configure(document(public, self.private, destinations=entries, routes=routes))
        made.start()
        return made


@pytest.fixture(scope="module")
def stage(scene: Scene) -> Stage:
    return Stage(scene)


WANTED = {
    "clear.example": [
        "DCID D monitor: clear.example (destination_controls.destinations[0], required) would refuse:"
        " remote host does not offer STARTTLS"
    ],
    "selfsigned.example": [
        "DCID D TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "DCID D monitor: selfsigned.example (destination_controls.destinations[1], required-verify) would refuse:"
        " verify error: self-signed certificate (CN=selfsigned.example, issuer CN=selfsigned.example)",
    ],
    "good.example": ["DCID D TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"],
    "off.example": [
        "DCID D monitor: off.example (destination_controls.destinations[4], required) cannot be told:"
        " not tried: TLS is off for this destination"
    ],
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_mail_goes_and_the_log_says_what_the_entry_would_do(stage: Stage, domain: str) -> None:
    gateway = stage.gateway
    foretold = json.loads(gateway.command("explain", domain, "--live", "--json"))
    mid = submit(stage.private, to=f"user@{domain}")
    lines = delivery(gateway, mid)
    assert [line for line in lines if "TLS" in line or "monitor" in line] == WANTED[domain]
    assert any("Message done" in line for line in lines)
    (mail,) = stage.receivers[domain].wait_for_mail()
    assert (mail.tls is not None) is (domain in ("selfsigned.example", "good.example"))
    (address,) = foretold["delivery"]["hosts"][0]["addresses"]
    monitor = address["call"]["connections"][-1]["outcome"]["monitor"]
    told = [line for line in lines if " monitor: " in line]
    assert monitor["would"] == {0: "pass"}.get(len(told), "untold" if domain == "off.example" else "refuse")
    assert not told or told[0].endswith(monitor["reason"])
    assert foretold["rules"]["monitor"]["path"] == monitor["rule"]


def test_both_outcomes_are_events_and_counted(stage: Stage) -> None:
    gateway = stage.gateway
    mids = [submit(stage.private, to=f"user@{domain}") for domain in ("clear.example", "good.example")]
    for mid in mids:
        delivery(gateway, mid)
    events = FileLines(gateway.home / "logs" / "events.jsonl")
    try:
        done = json.loads(events.lines.wait_for(rf'"event":"Delivered".*"mid":{mids[0]},').string)
        assert done["tls"]["monitor"]["would"] == "refuse"
        wanted = r'"event":"DestinationMonitored".*"domain":"{}"'
        seen = json.loads(events.lines.wait_for(wanted.format("good.example")).string)
        assert (seen["would"], seen["reason"]) == ("pass", "")
        seen = json.loads(events.lines.wait_for(wanted.format("clear.example")).string)
        assert (seen["would"], seen["passed"]) == ("refuse", True)
    finally:
        events.close()
    counted = dict(
        re.findall(
            r'gatepost_monitor_out_total\{worker="0",would="(\w+)"\} (\d+)', gateway.command("metrics")
        )
    )
    assert int(counted["pass"]) >= 1
    assert int(counted["refuse"]) >= 1
