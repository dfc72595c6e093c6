"""Every literal line of the log reference, built from an event and compared to the octet (R33)."""

from __future__ import annotations

import time
from calendar import timegm
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core import delivery_events as dv
from gatepost.core import events as ev
from gatepost.core.events import Event, Level
from gatepost.core.openssl_errors import classic_error
from gatepost.track.log_files import LogFile
from gatepost.track.log_text import safe
from gatepost.track.mail_log import MailLogFormat, MailLogSink

AT = float(timegm((2023, 9, 6, 13, 13, 16)))
HEAD = "Wed Sep  6 13:13:16 2023 "


def form(level: Level = "Trace") -> MailLogFormat:
    return MailLogFormat(version="0.1.0", serial="420E4A5B", level=level)


NO_SHARED_CIPHER = classic_error(0x1408A0C1, "SSL routines", "SSL3_GET_CLIENT_HELLO", "no shared cipher")
NO_SHARED_CIPHER_3 = classic_error(0x0A0000C1, "SSL routines", "", "no shared cipher")

GOLDEN: list[tuple[Event, list[str]]] = [
    (
        ev.ConnectionOpened(AT, 590125205, "Data 1", "192.168.1.1", "10.0.0.1", "mail.example.com", "yes"),
        [
            "New SMTP ICID 590125205 interface Data 1 (192.168.1.1) address 10.0.0.1 reverse dns host mail.example.com verified yes"
        ],
    ),
    (
        ev.ConnectionOpened(AT, 4, "Management", "172.19.0.81", "10.1.1.140", "unknown", "no"),
        [
            "New SMTP ICID 4 interface Management (172.19.0.81) address 10.1.1.140 reverse dns host unknown verified no"
        ],
    ),
    (
        ev.ConnectionAdmitted(AT, 590125205, "ACCEPT", "SUSPECTLIST", "sbrs[-1.4:2.0]", "-1.1"),
        ["ICID 590125205 ACCEPT SG SUSPECTLIST match sbrs[-1.4:2.0] SBRS -1.1"],
    ),
    (
        ev.ConnectionAdmitted(AT, 30, "ACCEPT", "UNKNOWNLIST", "ALL", "None"),
        ["ICID 30 ACCEPT SG UNKNOWNLIST match ALL SBRS None"],
    ),
    (
        ev.ConnectionAdmitted(AT, 5, "RELAY", "RELAYLIST", "10.1.1.0/24", "not enabled"),
        ["ICID 5 RELAY SG RELAYLIST match 10.1.1.0/24 SBRS not enabled"],
    ),
    (
        ev.ConnectionAdmitted(AT, 4160, "REJECT", "BLOCKED_LIST", "192.0.2.7", "None"),
        ["ICID 4160 REJECT SG BLOCKED_LIST match 192.0.2.7 SBRS None"],
    ),
    (
        ev.ConnectionAdmitted(AT, 0, "TCPREFUSE", "BLOCKED_LIST", "sbrs[-10.0:-0.5]", "-9.9"),
        ["ICID 0 TCPREFUSE SG BLOCKED_LIST match sbrs[-10.0:-0.5] SBRS -9.9"],
    ),
    (
        ev.InboundTlsEstablished(AT, 590125205, "TLSv1", "DHE-RSA-AES256-SHA"),
        ["ICID 590125205 TLS success protocol TLSv1 cipher DHE-RSA-AES256-SHA"],
    ),
    (
        ev.InboundTlsEstablished(AT, 7, "TLSv1.3", "AES", "X25519", "yes: mx.partner.example", {}),
        ["ICID 7 TLS success protocol TLSv1.3 cipher AES verified yes: mx.partner.example"],
    ),
    (
        ev.InboundTlsEstablished(AT, 7, "TLSv1.3", "AES", "", "no: self-signed (CN=\x1b[2J\nICID 8)", {}),
        ["ICID 7 TLS success protocol TLSv1.3 cipher AES verified no: self-signed (CN=\\x1b[2J\\x0aICID 8)"],
    ),
    (
        ev.InboundTlsFailed(AT, 590052584, NO_SHARED_CIPHER),
        [
            "ICID 590052584 TLS failed: (336109761, 'error:1408A0C1:SSL routines:SSL3_GET_CLIENT_HELLO:no shared cipher')"
        ],
    ),
    (
        ev.InboundTlsFailed(AT, 590052584, NO_SHARED_CIPHER_3),
        ["ICID 590052584 TLS failed: (167772353, 'error:0A0000C1:SSL routines::no shared cipher')"],
    ),
    (
        ev.InboundTlsFailed(AT, 4, "[Errno 104] Connection reset by peer"),
        ["ICID 4 TLS failed: [Errno 104] Connection reset by peer"],
    ),
    (ev.InboundTlsRequired(AT, 8), ["ICID 8 TLS was required but remote host did not initiate it"]),
    (
        ev.ReceivingFailed(AT, 9, "Message size exceeds limit"),
        ["ICID 9 Receiving Failed: Message size exceeds limit"],
    ),
    (ev.ConnectionLost(AT, 590052584), ["ICID 590052584 lost"]),
    (ev.ConnectionClosed(AT, 590052584), ["ICID 590052584 close"]),
    (
        ev.MessageStarted(AT, 6, 5, "sender@remotehost.com"),
        ["Start MID 6 ICID 5", "MID 6 ICID 5 From: <sender@remotehost.com>"],
    ),
    (
        ev.RecipientAccepted(AT, 6, 5, 0, "mary@yourdomain.com"),
        ["MID 6 ICID 5 RID 0 To: <mary@yourdomain.com>"],
    ),
    (
        ev.RecipientRejected(AT, 1, 2, "x@other.example", "Rejected by RAT"),
        ["MID 1 ICID 2 To: <x@other.example> Rejected by RAT"],
    ),
    (
        ev.MessageReceived(
            AT, 4, "<20230908052134.74591.43891@host>", "Testing", 100, "sender@remotehost.com"
        ),
        [
            "MID 4 Message-ID '<20230908052134.74591.43891@host>'",
            'MID 4 Subject "Testing"',
            "MID 4 ready 100 bytes from <sender@remotehost.com>",
        ],
    ),
    (ev.BounceGenerated(AT, 7, 6), ["MID 7 was generated for bounce of MID 6"]),
    (
        ev.MessageAborted(AT, 8, "Receiving aborted by sender"),
        ["MID 8 Message aborted MID 8 Receiving aborted by sender"],
    ),
    (ev.MessageQueued(AT, 9), ["MID 9 queued for delivery"]),
    (
        dv.DeliveryOpened(AT, 41014367, "192.168.1.1", "10.0.0.1", 25),
        ["New SMTP DCID 41014367 interface 192.168.1.1 address 10.0.0.1 port 25"],
    ),
    (
        dv.OutboundTlsEstablished(AT, 41014367, "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", "", "", {}),
        ["DCID 41014367 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-GCM-SHA384"],
    ),
    (
        dv.OutboundTlsEstablished(AT, 112095, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "partner.example", "", {}),
        ["DCID 112095 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384 for partner.example"],
    ),
    (
        dv.OutboundTlsEstablished(
            AT,
            13,
            "TLSv1.3",
            "TLS_AES_256_GCM_SHA384",
            "partner.example",
            "no: self-signed certificate",
            {},
        ),
        [
            "DCID 13 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384 for partner.example verified no: self-signed certificate"
        ],
    ),
    (
        dv.OutboundTlsEstablished(
            AT, 14, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "partner.example", "yes: DANE-EE 3 1 1", {}
        ),
        [
            "DCID 14 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384 for partner.example verified yes: DANE-EE 3 1 1"
        ],
    ),
    (
        dv.OutboundTlsFailed(AT, 80167, "STARTTLS unexpected response", False, {}),
        ["DCID 80167 TLS failed: STARTTLS unexpected response"],
    ),
    (
        dv.OutboundTlsFailed(AT, 80167, "STARTTLS unexpected response", True, {}),
        ["DCID 80167 TLS failed: STARTTLS unexpected response - continuing in clear"],
    ),
    (
        dv.OutboundTlsFailed(
            AT,
            12,
            "verify error: certificate has expired (CN=mx.partner.example, issuer CN=Example CA)",
            False,
            {},
        ),
        [
            "DCID 12 TLS failed: verify error: certificate has expired (CN=mx.partner.example, issuer CN=Example CA)"
        ],
    ),
    (
        dv.OutboundTlsRequired(AT, 8, "204.15.82.140"),
        ["DCID 8 IP 204.15.82.140 TLS was required but could not be successfully negotiated"],
    ),
    (
        dv.DeliveryFailed(
            AT,
            40986669,
            "example.com",
            "10.0.0.1",
            25,
            "454-'TLS not available due to temporary reason'",
            "192.168.1.1",
            "unexpected SMTP response",
        ),
        [
            "Connection Error: DCID 40986669 domain: example.com IP:10.0.0.1 port: 25 details: 454-'TLS not available due to temporary reason' interface: 192.168.1.1 reason: unexpected SMTP response"
        ],
    ),
    (
        dv.DeliveryFailed(AT, 63, "x.com", "10.13.101.31", 25, "timeout", "10.10.192.50", "network error"),
        [
            "Connection Error: DCID 63 domain: x.com IP:10.13.101.31 port: 25 details: timeout interface: 10.10.192.50 reason: network error"
        ],
    ),
    (
        dv.DeliveryStarted(AT, 41014367, 179701982, [0]),
        ["Delivery start DCID 41014367 MID 179701982 to RID [0]"],
    ),
    (
        dv.Delivered(AT, 8, 68119155, [0], "2.0.0 OK 1687954632 x - gsmtp", None),
        [
            "Message done DCID 8 MID 68119155 to RID [0]",
            "MID 68119155 RID [0] Response '2.0.0 OK 1687954632 x - gsmtp'",
        ],
    ),
    (dv.MessageFinished(AT, 68119155), ["Message finished MID 68119155 done"]),
    (
        dv.RecipientDelayed(
            AT,
            4370,
            10800,
            0,
            "4.4.0",
            "Other network problem",
            "000",
            ["[Errno 104] Connection reset by peer"],
        ),
        [
            "Delayed: DCID 4370 MID 10800 to RID 0 - 4.4.0 - Other network problem ('000', ['[Errno 104] Connection reset by peer']) []"
        ],
    ),
    (
        dv.RecipientBounced(
            AT,
            947091,
            12217124,
            0,
            "5.1.0",
            "Unknown address error",
            "501",
            ["5.5.4 Invalid Address"],
        ),
        [
            "Bounced: DCID 947091 MID 12217124 to RID 0 - 5.1.0 - Unknown address error ('501', ['5.5.4 Invalid Address'])"
        ],
    ),
    (
        dv.RecipientBounced(
            AT,
            0,
            8,
            0,
            "5.1.2",
            "Bad destination host",
            "000",
            ["DNS Hard Error looking up X (MX):  NXDomain"],
        ),
        [
            "Bounced: DCID 0 MID 8 to RID 0 - 5.1.2 - Bad destination host ('000', ['DNS Hard Error looking up X (MX):  NXDomain'])"
        ],
    ),
    (
        dv.DoubleBounce(AT, 12222130, 0, "5.1.0", "Unknown address error", "501", ["5.5.4 Invalid Address"]),
        ["Double bounce: MID 12222130 to RID 0 - 5.1.0 - Unknown address error 501-'5.5.4 Invalid Address'"],
    ),
    (
        dv.DeliveriesSuspended(AT, "partner.example"),
        ["Deliveries are currently suspended [partner.example]"],
    ),
    (dv.DeliveryClosed(AT, 8), ["DCID 8 close"]),
]


