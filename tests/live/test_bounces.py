"""Reports: what a real Postfix refuses comes back to the sender's Postfix; who wants none gets none; delays; double bounces.

Both Postfixes keep mail. The destination's refuses some recipients and puts others off.
"""

from __future__ import annotations

import email.message
import re
import smtplib
from typing import Any

import pytest
from tests.live.peers.gateway import document
from tests.live.peers.mail import Mail, read_maildir
from tests.live.peers.postfix import Postfix
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, settled
from tests.live.peers.submit import hand_over, submit, text_message

CONTENT = text_message(subject="bounce me", body="The body of the original.\r\n")


class Site:
    def __init__(self, scene: Scene) -> None:
        checks = scene.folder / "recipients"
        checks.write_text(
            "nobody@dest.example 550 5.1.1 no such user here\n"
            "strange@dest.example 554 5.7.1 policy says <no>\n"
            "later@dest.example 450 4.2.0 try again later\n"
        )
        options = {
            "smtpd_recipient_restrictions": f"check_recipient_access texthash:{checks}, reject_unauth_destination",
            "smtpd_error_sleep_time": "0",
            "smtpd_hard_error_limit": "1000",
        }
        self.destination: Postfix = scene.postfix(hostname="mx.dest.example", options=options)
        self.home: Postfix = scene.postfix(hostname="mx.home.example")
        self.gateway = scene.gateway()
        self.private = scene.ports.free()
        routes = [
            {"domain": "dest.example", "hosts": [f"[127.0.0.1]:{self.destination.port}"]},
            {"domain": "home.example", "hosts": [f"[127.0.0.1]:{self.home.port}"]},
            {"domain": "brief.example", "hosts": [f"[127.0.0.1]:{scene.ports.free()}"]},
        ]
        made: dict[str, Any] = document(scene.ports.free(), self.private, routes=routes)
        made["destination_controls"]["destinations"] = [
            {"domain": "brief.example", "bounce_profile": "Brief"}
        ]
        made["bounce_profiles"] = [
            {
                "name": "Default",
                "initial_retry": "1s",
                "max_retry": "1h",
                "max_age": "1d",
                "delay_warning": "1s",
            },
            {"name": "Brief", "initial_retry": "1s", "max_retry": "1s", "max_age": "1h", "max_attempts": 2},
        ]
        self.gateway.configure(made)
        self.gateway.start()

    def send(self, sender: str, to: str | list[str], *rcpt: str, options: tuple[str, ...] = ()) -> int:
        with smtplib.SMTP("127.0.0.1", self.private) as client:
            return hand_over(client, sender, to, CONTENT, options=options, rcpt_options=rcpt)

    def reports(self, sender: str) -> list[Mail]:
        """What came back to this sender."""
        folder = self.home.folder / "mail" / "all"
        return [mail for mail in read_maildir(folder) if mail.message["X-Original-To"] == sender]

    def report(self, sender: str) -> email.message.EmailMessage:
        """The one report to this sender, once it is there."""
        self.home.log.wait_for(rf"to=<{re.escape(sender)}>.*status=sent")
        (mail,) = self.reports(sender)
        return mail.message

    def finished(self, mid: int) -> list[str]:
        self.gateway.wait_for_log(rf"Message finished MID {mid} done")
        return about(self.gateway, f"MID {mid}")


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


def _fields(report: email.message.EmailMessage) -> list[email.message.Message]:
    """The per-message fields of a report's second part, then those of each recipient."""
    text, status, original = report.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    return list(status.iter_parts()) if status.is_multipart() else list(status.get_payload())


def test_what_postfix_refuses_comes_back(site: Site) -> None:
    sender = "ann@home.example"
    mid = site.send(
        sender, "nobody@dest.example", "ORCPT=rfc822;first@dest.example", options=("ENVID=e+2B1",)
    )
    report = site.report(sender)
    assert report["Return-Path"] == "<>"
    assert report["Auto-Submitted"] == "auto-replied"
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    message, recipient = _fields(report)
    assert message["Reporting-MTA"].replace(" ", "") == "dns;gw.example.net"
    assert message["Original-Envelope-Id"] == "e+1"
    assert recipient["Original-Recipient"].replace(" ", "") == "rfc822;first@dest.example"
    assert recipient["Final-Recipient"].replace(" ", "") == "rfc822;nobody@dest.example"
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert "no such user here" in recipient["Diagnostic-Code"]
    lines = site.finished(mid)
    bounced = r"Bounced: DCID \d+ MID \d+ to RID 0 - 5\.1\.0 - Unknown address error \('550', \['5\.1\.1 .*no such user here'\]\)"
    assert any(re.fullmatch(bounced, line) for line in lines), lines
    number = int(next(line for line in lines if "was generated for bounce" in line).split()[1])
    assert f"MID {number} was generated for bounce of MID {mid}" in lines
    site.finished(number)


