"""Inbound TLS: R19 and R20, and senders of whom TLS is demanded."""

from __future__ import annotations

import pytest

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.tls import InboundTls
from gatepost.policy.mailboxes import MailboxTable
from gatepost.policy.tls_in import STARTTLS_FIRST, InboundTlsRule

BANK = Address("a@bank.example", "a", "bank.example")
OTHER = Address("a@other.example", "a", "other.example")


@pytest.mark.parametrize(
    ("level", "offered", "gate"),
    [
        (InboundTls.OFF, False, None),
        (InboundTls.PREFERRED, True, None),
        (InboundTls.REQUIRED, True, STARTTLS_FIRST),
    ],
)
def test_levels(level: InboundTls, offered: bool, gate: object) -> None:
    rule = InboundTlsRule(level)
    assert rule.offers_starttls(tls_active=False) is offered
    assert rule.gate(tls_active=False) == gate
    # RFC 3207 §4.2: not offered inside TLS; and then nothing stands in the way any more
    assert rule.offers_starttls(tls_active=True) is False
    assert rule.gate(tls_active=True) is None


def test_the_answer_is_that_of_rfc_3207() -> None:
    assert STARTTLS_FIRST.reply().encode() == b"530 5.7.0 Must issue a STARTTLS command first\r\n"


def test_tls_is_demanded_of_the_senders_of_a_list() -> None:
    rule = InboundTlsRule(InboundTls.PREFERRED, MailboxTable.of_texts(["bank.example"]), "tls_senders")
    refusal = rule.sender_gate(BANK, tls_active=False)
    assert refusal is not None
    assert (refusal.code, refusal.cause) == (530, "TLS is mandatory for senders of tls_senders")
    assert "tls_senders" not in refusal.text
    assert rule.sender_gate(BANK, tls_active=True) is None
    assert rule.sender_gate(OTHER, tls_active=False) is None
    assert rule.sender_gate(NULL_ADDRESS, tls_active=False) is None
    assert InboundTlsRule(InboundTls.PREFERRED).sender_gate(BANK, tls_active=False) is None
