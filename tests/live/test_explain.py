"""`gatepost explain --live` against what happens: for each inhabitant of the DANE and the MTA-STS scene the same host, verdict and words.

Everything is explained before a message to the same domain is sent; then log and receiver are compared with what was foretold.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.live import test_dane as dane
from tests.live import test_mta_sts as mta_sts
from tests.live.peers.gateway import Gateway
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery, settled


def explained(gateway: Gateway, name: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.command("explain", f"user@{name}.example", *options, "--json"))
    return found


def check_as_foretold(
    gateway: Gateway, name: str, foretold: dict[str, Any], mid: int, receiver: ScriptedReceiver
) -> None:
    """The message's story is the one that was foretold."""
    (host,) = foretold["delivery"]["hosts"]
    call = host["addresses"][0]["call"]
    outcome = call["connections"][-1]["outcome"]
    settled(gateway, mid)
    if host["plan"]["forbidden"]:
        told = [line for line in about(gateway, f"domain: {name}.example") if "Required TLS" in line]
        assert told[-1].endswith(f"reason: {outcome['reason']}")
    else:
        lines = delivery(gateway, mid)
        assert [line for line in lines if line.startswith("DCID D TLS ")] == foretold_lines(
            call["connections"][-1], f"{name}.example"
        )
    if call["passes"]:
        assert foretold["delivery"]["result"]["result"] == "deliverable"
        receiver.wait_until(lambda seen: arrived(seen, name) == 1, f"the mail of {name}")
    else:
        assert foretold["delivery"]["result"]["result"] == "delay"
        assert arrived(receiver, name) == 0
        (delayed,) = [line for line in about(gateway, f"MID {mid}") if line.startswith("Delayed: ")]
        assert call["status"] in delayed
        assert call["failure"].replace("'", "\\'") in delayed


def foretold_lines(connection: dict[str, Any], domain: str) -> list[str]:
    """The TLS line that the log has to have of such a connection."""
    outcome, session = connection["outcome"], connection["session"]
    if outcome["verdict"] == "refused":
        return [f"DCID D TLS failed: {outcome['reason']}"]
    if session is None:
        return []
    verified = f" for {domain} verified {outcome['verified']}" if outcome["verified"] else ""
    return [f"DCID D TLS success protocol {session['protocol']} cipher {session['cipher']}{verified}"]


def arrived(receiver: ScriptedReceiver, name: str) -> int:
    return sum(mail.recipients == (f"user@{name}.example",) for mail in receiver.mails)


# --- DANE ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(scene: Scene) -> dane.World:
    network = Network([f"{dane.GATEWAY}/24"], [f"{address}/24" for address in (dane.GOOD, dane.PLAIN)])
    scene.ending.callback(network.close)
    made = dane.World(scene, network)
    made.gateway.wait_for_log(r"is believed about DNSSEC$")
    return made


@pytest.mark.parametrize("name", dane.DOMAINS)
def test_dane_is_as_foretold(signed: dane.World, name: str) -> None:
    foretold = explained(signed.gateway, name, "--live")
    assert foretold["delivery"]["dnssec"]["believed"]
    receiver = signed.good if dane.DOMAINS[name].host == dane.GOOD else signed.plain
    assert arrived(receiver, name) == 0
    check_as_foretold(signed.gateway, name, foretold, signed.sent(name), receiver)


def test_the_records_and_the_reasons_are_shown(signed: dane.World) -> None:
    (host,) = explained(signed.gateway, "unusable")["delivery"]["hosts"]
    assert host["tlsa"]["records"][0]["unusable"] == "usage 1 is not for SMTP"
    assert "nothing without TLS" in host["plan"]["may_pass"][0]
    (host,) = explained(signed.gateway, "silent")["delivery"]["hosts"]
    assert host["tlsa"]["state"] == "failed"
    assert host["addresses"][0]["call"] is None


def test_the_audit_has_a_line_and_nobody_else_was_told(signed: dane.World) -> None:
    before = len(signed.gateway.log.all)
    explained(signed.gateway, "wrong", "--live")
    signed.gateway.wait_for_log(
        r"explain\.live by local:\d+: wrong\.example: delay, 1 address called$", count=1
    )
    new = [line for line in signed.gateway.log.all[before:] if "explain.live" not in line]
    assert not [line for line in new if "wrong.example" in line or "DCID" in line]


def test_it_is_readable_in_80_columns(signed: dane.World) -> None:
    text = signed.gateway.command("explain", "misnamed.example", "--live")
    assert max(map(len, text.splitlines())) <= 80
    assert "127.0.0.1:53 is believed: it passed the probe" in text
    assert "A message would be put off and tried again: " in text


def test_a_candidate_is_explained_before_it_is_committed(signed: dane.World) -> None:
    changed = signed.configuration()
    changed["destination_controls"]["destinations"] = [  # type: ignore[index]
        {"domain": "clear.example", "tls": "required", "reason": "they promised", "until": "2099-12-31"}
    ]
    file = signed.gateway.files / "pending.yaml"
    file.write_text(json.dumps(changed))
    signed.gateway.command("config", "apply", file, "--pending")
    try:
        pending = explained(signed.gateway, "clear", "--live", "--pending")
        assert pending["pending"]
        assert pending["rules"]["entry"]["reason"] == "they promised"
        assert pending["delivery"]["result"]["failure"] == (
            "TLS required: remote host does not offer STARTTLS"
        )
        assert explained(signed.gateway, "clear", "--live")["delivery"]["result"]["verdict"] == "clear"
    finally:
        signed.gateway.command("config", "clear")


def test_a_domain_that_is_not_there(signed: dane.World) -> None:
    found = explained(signed.gateway, "nowhere", "--live")
    assert found["delivery"]["result"]["result"] == "bounce"
    assert found["delivery"]["result"]["failure"] == (
        "DNS Hard Error looking up nowhere.example (MX):  NXDomain"
    )


# --- MTA-STS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policed(scene: Scene) -> mta_sts.World:
    addresses = (mta_sts.NAME_SERVER, mta_sts.WEB, mta_sts.GOOD, mta_sts.STRANGER, mta_sts.PLAIN)
    network = Network([f"{mta_sts.GATEWAY}/24"], [f"{address}/24" for address in addresses])
    scene.ending.callback(network.close)
    return mta_sts.World(scene, network)


@pytest.mark.parametrize("name", mta_sts.DOMAINS)
def test_mta_sts_is_as_foretold(policed: mta_sts.World, name: str) -> None:
    foretold = explained(policed.gateway, name, "--live")
    receiver = policed.receivers[mta_sts.DOMAINS[name].host]
    check_as_foretold(policed.gateway, name, foretold, policed.send(name), receiver)


def test_why_a_policy_does_not_count_is_said(policed: mta_sts.World) -> None:
    (policy,) = explained(policed.gateway, "silent")["delivery"]["policies"]
    assert (policy["mode"], policy["problem"]) == ("", "the web server answered 404")
    (policy,) = explained(policed.gateway, "good")["delivery"]["policies"]
    assert (policy["mode"], policy["hosts"], policy["id"]) == ("enforce", ["*.good.example"], "1")
