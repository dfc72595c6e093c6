"""Alerts of a running gateway: by mail through itself, under the recipient domain's TLS plan, once, also over a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes.ca import Issued, TestAuthority
from tests.live.peers.gateway import Document, Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls

ADMIN = "admin@example.org"
NewReceiver = Callable[..., ScriptedReceiver]


def ending(authority: TestAuthority, days: float, *names: str) -> Issued:
    """A certificate of a year that ends in some days, and half an hour."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days, minutes=30)
    return authority.issue(list(names), start=end - timedelta(days=398), end=end)


def configuration(ports: Ports, hop: ScriptedReceiver, certificate: str, **sections: object) -> Document:
    recipients = [{"address": ADMIN, "classes": ["system"], "severities": ["critical", "warning"]}]
    made = document(
        ports.free(),
        ports.free(),
        hop=f"[127.0.0.1]:{hop.port}",
        certificate=certificate,
        destinations=[{"domain": "example.org", "tls": "required"}],
    )
    return made | {"alerts": {"recipients": recipients}} | sections


@pytest.fixture
def hop(receiver: NewReceiver, authority: TestAuthority) -> ScriptedReceiver:
    """The recipients' server."""
    return receiver(Script(certificate=authority.issue(["mx.example.org"])))


def test_a_certificate_that_ends_in_three_days_is_one_mail(
    gateway: Gateway, hop: ScriptedReceiver, ports: Ports, authority: TestAuthority
) -> None:
    gateway.import_certificate("gw", ending(authority, 3, "mx.example.net"))
    made = configuration(ports, hop, "gw")
    gateway.configure(made)
    gateway.start(workers=2)
    (mail,) = hop.wait_for_mail()
    assert mail.sender == ""
    assert mail.recipients == (ADMIN,)
    assert mail.tls is not None  # the destination's level holds for the gateway's own mail
    message = mail.message
    assert message["Subject"] == "Critical <System> gw.example.net: Certificate gw expires in 3 days"
    assert message["From"].addresses[0].addr_spec == "alert@gw.example.net"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "CN=mx.example.net" in text
    assert "`gatepost cert renew gw`" in text
    gateway.wait_for_log(r"Warning: Expires in 3 days: certificate gw CN=mx\.example\.net until ")
    gateway.wait_for_log(r"Alert \(critical\) to 1 recipient: Certificate gw expires in 3 days")
    mid = gateway.wait_for_log(r"Start MID (\d+) ICID 0")[1]
    gateway.wait_for_log(rf"MID {mid} ICID 0 RID 0 To: <{ADMIN}>")
    gateway.wait_for_log(rf"Message finished MID {mid} done")
    shown = json.loads(gateway.command("status", "--json"))["certificates"]
    assert (shown["expiring"], shown["telling"][0]["name"]) == (1, "gw")
    assert "1 expiring soon; certificate gw ends first" in gateway.command("status")

    assert gateway.stop() == 0
    gateway.import_certificate("other", ending(authority, 2, "in.example.net"))
    made["listeners"][0]["certificate"] = "other"
    gateway.configure(made)
    gateway.start(workers=2)
    _, second = hop.wait_for_mail(2)
    # The same look would have told of both; the first was told before the restart.
    assert second.message["Subject"].endswith("Certificate other expires in 2 days")


def test_an_alert_waits_for_a_gateway_that_can_send_it(
    gateway: Gateway, hop: ScriptedReceiver, ports: Ports, authority: TestAuthority
) -> None:
    """The recipients' server is down: the mail waits in the queue like any other, and comes when it is back."""
    hop.script = Script(starttls=StartTls.NOT_OFFERED, replies={"greeting": "421 4.3.2 Not now"})
    gateway.import_certificate("gw", ending(authority, -1, "mx.example.net"))
    gateway.configure(configuration(ports, hop, "gw"))
    gateway.start()
    gateway.wait_for_log(r"Expired: certificate gw CN=mx\.example\.net since ")
    gateway.wait_for_log(r"Delayed: DCID \d+ MID \d+ to RID 0")
    assert hop.mails == []
    hop.script = Script(certificate=authority.issue(["mx.example.org"]))
    (mail,) = hop.wait_for_mail()
    assert mail.message["Subject"].endswith("Certificate gw has expired")


def test_a_test_alert_says_to_whom_it_went(gateway: Gateway, hop: ScriptedReceiver, ports: Ports) -> None:
    gateway.configure(configuration(ports, hop, "Demo"))
    assert "not running" in gateway.refused("alert", "test", status=69)
    gateway.start()
    said = gateway.command("alert", "test", "--severity", "warning")
    assert ADMIN in said
    (mail,) = hop.wait_for_mail()
    assert "Test alert" in mail.message["Subject"]
    nobody = gateway.refused("alert", "test", "--severity", "information", status=1)
    assert "nobody is subscribed" in nobody
