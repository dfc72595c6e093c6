"""The administrator's tools on a running gateway: queue, status, log, rotation, configuration and its history."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.clients import swaks
from tests.live.peers.gateway import COMMAND, Document, document
from tests.live.peers.processes import Program
from tests.live.peers.receiver import Script, StartTls, behaving
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, connections_of, incoming_of, settled, texts
from tests.live.peers.submit import submit, text_message

AUTHORITY = TestAuthority("Example CA")
ROTATE_BYTES = 20_480


class Site:
    """Mail for `up.example` is taken over TLS, `clear.example` in clear; `down.example` is put off for an hour."""

    def __init__(self, scene: Scene) -> None:
        self.up = scene.receiver(Script(certificate=AUTHORITY.issue(["up.example"])))
        self.clear = scene.receiver()
        self.down = scene.receiver(
            Script(starttls=StartTls.NOT_OFFERED, replies={"RCPT": "450 4.2.0 not now"})
        )
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.gateway.configure(self.document(), comment="the beginning")
        self.gateway.start(workers=2)

    def document(self) -> Document:
        peers = {"up": self.up, "clear": self.clear, "down": self.down, "held": self.down}
        routes = [
            {"domain": f"{name}.example", "hosts": [f"[127.0.0.1]:{peer.port}"]}
            for name, peer in peers.items()
        ]
        made = document(self.public, self.private, routes=routes)
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
        made["delivery"] = {"timeouts": {"idle": "1s"}}
        return made

    def send(self, to: str, sender: str = "sender@client.example", subject: str = "Testing") -> int:
        return submit(self.private, sender, to, text_message(subject=subject))

    def put_off(self, to: str = "user@down.example") -> int:
        """A message that waits for an hour."""
        mid = self.send(to, sender="")
        settled(self.gateway, mid)
        self.hung_up()
        return mid

    def hung_up(self) -> None:
        """No delivery connection is open to the receiver that puts mail off, so the next meets its new script."""
        self.down.wait_until(lambda seen: seen.open == 0, "the end of all connections")

    def json(self, *words: str) -> Any:
        return json.loads(self.gateway.command(*words, "--json"))

    def queue(self) -> dict[int, dict[str, Any]]:
        return {row["mid"]: row for row in self.json("queue", "list")}

    def find(self, *words: str) -> list[str]:
        return texts(self.gateway.command("log", "find", *words).splitlines())


@pytest.fixture(scope="module")
def shared(scene: Scene) -> Site:
    return Site(scene)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """The site with an empty queue before and after, and a receiver that puts mail off."""
    script = shared.down.script
    yield shared
    shared.down.script = script
    shared.hung_up()
    shared.gateway.command("queue", "delete", "--all", "--yes")


# --- the queue -------------------------------------------------------------------------------------


def test_what_waits_is_listed_and_shown(site: Site) -> None:
    mid = site.put_off()
    row = site.queue()[mid]
    assert (row["sender"], row["recipients"], row["state"], row["attempts"]) == (
        "",
        ["user@down.example"],
        "deferred",
        1,
    )
    assert row["reason"] == "4.2.0 not now"
    shown = site.json("queue", "show", str(mid))
    (recipient,) = shown["recipients"]
    assert (recipient["state"], recipient["status"], recipient["code"]) == ("waiting", "4.1.0", "450")
    assert recipient["remote"] == f"[127.0.0.1]:{site.down.port}"
    assert shown["listener"] == "OutgoingMail"
    person = site.gateway.command("queue", "list")
    assert re.search(rf"\b{mid}\b.*deferred.*user@down\.example", person)
    assert "4.2.0 not now" in site.gateway.command("queue", "show", str(mid))


def test_retry_delivers_now(site: Site) -> None:
    mid = site.put_off()
    site.down.script = behaving(site.down.script, replies={})
    site.gateway.command("queue", "retry", str(mid))
    site.gateway.wait_for_log(rf"Message finished MID {mid} done")
    assert mid not in site.queue()


def test_a_held_message_is_tried_only_after_its_release(site: Site) -> None:
    mid = site.put_off()
    site.gateway.command("queue", "hold", str(mid))
    site.down.script = behaving(site.down.script, replies={})
    assert site.queue()[mid]["state"] == "held"
    said = site.gateway.refused("queue", "retry", str(mid), status=1)
    assert f"message {mid} is held" in said
    site.gateway.command("queue", "release", str(mid))
    site.gateway.wait_for_log(rf"Message finished MID {mid} done")
    held = site.gateway.wait_for_log(rf"MID {mid} held: held by (\S+)$")
    assert held[1].startswith("local:")
    site.gateway.wait_for_log(rf"MID {mid} released by local:\d+$")


def test_delete_removes_and_tells_nobody(site: Site) -> None:
    mid, other = site.put_off(), site.put_off("user@held.example")
    site.gateway.command("queue", "delete", "--domain", "held.example", "--yes")
    queue = site.queue()
    assert mid in queue
    assert other not in queue
    site.gateway.wait_for_log(rf"MID {other} RID \[0\] deleted by local:\d+$")
    refused = site.gateway.refused("queue", "delete", str(mid), status=2)
    assert "--yes" in refused


def test_bounce_returns_to_the_sender(site: Site) -> None:
    mid = site.send("user@down.example", sender="author@up.example")
    settled(site.gateway, mid)
    site.gateway.command("queue", "bounce", str(mid), "--yes")
    site.gateway.wait_for_log(rf"Bounced: DCID 0 MID {mid} to RID 0 - 5\.3\.0 - Bounced by administrator ")
    report = int(site.gateway.wait_for_log(rf"MID (\d+) was generated for bounce of MID {mid}$")[1])
    site.gateway.wait_for_log(rf"Message finished MID {report} done")
    assert any(mail.recipients == ("author@up.example",) for mail in site.up.wait_for_mail())


def test_an_unknown_message_is_refused(site: Site) -> None:
    said = site.gateway.refused("queue", "show", "999999999", status=1)
    assert "there is no message 999999999 in the queue" in said


# --- status ----------------------------------------------------------------------------------------


def test_status_tells_processes_listeners_and_queue(site: Site) -> None:
    site.put_off()
    found = site.json("status")
    assert [worker["state"] for worker in found["workers"]] == ["running", "running"]
    assert {worker["pid"] for worker in found["workers"]} <= set(site.gateway.children())
    assert {row["name"]: row["port"] for row in found["listeners"]} == {
        "IncomingMail": site.public,
        "OutgoingMail": site.private,
    }
    assert found["queue"]["messages"] == len(site.queue()) == 1
    assert found["counters"]["messages_accepted"] >= 1
    assert found["problems"] == []
    latest = site.json("config", "history")[0]["version"]
    assert found["configuration"]["version"] == latest
    assert {worker["version"] for worker in found["workers"]} == {latest}
    person = site.gateway.command("status")
    assert re.search(rf"OutgoingMail +127\.0\.0\.1:{site.private} ", person)


# --- the log ---------------------------------------------------------------------------------------


@pytest.fixture
def two_messages(site: Site) -> tuple[int, int]:
    """One over TLS both ways, one in clear both ways, both finished and their connections closed."""
    sent = swaks(site.private, "--tls", sender="one@client.example", to="user@up.example")
    encrypted = int(re.search(r"queued as (\d+)", sent.transcript)[1])  # type: ignore[index]
    clear = site.send("user@clear.example", sender="two@client.example")
    for mid in (encrypted, clear):
        settled(site.gateway, mid)
        site.gateway.wait_for_log(rf"ICID {incoming_of(site.gateway, mid)} close$")
        site.gateway.wait_for_log(rf"DCID {connections_of(site.gateway, mid)[0]} close$")
    return encrypted, clear


def test_lines_are_found_by_their_numbers(site: Site, two_messages: tuple[int, int]) -> None:
    mid, other = two_messages
    icid, (dcid,) = incoming_of(site.gateway, mid), connections_of(site.gateway, mid)
    whole = site.find("--mid", str(mid))
    assert whole == about(site.gateway, f"ICID {icid}", f"DCID {dcid}", f"MID {mid}")
    for option, number in (("--icid", icid), ("--dcid", dcid)):
        found = site.find(option, str(number))
        assert set(about(site.gateway, f"{option[2:].upper()} {number}")) <= set(found)
        assert f"Message finished MID {mid} done" in found
        assert not any(f"MID {other} " in line for line in found)
    rows = site.json("log", "find", "--mid", str(mid))
    assert [row["text"] for row in rows] == [line.removeprefix("Warning: ") for line in whole]


def test_lines_are_found_by_address(site: Site, two_messages: tuple[int, int]) -> None:
    encrypted, clear = two_messages
    found = site.find("--address", "one@client.example", "--since", "1h")
    assert f"Message finished MID {encrypted} done" in found
    assert not any(f"MID {clear} " in line for line in found)
    by_domain = site.find("--address", "@clear.example")
    assert f"Message finished MID {clear} done" in by_domain
    assert site.gateway.command("log", "find", "--address", "nobody@nowhere.example") == ""


def test_lines_are_found_by_the_outcome_of_tls(site: Site, two_messages: tuple[int, int]) -> None:
    encrypted, clear = two_messages
    with_tls, without = site.find("--tls", "success"), site.find("--tls", "none")
    assert f"Message finished MID {encrypted} done" in with_tls
    assert f"Message finished MID {clear} done" in without
    assert not any(" TLS success " in line for line in without)
    assert f"DCID {connections_of(site.gateway, clear)[0]} close" not in with_tls
    site.up.script = behaving(site.up.script, starttls=StartTls.CLOSES)
    mid = site.send("user@up.example")
    settled(site.gateway, mid)
    site.up.script = behaving(site.up.script, starttls=StartTls.WORKS)
    failed = site.find("--tls", "failed")
    assert any(re.fullmatch(r"DCID \d+ TLS failed: .+", line) for line in failed)
    assert any(f"MID {mid} " in line for line in failed)
    assert not any(f"MID {clear} " in line for line in failed)


def test_follow_prints_lines_as_they_come(site: Site) -> None:
    follow = Program([*COMMAND, "log", "follow", "--home", site.gateway.home], name="gatepost log follow")
    with follow:
        # It starts at the end of the log: mail goes in until it is seen to follow.
        mids = [site.send("user@clear.example")]
        for _ in range(20):
            settled(site.gateway, mids[-1])
            if follow.output.matching(r"Message finished MID \d+ done"):
                break
            mids.append(site.send("user@clear.example"))
        last = site.send("user@clear.example", subject="the last")
        follow.output.wait_for(rf"MID {last} Subject \"the last\"")
        follow.output.wait_for(rf"Message finished MID {last} done")
    assert not [line for line in follow.output.all if "Traceback" in line]


def test_events_say_the_same_as_lines(site: Site, two_messages: tuple[int, int]) -> None:
    mid, _ = two_messages
    site.gateway.event("MessageFinished", rf'"mid":{mid}\b')
    events = [json.loads(line) for line in site.gateway.events.all]
    kinds = [event["event"] for event in events if event.get("mid") == mid]
    assert kinds == [
        "MessageStarted",
        "RecipientAccepted",
        "MessageReceived",
        "MessageQueued",
        "DeliveryStarted",
        "Delivered",
        "MessageFinished",
    ]


def test_rotation_keeps_every_line(site: Site) -> None:
    """Small files for once: lines go on in the next file, whole, and `find` reads them all."""
    made = site.document()
    made["log_subscriptions"] = [
        {"name": "mail_logs", "type": "mail", "level": "info", "rotate": f"{ROTATE_BYTES}B", "keep": 50}
    ]
    site.gateway.configure(made)
    mids = [site.send("user@clear.example", subject="filling " * 20) for _ in range(60)]
    for mid in mids:
        settled(site.gateway, mid)
    logs = site.gateway.home / "logs"
    rotated = sorted(logs.glob("mail_logs.@*"))
    assert rotated
    for file in rotated:
        assert re.fullmatch(r"mail_logs\.@\d{8}T\d{6}(\.\d+)?", file.name)
        lines = texts(file.read_text().splitlines())
        assert lines[-1] == "End Logfile"
        _check_head(lines)
    _check_head(texts((logs / "mail_logs").read_text().splitlines()))
    whole = [line for file in (*rotated, logs / "mail_logs") for line in _lines(file)]
    finished = [int(m[1]) for line in whole if (m := re.search(r"Message finished MID (\d+) done", line))]
    assert len(finished) == len(set(finished))
    assert set(mids) <= set(finished)
    assert f"Message finished MID {mids[0]} done" in site.find("--mid", str(mids[0]))
    site.gateway.configure(site.document())


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def _check_head(lines: list[str]) -> None:
    assert lines[0] == "Begin Logfile"
    assert re.fullmatch(r"Version: \S+ SN: \S+", lines[1])
    assert lines[2] == "Time offset from UTC: 0 seconds"


# --- the configuration -----------------------------------------------------------------------------


def test_rollback_on_the_running_gateway(site: Site) -> None:
    """A rejected domain, then back: the versions before stay, and the log names who did what."""
    before = site.json("config", "history")[0]["version"]
    made = site.document()
    made["smtp_routes"].insert(0, {"domain": "gone.example", "hosts": ["reject"]})
    made["smtp_routes"] = [route for route in made["smtp_routes"] if route["domain"] != "up.example"]
    made["smtp_routes"].insert(0, {"domain": "up.example", "hosts": ["reject"]})
    site.gateway.configure(made, comment="no more mail")
    mid = site.send("user@up.example", sender="")
    site.gateway.wait_for_log(rf"Double bounce: MID {mid} to RID 0 - 5\.7\.1 - Delivery not authorized ")

    site.gateway.command("config", "rollback", str(before), "--comment", "that was wrong")
    mid = site.send("user@up.example")
    site.gateway.wait_for_log(rf"Message finished MID {mid} done")
    rows = site.json("config", "history")
    assert [row["comment"] for row in rows[:2]] == ["that was wrong", "no more mail"]
    assert rows[0]["version"] == before + 2
    assert "gone.example" not in site.gateway.command("config", "show")
    site.gateway.wait_for_log(rf"Configuration version {before + 1} by local:\d+ is active: no more mail$")
    site.gateway.wait_for_log(rf"Configuration version {before + 2} by local:\d+ is active: that was wrong$")


def test_a_faulty_file_is_told_whole_and_changes_nothing(site: Site) -> None:
    before = site.json("config", "history")
    made = site.document()
    made["listeners"][0]["certificate"] = "nowhere"
    made["listeners"][1]["port"] = site.public
    made["mail_flow_policys"] = []
    file = site.gateway.files / "faulty.yaml"
    file.write_text(json.dumps(made))
    said = site.gateway.refused("config", "apply", file, status=78)
    assert "mail_flow_policys" in said
    assert "mail_flow_policies" in said  # the near name
    assert site.json("config", "history") == before
    del made["mail_flow_policys"]
    file.write_text(json.dumps(made))
    said = site.gateway.refused("config", "apply", file, status=78)
    assert re.search(r"^listeners\[0\]\.certificate: ", said, re.MULTILINE)
    assert re.search(r"^listeners\[1\]\.port: ", said, re.MULTILINE)
    assert site.json("config", "history") == before
    assert site.send("user@up.example")