@pytest.mark.parametrize(("ret", "whole"), [("RET=FULL", True), ("RET=HDRS", False)])
def test_as_much_of_the_original_as_was_asked_for(site: Site, ret: str, whole: bool) -> None:
    sender = f"{ret[4:].lower()}@home.example"
    site.send(sender, "strange@dest.example", options=(ret,))
    report = site.report(sender)
    assert ("The body of the original." in report.as_string()) == whole
    assert "Subject: bounce me" in report.as_string()


def test_only_who_was_refused_is_reported(site: Site) -> None:
    sender = "some@home.example"
    mid = site.send(sender, ["good@dest.example", "nobody@dest.example", "strange@dest.example"])
    fields = _fields(site.report(sender))[1:]
    assert [field["Final-Recipient"].split(";")[1].strip() for field in fields] == [
        "nobody@dest.example",
        "strange@dest.example",
    ]
    lines = site.finished(mid)
    assert any(re.fullmatch(r"Message done DCID \d+ MID \d+ to RID \[0\]", line) for line in lines)
    assert sum(line.startswith("Bounced:") for line in lines) == 2


def test_notify_never_means_never(site: Site) -> None:
    sender = "silent@home.example"
    mid = site.send(sender, "nobody@dest.example", "NOTIFY=NEVER")
    lines = site.finished(mid)
    assert any(line.startswith("Bounced:") for line in lines)
    assert not any("was generated" in line for line in lines)
    # A later message's report has come, this one's has not.
    later = "later-silent@home.example"
    site.send(later, "nobody@dest.example")
    site.report(later)
    assert site.reports(sender) == []


def test_a_delay_is_reported_once(site: Site) -> None:
    sender = "patient@home.example"
    mid = site.send(sender, "later@dest.example")
    _, recipient = _fields(site.report(sender))
    assert recipient["Action"] == "delayed"
    assert recipient["Status"].startswith("4.")
    assert recipient["Will-Retry-Until"]
    assert "try again later" in recipient["Diagnostic-Code"]
    settled(site.gateway, mid, count=2)
    delayed = about(site.gateway, f"MID {mid}")
    pattern = r"Delayed: DCID \d+ MID \d+ to RID 0 - 4\.1\.0 - Unknown address error \('450', \['4\.2\.0 .*try again later'\]\) \[\]"
    assert any(re.fullmatch(pattern, line) for line in delayed), delayed
    settled(site.gateway, mid, count=3)
    assert len(site.reports(sender)) == 1
    site.gateway.command("queue", "delete", str(mid), "--yes")


def test_a_message_that_is_too_old_comes_back(site: Site) -> None:
    """Two attempts at a port on which nothing listens, then the profile's end."""
    sender = "expired@home.example"
    mid = site.send(sender, "user@brief.example")
    _, recipient = _fields(site.report(sender))
    assert recipient["Action"] == "failed"
    lines = site.finished(mid)
    assert sum(line.startswith("Delayed:") for line in lines) == 1
    (bounced,) = (line for line in lines if line.startswith("Bounced:"))
    assert " to RID 0 - 5.4.7 - Delivery expired (message too old) ('000', [" in bounced
    assert "[Errno 111] Connection refused" in bounced
    errors = [line for line in about(site.gateway, "domain: brief.example") if "Connection Error" in line]
    assert len(errors) == 2
    assert errors[0].endswith(
        "details: [Errno 111] Connection refused interface: 127.0.0.1 reason: network error"
    )


def test_a_bounce_that_bounces_is_dropped_and_logged(site: Site) -> None:
    """The report itself goes to a sender that Postfix refuses."""
    mid = site.send("nobody@dest.example", "strange@dest.example")
    lines = site.finished(mid)
    report = int(next(line for line in lines if "was generated for bounce" in line).split()[1])
    told = site.finished(report)
    (double,) = (line for line in told if line.startswith("Double bounce:"))
    assert re.fullmatch(
        rf"Double bounce: MID {report} to RID 0 - 5\.1\.0 - Unknown address error 550-'5\.1\.1 .*no such user here'",
        double,
    )
    assert not any(f"was generated for bounce of MID {report}" in line for line in told)


def test_a_message_without_a_sender_is_never_reported(site: Site) -> None:
    mid = submit(site.private, "", "nobody@dest.example", CONTENT)
    lines = site.finished(mid)
    assert any(line.startswith(f"Double bounce: MID {mid} ") for line in lines)
    assert not any("was generated" in line for line in lines)
