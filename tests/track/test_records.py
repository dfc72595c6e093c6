"""Events become records: a delivery with its recipients, a session from its first to its last event, over restarts."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from gatepost.core import delivery_events as dv
from gatepost.core import events as ev
from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.track.records import MAX_REFUSED, MAX_SENDERS, Joiner

AT = 1_800_000_000.0
DER = b"not looked at here"


def session(**changes: Any) -> OutboundSession:
    values: dict[str, Any] = {
        "at": AT,
        "dcid": 7,
        "domain": "partner.example",
        "host": "mx.partner.example",
        "address": "192.0.2.7",
        "port": 25,
        "local_address": "192.0.2.1",
        "began": AT - 1,
        "hop": {"domain": "partner.example"},
        "tlsa": {"state": "not-asked", "base": "", "records": [], "problem": ""},
        "sts": None,
        "esmtp": True,
        "starttls": True,
        "helo": "mx.partner.example",
        "broken": "",
        "lost": "",
        "tls": {"verdict": "encrypted", "chain": ["ab" * 32]},
    }
    return OutboundSession(**{**values, **changes})


def opened(icid: int = 5) -> list[ev.Event]:
    return [
        ev.ConnectionOpened(
            AT, icid, "Data 1", "192.0.2.1", "192.0.2.9", "mail.example.net", "yes", "Incoming"
        ),
        ev.ConnectionAdmitted(AT, icid, "ACCEPT", "ALL", "ALL", "not enabled", "ACCEPTED", tls="preferred"),
    ]


def delayed(rid: int, text: str = "try later", at: float = AT) -> dv.RecipientDelayed:
    return dv.RecipientDelayed(
        at, 7, 6, rid, "4.2.0", "problem", "450", [text], "partner.example", "a.example"
    )


def test_a_connection_keeps_its_facts() -> None:
    batch = Joiner().take([CertificateSeen(AT, "ab" * 32, b64encode(DER).decode()), session()])
    (row,) = batch.connections
    assert (row.dcid, row.domain, row.host, row.address, row.port) == (
        7,
        "partner.example",
        "mx.partner.example",
        "192.0.2.7",
        25,
    )
    assert row.facts["tls"]["verdict"] == "encrypted"
    assert row.facts["hop"] == {"domain": "partner.example"}
    (certificate,) = batch.certificates
    assert (certificate.fingerprint, certificate.der) == ("ab" * 32, DER)
    assert batch.seen == {"ab" * 32}


def test_recipients_of_one_attempt_are_one_record() -> None:
    joiner = Joiner()
    batch = joiner.take(
        [
            dv.Delivered(AT, 7, 6, [0, 2], "Ok", None, "partner.example", "a.example"),
            delayed(1),
            delayed(3),
            delayed(4, "no such user"),
            delayed(1, at=AT + 60),
        ]
    )
    assert [(row.result, row.recipients, row.reason) for row in batch.deliveries] == [
        ("delivered", 2, ""),
        ("delayed", 2, "try later"),
        ("delayed", 1, "no such user"),
        ("delayed", 1, "try later"),
    ]
    assert {row.sender_domain for row in batch.deliveries} == {"a.example"}
    assert joiner.take([]).deliveries == ()


def test_what_an_older_release_wrote_is_left_out() -> None:
    batch = Joiner().take(
        [
            dv.Delivered(AT, 7, 6, [0], "Ok", None),
            ev.ConnectionOpened(AT, 5, "Data 1", "192.0.2.1", "192.0.2.9", "unknown", "no"),
            ev.MessageStarted(AT, 9, 5, "a@b.example"),
        ]
    )
    assert batch.deliveries == batch.sessions == ()


def test_a_session_from_its_first_to_its_last_event() -> None:
    client = {"verified": False, "chain": ["cd" * 32]}
    batch = Joiner().take(
        [
            *opened(),
            ev.MessageStarted(AT, 1, 5, "ann@a.example"),
            ev.InboundTlsEstablished(AT, 5, "TLSv1.3", "AES", "X25519", "no: why", client, "first.example"),
            ev.MessageStarted(AT, 2, 5, "ann@a.example"),
            ev.MessageStarted(AT, 3, 5, ""),
            ev.ReceivingFailed(AT, 5, "no certificate", "bob@b.example", "no-certificate"),
            ev.ReceivingFailed(AT, 5, "no certificate", "bob@b.example", "no-certificate"),
            ev.ConnectionLost(AT, 5),
            ev.ConnectionClosed(AT + 3, 5, "second.example"),
        ]
    )
    (row,) = batch.sessions
    assert (row.icid, row.listener, row.address, row.host, row.ended) == (
        5,
        "Incoming",
        "192.0.2.9",
        "mail.example.net",
        AT + 3,
    )
    assert row.facts["senders"] == {"ann@a.example": [1, 1], "": [0, 1]}
    assert row.facts["refused"] == [
        {
            "reason": "no certificate",
            "code": "no-certificate",
            "sender": "bob@b.example",
            "tls": True,
            "times": 2,
        }
    ]
    assert (row.facts["hello_clear"], row.facts["hello"]) == ("first.example", "second.example")
    assert (row.facts["policy"], row.facts["level"], row.facts["protocol"]) == (
        "ACCEPTED",
        "preferred",
        "TLSv1.3",
    )
    assert row.facts["client"] == client
    assert row.facts["lost"] is True
    assert batch.seen == {"cd" * 32}


def test_a_restart_goes_on_with_the_open_sessions() -> None:
    first = Joiner().take([*opened(), ev.MessageStarted(AT, 1, 5, "ann@a.example")])
    joiner = Joiner(first.sessions)
    (row,) = joiner.take([ev.MessageStarted(AT, 2, 5, "ann@a.example"), ev.ConnectionClosed(AT, 5)]).sessions
    assert row.facts["senders"] == {"ann@a.example": [2, 0]}
    assert row.ended == AT
    # It has ended: nothing that names its number is taken for it any more.
    assert joiner.take([ev.MessageStarted(AT, 3, 5, "ann@a.example")]).sessions == ()


def test_a_session_that_did_not_change_is_not_written_again() -> None:
    joiner = Joiner()
    assert len(joiner.take(opened()).sessions) == 1
    assert joiner.take([]).sessions == ()
    assert len(joiner.take([ev.InboundTlsRequired(AT, 5)]).sessions) == 1


def test_senders_and_refusals_of_a_session_are_bounded() -> None:
    joiner = Joiner()
    events = [*opened()]
    for number in range(MAX_SENDERS + 10):
        events.append(ev.MessageStarted(AT, number, 5, f"v{number}@List.example"))
    for number in range(MAX_REFUSED + 10):
        events.append(ev.ReceivingFailed(AT, 5, f"reason {number}"))
    (row,) = joiner.take(events).sessions
    assert len(row.facts["senders"]) == MAX_SENDERS + 1
    assert row.facts["senders"]["@list.example"] == [10, 0]
    assert len(row.facts["refused"]) == MAX_REFUSED
