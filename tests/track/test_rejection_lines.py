"""The lines of delayed rejection, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.core import rejection_events as ev
from gatepost.core.codec import decode_events, encode_events
from gatepost.track.mail_log import MailLogFormat

HEAD = "ICID 4160 Delayed HAT REJECT"
FORMS = [
    (
        ev.DelayedRejectionBegun(0.0, 4160, "192.0.2.7"),
        f"{HEAD} continuing session for recipient logging (192.0.2.7)",
    ),
    (
        ev.DelayedRejectionSender(0.0, 4160, "user1@example.com", "192.0.2.7"),
        f"{HEAD} Message from: user1@example.com (192.0.2.7)",
    ),
    (
        ev.DelayedRejectionSender(0.0, 4160, "", "192.0.2.7"),
        f"{HEAD} Message from: <> (192.0.2.7)",
    ),
    (
        ev.DelayedRejectionRecipient(0.0, 4160, "xyz@example.org", "2001:db8::7"),
        f"{HEAD} Message recipient: <xyz@example.org> (2001:db8::7)",
    ),
]


@pytest.mark.parametrize(("event", "line"), FORMS)
def test_lines(event: Any, line: str) -> None:
    rendered = MailLogFormat(version="0", serial="0").render(event)
    assert rendered == f"Thu Jan  1 00:00:00 1970 Info: {line}\n"
    assert decode_events(encode_events([event])) == [event]


def test_nothing_that_a_sender_says_makes_a_line_of_its_own() -> None:
    event = ev.DelayedRejectionSender(0.0, 1, "a\r\nInfo: forged@example.com", "192.0.2.7")
    assert MailLogFormat(version="0", serial="0").render(event).count("\n") == 1
