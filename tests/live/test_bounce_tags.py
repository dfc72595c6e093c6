"""Bounce tags between real servers: Exim computes and checks the same tags, and a report of Exim's comes back through the tag.

The gateway sends mail for partner.example to Exim; Exim hands everything on to the gateway, which refuses partner.example, so Exim
reports to the tagged sender, by the same way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pytest
from tests.live.peers.exim import PROGRAM, Exim
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.processes import run
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.submit import Refused, submit

KEY = "shared with exim"
SENDER = "joe@example.net"


@dataclass
class World:
    gateway: Gateway
    public: int
    private: int
    exim: Exim
    office: ScriptedReceiver

    def ask_exim(self, expression: str) -> str:
        """What Exim makes of an expression."""
        configuration = self.exim.folder / "expand.conf"
        configuration.write_text("primary_hostname = exim.example\n")
        done = run([PROGRAM, "-C", configuration, "-be", expression])
        return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    public, private = scene.ports.free(), scene.ports.free()
    office = scene.receiver()
    exim = scene.exim(relay_to=f"127.0.0.1:{public}")
    gateway = scene.gateway()
    routes = [{"domain": "partner.example", "hosts": [f"[127.0.0.1]:{exim.port}"]}]
    made = document(public, private, hop=f"[127.0.0.1]:{office.port}", routes=routes)
    made["listeners"][0]["recipient_access"] = [{"recipient": "example.net", "action": "accept"}]
    made["bounce_verification"] = {"domains": ["example.net"]}
    gateway.configure(made)
    gateway.start(workers=2)
    key = gateway.files / "key"
    key.write_text(f"{KEY}\n")
    gateway.command("bounce-keys", "new", "--file", key, "--number", "3")
    return World(gateway, public, private, exim, office)


def test_a_report_comes_back_through_its_tag(world: World) -> None:
    expression = f"${{prvs{{{SENDER}}}{{{KEY}}}{{3}}}}"
    before = world.ask_exim(expression)
    mid = submit(world.private, SENDER, "gone@partner.example")
    tag = world.exim.log.wait_for(r"<= (prvs=\S+) ")[1]
    assert tag in (before, world.ask_exim(expression))  # a day may end in between
    assert world.ask_exim(f"${{prvscheck{{{tag}}}{{{KEY}}}{{$prvscheck_result}}}}") == "1"
    world.gateway.wait_for_log(r"To: <gone@partner\.example> Rejected by RAT")
    world.office.wait_until(
        lambda seen: any(mail.recipients == (SENDER,) for mail in seen.mails), "the report of Exim"
    )
    [report] = [mail for mail in world.office.mails if mail.recipients == (SENDER,)]
    assert report.sender == ""
    assert b"gone@partner.example" in report.content
    world.gateway.wait_for_log(rf"MID {mid} ICID \d+ From: <{SENDER}>")


def test_a_tag_that_exim_made_is_known(world: World) -> None:
    tag = world.ask_exim(f"${{prvs{{ann@example.net}}{{{KEY}}}{{3}}}}")
    assert re.fullmatch(r"prvs=3\d{3}[0-9a-f]{6}=ann@example\.net", tag)
    submit(world.public, "", tag)
    world.office.wait_until(
        lambda seen: any(mail.recipients == ("ann@example.net",) for mail in seen.mails), "Ann's report"
    )


@pytest.mark.parametrize("recipient", [SENDER, f"prvs=3000000000={SENDER}"])
def test_a_report_of_forged_mail_is_refused(world: World, recipient: str) -> None:
    with pytest.raises(Refused, match=r"550 5\.7\.1 This address has not sent such mail"):
        submit(world.public, "", recipient)


def test_a_new_key_is_used_at_once_and_the_old_one_stays_known(world: World) -> None:
    old = world.ask_exim(f"${{prvs{{old@example.net}}{{{KEY}}}{{3}}}}")
    world.gateway.command("bounce-keys", "new")
    rows = json.loads(world.gateway.command("bounce-keys", "list", "--json"))
    assert [row["number"] for row in rows] == [4, 3]
    submit(world.private, "new@example.net", "gone@partner.example")
    world.exim.log.wait_for(r"<= prvs=4\S+=new@example\.net ")
    submit(world.public, "", old)
    world.gateway.command("bounce-keys", "delete", "3")
    with pytest.raises(Refused):
        submit(world.public, "", old)
