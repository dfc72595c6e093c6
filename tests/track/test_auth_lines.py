"""The log's lines about SMTP AUTH: the reference's form, and names that would break it."""

from __future__ import annotations

import json

import pytest

from gatepost.core.auth_events import SmtpAuthFailed, SmtpAuthLocked, SmtpAuthSucceeded
from gatepost.core.codec import decode_event, encode_events
from gatepost.core.events import Event
from gatepost.track.mail_log import MailLogFormat

FORM = MailLogFormat(version="0", serial="0")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            SmtpAuthSucceeded(0.0, 30, "cisco", "LOGIN", "ldap_smtp"),
            "Info: SMTP Auth: (ICID 30) succeeded for user: cisco using AUTH mechanism: LOGIN with profile: ldap_smtp",
        ),
        (
            SmtpAuthFailed(0.0, 30, "cisco", "SCRAM-SHA-256", "local", "wrong pass-phrase"),
            "Info: SMTP Auth: (ICID 30) failed for user: cisco using AUTH mechanism: SCRAM-SHA-256 with profile: local",
        ),
        (
            SmtpAuthLocked(0.0, 30, "user", "cisco", 10),
            "Warning: SMTP Auth: (ICID 30) locked user: cisco after 10 failed attempts within an hour",
        ),
        (
            SmtpAuthLocked(0.0, 30, "address", "192.0.2.1", 1),
            "Warning: SMTP Auth: (ICID 30) locked address: 192.0.2.1 after 1 failed attempt within an hour",
        ),
    ],
)
def test_the_lines(event: Event, line: str) -> None:
    assert FORM.render(event) == f"Thu Jan  1 00:00:00 1970 {line}\n"
    assert decode_event(encode_events([event])) == event


def test_a_name_neither_ends_a_line_nor_begins_one() -> None:
    event = SmtpAuthFailed(0.0, 1, "a\r\nICID 1 close \u202e", "PLAIN", "local", "unknown user")
    text = FORM.render(event)
    assert text.count("\n") == 1
    assert "\u202e" not in text
    assert json.loads(encode_events([event]))["user"] == event.user
