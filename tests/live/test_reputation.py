"""Reputation scores on a running gateway: senders of public addresses, DNS lists on a name server of the test's own.

The gateway and its name server are in one network namespace, the senders in another, one address each.
"""

from __future__ import annotations

import json
import re
import smtplib
import socket
from dataclasses import dataclass
from typing import Any

import pytest
from tests.fakes.dns_authority import DnsAuthority
from tests.live.peers.gateway import Document, Gateway, document
from tests.live.peers.namespaces import Network
from tests.live.peers.processes import FileLines
from tests.live.peers.scene import Scene

HERE, HERE6 = "203.0.113.1", "2001:db8::1"
BAD, ODD, FRIEND, NEW = "203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"
WORST = "203.0.113.14"
SIX = "2001:db8::666"
PORT = 2525

RECORDS = {
    "2.0.0.127.bad.example": {"A": ["127.0.0.2"]},
    "10.113.0.203.bad.example": {"A": ["127.0.0.2"]},
    "11.113.0.203.bad.example": {"A": ["127.0.0.4"]},
    "14.113.0.203.bad.example": {"A": ["127.0.0.2", "127.0.0.4", "127.0.0.9"]},
    "6.6.6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bad.example": {"A": ["127.0.0.2"]},
    "13.113.0.203.good.example": {"A": ["198.51.100.1"]},
    "2.0.0.127.good.example": {"A": ["127.0.0.2"]},
    "12.113.0.203.good.example": {"A": ["127.0.5.3"]},
    # A list that went away: its zone answers everything.
    **{f"{name}.gone.example": {"A": ["127.0.0.2"]} for name in ("2.0.0.127", "1.0.0.127", "13.113.0.203")},
}


def configuration(name_server: DnsAuthority) -> Document:
    made = document(PORT, PORT + 1, address=HERE)
    made["interfaces"].append({"name": "Data 6", "address": HERE6, "hostname": "mx.example.net"})
    listener = made["listeners"][0]
    listener["host_access"] = [
        {"group": "WORST", "senders": ["sbrs[-10.0:-8.0]"], "policy": "REFUSED"},
        {"group": "BLOCKED_LIST", "senders": ["sbrs[-10.0:-3.0]"], "policy": "BLOCKED"},
        {"group": "SUSPECTLIST", "senders": ["sbrs[-3.0:-1.0]"], "policy": "ACCEPTED"},
        {"group": "FRIENDS", "senders": ["sbrs[2:10]"], "policy": "ACCEPTED"},
        {"group": "UNKNOWNLIST", "senders": ["sbrs[none]"], "policy": "ACCEPTED"},
        {"group": "ALL", "policy": "BLOCKED"},
    ]
    made["listeners"].append({**listener, "name": "Six", "interface": "Data 6"})
    made["mail_flow_policies"].append({"name": "REFUSED", "action": "tcprefuse"})
    made["dns"] = {"servers": [f"127.0.0.1:{name_server.port}"], "reverse": False}
    made["reputation"] = {
        "lists": [
            {"zone": "bad.example", "weights": {"127.0.0.2": -4, "127.0.0.4": -1.4, "127.0.0.9": -6}},
            {"zone": "good.example", "weights": {"127.0.*.3": 2.5}},
            {"zone": "gone.example", "weight": -9},
        ]
    }
    return made


@dataclass
class Stage:
    """The gateway, and the two sides of its network."""

    network: Network
    gateway: Gateway
    events: FileLines

    def greeting(self, source: str) -> int:
        """What a sender of this address is told at first."""
        there = HERE6 if ":" in source else HERE
        with self.network.world(), smtplib.SMTP(timeout=20, source_address=(source, 0)) as client:
            code, _ = client.connect(there, PORT)
            return code

    def decision(self, source: str) -> dict[str, Any]:
        """The event of this sender's connection."""
        icid = self.gateway.wait_for_log(rf"New SMTP ICID (\d+) .* address {source} ")[1]
        row = self.events.lines.wait_for(rf'^{{"event":"ConnectionAdmitted".*"icid":{icid},.*$')
        found: dict[str, Any] = json.loads(row[0])
        return found


@pytest.fixture(scope="module")
def stage(scene: Scene) -> Stage:
    world = [f"{address}/24" for address in (BAD, ODD, FRIEND, NEW, WORST)]
    network = Network([f"{HERE}/24", f"{HERE6}/64"], [*world, f"{SIX}/64"])
    scene.ending.callback(network.close)
    with network.gateway():
        name_server = scene.ending.enter_context(DnsAuthority(RECORDS))
        gateway = scene.gateway()
        gateway.configure(configuration(name_server))
        gateway.start()
    events = FileLines(gateway.home / "logs" / "events.jsonl")
    scene.ending.callback(events.close)
    return Stage(network, gateway, events)


@pytest.mark.parametrize(
    ("source", "code", "line"),
    [
        (BAD, 554, "REJECT SG BLOCKED_LIST match sbrs[-10.0:-3.0] SBRS -4.0"),
        (ODD, 220, "ACCEPT SG SUSPECTLIST match sbrs[-3.0:-1.0] SBRS -1.4"),
        (FRIEND, 220, "ACCEPT SG FRIENDS match sbrs[2.0:10.0] SBRS 2.5"),
        (NEW, 220, "ACCEPT SG UNKNOWNLIST match sbrs[none] SBRS None"),
        (SIX, 554, "REJECT SG BLOCKED_LIST match sbrs[-10.0:-3.0] SBRS -4.0"),
    ],
)
def test_each_sender_meets_the_group_of_its_score(stage: Stage, source: str, code: int, line: str) -> None:
    assert stage.greeting(source) == code
    row = stage.decision(source)
    said = f"{row['action']} SG {row['group']} match {row['match']} SBRS {row['score']}"
    assert said == line
    stage.gateway.wait_for_log(f"ICID {row['icid']} {re.escape(line)}$")
    gone = {key: value for key, value in row["lists"][-1].items() if key != "detail"}
    assert gone == {"zone": "gone.example", "said": "left out", "answers": [], "weight": None}


def test_the_worst_is_dropped_without_a_number(stage: Stage) -> None:
    with stage.network.world(), socket.create_connection((HERE, PORT), 20, (WORST, 0)) as peer:
        peer.settimeout(20)
        assert peer.recv(100) == b""
    stage.gateway.wait_for_log(r"ICID 0 TCPREFUSE SG WORST match sbrs\[-10\.0:-8\.0\] SBRS -10\.0$")


def test_the_command_foretells_it(stage: Stage) -> None:
    with stage.network.gateway():
        found = json.loads(stage.gateway.command("reputation", BAD, "--json"))
    assert (found["score"], found["listeners"][0]["group"]) == (-4.0, "BLOCKED_LIST")
    assert [one["said"] for one in found["lists"]] == ["listed", "not listed", "left out"]


def test_an_answer_that_is_none_of_a_list_is_warned_of(stage: Stage) -> None:
    assert stage.greeting(NEW) == 220
    stage.gateway.wait_for_log(
        r"Warning: DNS list good\.example: an answer does not count: its answer 198\.51\.100\.1 is not one"
    )


def test_somebody_is_told_of_the_list_that_lists_everything(stage: Stage) -> None:
    stage.gateway.wait_for_log(r"The DNS list gone\.example lists everything")
