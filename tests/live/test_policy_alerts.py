"""Alerts of the outgoing TLS policy on a running gateway: required TLS that fails and works again (R30), entries that end, name servers.

Everything goes by mail through the gateway itself, to a server of the administrators' own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import Document, Gateway, document
from tests.live.peers.mail import Mail
from tests.live.peers.ports import Ports
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.submit import submit
from tests.live.peers.web import Answer, Request, WebServer

ADMIN, QUIET_ADMIN = "admin@example.org", "grave@example.org"
NewReceiver = Callable[..., ScriptedReceiver]
FAILED = "Required TLS could not be had: domain: partner.example "
NO_STARTTLS = Script(starttls=StartTls.NOT_OFFERED)


@pytest.fixture
def office(receiver: NewReceiver, authority: TestAuthority) -> ScriptedReceiver:
    """The administrators' server."""
    return receiver(Script(certificate=authority.issue(["mx.example.org"])))


class Configured:
    """A configuration, and the port that takes mail for delivery."""

    def __init__(
        self, ports: Ports, office: ScriptedReceiver, partner: ScriptedReceiver | None = None
    ) -> None:
        self.port = ports.free()
        routes = []
        if partner is not None:
            routes.append({"domain": "partner.example", "hosts": [f"[127.0.0.1]:{partner.port}"]})
        self.document: Document = document(
            ports.free(), self.port, hop=f"[127.0.0.1]:{office.port}", routes=routes
        )
        self.controls["global"] = {"alert_on_required_tls_failure": True}
        self.document["alerts"] = {
            "recipients": [
                {"address": ADMIN, "classes": ["system"], "severities": ["warning", "information"]},
                {"address": QUIET_ADMIN, "severities": ["critical"]},
            ]
        }

    @property
    def controls(self) -> dict[str, Any]:
        controls: dict[str, Any] = self.document["destination_controls"]
        return controls


class Service:
    """A web service that takes alerts. It answers 503 `refuses` times."""

    def __init__(self, port: int, refuses: int) -> None:
        self.taken: list[tuple[Mapping[str, str], bytes]] = []
        self.refused = 0
        self._refuses = refuses
        self._changed = threading.Condition()
        self._server = WebServer("127.0.0.1", port, self._answer)
        self.url = f"http://127.0.0.1:{port}/hook/unspoken"
        self.close = self._server.close

    def _answer(self, request: Request) -> Answer:
        with self._changed:
            refused = self.refused < self._refuses
            self.refused += refused
            if not refused:
                self.taken.append((request.headers, request.body))
            self._changed.notify_all()
        return Answer(503 if refused else 204)

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 60)


def subject(mail: Mail) -> str:
    return str(mail.message["Subject"]).partition("gw.example.net: ")[2]


def test_required_tls_that_fails_is_one_mail_and_its_end_another(
    gateway: Gateway, office: ScriptedReceiver, receiver: NewReceiver, ports: Ports, authority: TestAuthority
) -> None:
    partner = receiver(NO_STARTTLS)
    made = Configured(ports, office, partner)
    made.controls["destinations"] = [{"domain": "partner.example", "tls": "required"}]
    gateway.configure(made.document)
    gateway.start(workers=2)
    submit(made.port, "sender@sender.example", "user@partner.example")
    (mail,) = office.wait_for_mail()
    assert mail.sender == ""
    assert mail.recipients == (ADMIN,)
    assert mail.message["Subject"].startswith("Warning <System> ")
    assert subject(mail) == "Required TLS failed: partner.example"
    text = mail.message.get_content()
    assert "Destination:  partner.example" in text
    assert "Reason:  remote host does not offer STARTTLS" in text
    gateway.wait_for_log(r"Alert \(warning\) to 1 recipient: Required TLS failed: partner\.example")

    # The retries fail too, also after a restart, and make no second mail.
    gateway.wait_for_log(r"Alert \(warning\) to 0 recipients: .*a short while ago")
    assert gateway.stop() == 0
    gateway.start(workers=2)
    failed = len(gateway.log.matching(FAILED))
    gateway.wait_for_log(FAILED, count=failed + 3)
    assert [subject(one) for one in office.mails] == ["Required TLS failed: partner.example"]
    assert partner.mails == []

    partner.script = Script(certificate=authority.issue(["mx.partner.example"]))
    _, cleared = office.wait_for_mail(2)
    partner.wait_for_mail()
    assert cleared.recipients == (ADMIN,)
    assert cleared.message["Subject"].startswith("Information <System> ")
    assert subject(cleared) == "Required TLS works again: partner.example"
    assert "TLSv1.3" in cleared.message.get_content()


def test_a_certificate_that_is_not_verified_fails_required_tls_too(
    gateway: Gateway, office: ScriptedReceiver, receiver: NewReceiver, ports: Ports, authority: TestAuthority
) -> None:
    """R27: and a domain whose level was never required is never told of."""
    partner = receiver(Script(certificate=authority.issue(["mx.partner.example"])))
    made = Configured(ports, office, partner)
    made.controls["destinations"] = [{"domain": "partner.example", "tls": "required-verify"}]
    gateway.configure(made.document)
    gateway.start()
    submit(made.port, "sender@sender.example", "user@partner.example")
    (mail,) = office.wait_for_mail()
    assert subject(mail) == "Required TLS failed: partner.example"
    assert "Reason:  verify error: " in mail.message.get_content()
    assert partner.mails == []