@pytest.mark.parametrize(("event", "lines"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_reference_to_the_octet(event: Event, lines: list[str]) -> None:
    assert form().render(event) == "".join(f"{HEAD}Info: {line}\n" for line in lines)


def test_a_file_opens_and_closes_as_the_reference_says() -> None:
    assert form().head(AT).decode() == (
        f"{HEAD}Info: Begin Logfile\n{HEAD}Info: Version: 0.1.0 SN: 420E4A5B\n"
        f"{HEAD}Info: Time offset from UTC: 0 seconds\n"
    )
    assert form().tail(AT).decode() == f"{HEAD}Info: End Logfile\n"


def test_the_day_is_padded_and_a_second_is_not_kept_too_long() -> None:
    shown = form()
    assert shown.render(ev.ConnectionLost(AT, 1)).startswith("Wed Sep  6 13:13:16 2023 Info: ")
    assert shown.render(ev.ConnectionLost(AT + 0.9, 1)).startswith("Wed Sep  6 13:13:16 2023 Info: ")
    assert shown.render(ev.ConnectionLost(AT + 1, 1)).startswith("Wed Sep  6 13:13:17 2023 Info: ")
    assert shown.render(ev.ConnectionLost(AT, 1)).startswith("Wed Sep  6 13:13:16 2023 Info: ")
    assert shown.render(ev.ConnectionLost(AT + 6 * 86400, 1)).startswith("Tue Sep 12 13:13:16 2023")


def test_local_time_says_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        local = MailLogFormat(version="1", serial="2", local=True)
        assert local.render(ev.ConnectionLost(AT, 1)).startswith("Wed Sep  6 15:13:16 2023 Info: ")
        assert local.head(AT).decode().endswith("Time offset from UTC: 7200 seconds\n")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("level", "shown"),
    [("Critical", 1), ("Warning", 2), ("Info", 3), ("Debug", 3), ("Trace", 3)],
)
def test_the_level_of_the_subscription_leaves_lines_out(level: Level, shown: int) -> None:
    log = form(level)
    events = [ev.InternalError(AT, "id", "here", ""), ev.Warned(AT, "careful"), ev.Noted(AT, "so it is")]
    assert len([text for event in events if (text := log.render(event))]) == shown


def test_levels_are_named() -> None:
    assert form().render(ev.Warned(AT, "careful")) == f"{HEAD}Warning: careful\n"
    assert (
        form().render(ev.InternalError(AT, "ab12", "relay.deliver", "Traceback\n  x\nKeyError: 'y'\n"))
        == f"{HEAD}Critical: Internal error ab12 in relay.deliver: KeyError: 'y'\n"
    )


def test_several_recipients_are_a_list() -> None:
    assert "to RID [0, 2, 5]\n" in form().render(dv.DeliveryStarted(AT, 1, 2, [0, 2, 5]))


# --- hostile text (C24, C25) ------------------------------------------------------------------------

EVIL = "a\r\nFri Jan  1 00:00:00 2021 Info: ICID 1 close\x1b[2J\x00\x7f\x9b\u2028\u202e\udc80'\"\\"


def all_event_types() -> list[type[Event]]:
    found = [*vars(ev).values(), *vars(dv).values()]
    return [v for v in found if isinstance(v, type) and issubclass(v, Event) and v is not Event]


def hostile(kind: type[Event], text: str) -> Event:
    samples: dict[str, Any] = {
        "int": 7,
        "float": AT,
        "bool": True,
        "str": text,
        "list[int]": [0],
        "list[str]": [text, text],
        "dict[str, Any]": {"key": text},
        "dict[str, Any] | None": None,
    }
    wanted = [f for f in fields(kind) if f.default is MISSING or f.type == "str"]
    return kind(**{f.name: samples[str(f.type)] for f in wanted})


@pytest.mark.parametrize("kind", all_event_types(), ids=lambda kind: kind.__name__)
def test_no_event_carries_text_that_leaves_its_line(kind: type[Event]) -> None:
    text = form().render(hostile(kind, EVIL))
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert 1 <= len(lines) <= 3
    for line in lines:
        assert line.startswith(HEAD)
        assert line.isprintable()
    text.encode("utf-8")


@given(st.text(max_size=50))
def test_any_text_is_printable_afterwards(text: str) -> None:
    assert safe(text).isprintable()
    assert text.isprintable() is (safe(text) == text)


def test_over_long_text_is_cut() -> None:
    line = form().render(ev.MessageReceived(AT, 1, "", "x" * 1_000_000, 1, ""))
    assert len(line) < 3_000


def test_a_quote_in_quoted_text_is_escaped() -> None:
    assert 'Subject "a\\"b\'c"\n' in form().render(ev.MessageReceived(AT, 1, "", "a\"b'c", 1, ""))
    assert "Response 'it\\'s ok'\n" in form().render(dv.Delivered(AT, 1, 2, [0], "it's ok", None))


# --- the sink ---------------------------------------------------------------------------------------


class Stopped:
    def now(self) -> float:
        return AT

    def monotonic(self) -> float:
        return 0.0


def test_the_sink_writes_what_was_added_when_it_is_told_to(tmp_path: Path) -> None:
    log = form("Info")
    sink = MailLogSink(log, LogFile(tmp_path, "mail_logs", log, Stopped()))
    assert sink.add([([ev.ConnectionLost(AT, 1), ev.ConnectionClosed(AT, 1)], b"")]) > 0
    assert not (tmp_path / "mail_logs").exists()
    sink.flush()
    sink.flush()
    assert (tmp_path / "mail_logs").read_bytes() == log.head(AT) + (
        f"{HEAD}Info: ICID 1 lost\n{HEAD}Info: ICID 1 close\n".encode()
    )
    sink.close()