def test_without_the_switch_nobody_is_told(
    gateway: Gateway, office: ScriptedReceiver, receiver: NewReceiver, ports: Ports
) -> None:
    partner = receiver(NO_STARTTLS)
    made = Configured(ports, office, partner)
    made.controls["destinations"] = [{"domain": "partner.example", "tls": "required"}]
    made.controls["global"] = {"alert_on_required_tls_failure": False}
    gateway.configure(made.document)
    gateway.start()
    submit(made.port, "sender@sender.example", "user@partner.example")
    gateway.wait_for_log(FAILED)
    # Switched on, the next failure is told; so the first was seen and passed over.
    made.controls["global"] = {"alert_on_required_tls_failure": True}
    gateway.configure(made.document)
    (mail,) = office.wait_for_mail()
    assert subject(mail) == "Required TLS failed: partner.example"


def test_an_entry_that_ends_is_told_of_with_what_holds_then(
    gateway: Gateway, office: ScriptedReceiver, ports: Ports
) -> None:
    made = Configured(ports, office)
    today = datetime.now(UTC).date()
    made.controls["destinations"] = [
        {"domain": "week.example", "tls": "none", "until": str(today + timedelta(days=5)), "reason": "T-1"},
        {
            "domain": "over.example",
            "tls": "required-verify",
            "until": str(today - timedelta(days=2)),
            "reason": "T-2",
        },
    ]
    gateway.configure(made.document)
    gateway.start()
    mails = {subject(mail): mail.message.get_content() for mail in office.wait_for_mail(2)}
    week = mails["Exception for week.example ends in 6 days"]
    assert "T-1" in week
    assert "stricter (preferred instead of none)" in " ".join(week.split())
    over = mails["Exception for over.example has ended"]
    assert "weaker" in over
    assert "destination_controls.default" in over


def test_a_name_server_that_does_not_validate_is_told_of_and_shown(
    gateway: Gateway, office: ScriptedReceiver, ports: Ports
) -> None:
    zone = {
        "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
        "bogus.example": {"A": ["203.0.113.99"]},
    }
    with DnsAuthority(zone, address="127.0.0.1", port=ports.free(), ad=True) as dns:
        made = Configured(ports, office)
        made.controls["default"]["dane"] = "opportunistic"
        made.document["dns"] = {
            "servers": [f"127.0.0.1:{dns.port}"],
            "reverse": False,
            "probe": {"signed": "signed.example", "bogus": "bogus.example"},
        }
        gateway.configure(made.document)
        gateway.start()
        (mail,) = office.wait_for_mail()
        assert subject(mail) == f"Name server 127.0.0.1:{dns.port} is not believed about DNSSEC"
        assert "takes the broken signature of bogus.example" in " ".join(mail.message.get_content().split())
        (shown,) = json.loads(gateway.command("status", "--json"))["name_servers"]
        assert (shown["server"], shown["believed"]) == (f"127.0.0.1:{dns.port}", False)
        status = " ".join(gateway.command("status").split())
        assert "not believed about DNSSEC: it takes the broken signature" in status

        dns.behave("bogus.example", Behaviour.BOGUS)
        gateway.configure(made.document)  # every commit looks again
        _, cleared = office.wait_for_mail(2)
        assert subject(cleared) == f"Name server 127.0.0.1:{dns.port} is believed about DNSSEC again"
        assert "believed about DNSSEC, since" in gateway.command("status")


def test_a_webhook_gets_a_signed_document_also_when_it_was_down(
    gateway: Gateway, office: ScriptedReceiver, ports: Ports
) -> None:
    service = Service(ports.free(), refuses=1)
    try:
        made = Configured(ports, office)
        made.document["alerts"]["webhooks"] = [{"url": service.url, "severities": ["critical"]}]
        gateway.configure(made.document)
        secret = "the secret of this live test"
        gateway.command("alert", "secret", text=f"{secret}\n".encode())
        gateway.start()
        gateway.command("alert", "test", "--severity", "critical")
        service.wait(lambda: service.refused == 1)
        gateway.wait_for_log(r"Alert cannot be posted to http://127\.0\.0\.1:\d+: it answered 503; it waits")
        assert gateway.stop() == 0
        gateway.start()
        service.wait(lambda: len(service.taken) == 1)
        ((headers, body),) = service.taken
        signed = headers["X-Gatepost-Timestamp"].encode() + b"." + body
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["X-Gatepost-Signature"] == f"sha256={expected}"
        assert headers["Content-Type"] == "application/json"
        document = json.loads(body)
        assert (document["severity"], document["state"], document["gateway"]) == (
            "critical",
            "trouble",
            "gw.example.net",
        )
        assert document["subject"].startswith("Test alert")
        gateway.wait_for_log(r"Alert was posted to http://127\.0\.0\.1:\d+: Test alert")
        assert not gateway.log.matching("unspoken")
        assert secret not in (gateway.home / "logs" / "events.jsonl").read_text()
    finally:
        service.close()
