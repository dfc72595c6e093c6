"""Failures as the log and a report show them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Recipient
from gatepost.core.reply import Reply
from gatepost.relay.outcome import Due, Failure, Outcome, Stage, failed, failure_from_reply, telling
from gatepost.store.spool import MessageKind, Progress, StoredMessage


def message(*attempts: int) -> StoredMessage:
    to = Recipient(Address("b@x.example", "b", "x.example"))
    progress = [Progress(attempts=count) for count in attempts]
    return StoredMessage(
        1, 0.0, Envelope(Address("a@s.example", "a", "s.example"), (to,) * len(attempts)), progress=progress
    )


@pytest.mark.parametrize(
    ("code", "enhanced", "status", "reported"),
    [
        (550, "5.1.1", "5.1.0", "5.1.1"),
        (550, "", "5.1.0", "5.1.0"),
        (450, "4.2.1", "4.1.0", "4.2.1"),
        (550, "4.2.1", "5.1.0", "5.1.0"),  # RFC 3464 §2.3.4: a code of another class says nothing
    ],
)
def test_the_peers_own_status_is_reported_when_its_class_fits(
    code: int, enhanced: str, status: str, reported: str
) -> None:
    failure = failure_from_reply(Stage.ADDRESS, Reply(code, enhanced, ("No", "never")), "mx [192.0.2.1]:25")
    assert failure.permanent is (code >= 500)
    assert (failure.status, failure.report_status, failure.code) == (status, reported, str(code))
    assert failure.texts == (f"{enhanced} No".strip(), "never")
    assert failure.text == f"{enhanced} No never".strip()


def test_every_stage_has_a_status_of_its_class() -> None:
    for stage in Stage:
        assert Failure(stage, True, ("x",)).status[0] == "5"
        assert Failure(stage, False, ("x",)).status[0] == "4"
        assert Failure(stage, False, ("x",)).problem


def test_a_failure_for_all() -> None:
    due = Due(message(1, 3), "x.example", [0, 1])
    failure = Failure(Stage.NETWORK, False, ("timeout",), remote="mx [192.0.2.1]:25")
    outcome = failed(due, failure, 7)
    assert outcome == Outcome(7, failures={0: failure, 1: failure}, remote="mx [192.0.2.1]:25")
    assert due.attempts == 3


def test_what_tls_prevented_is_told_before_what_the_network_did() -> None:
    network = Failure(Stage.NETWORK, False, ("refused",))
    unsupported = Failure(Stage.TLS_UNSUPPORTED, False, ("no STARTTLS",))
    broken = Failure(Stage.TLS, False, ("verify error",))
    assert telling(broken, network) is telling(network, broken) is telling(unsupported, broken) is broken
    assert telling(unsupported, network) is unsupported
    later = Failure(Stage.NETWORK, False, ("timeout",))
    assert telling(network, later) is later


def test_what_may_still_pass_is_told_before_what_is_final() -> None:
    later = Failure(Stage.NETWORK, False, ("refused",))
    lacking = Failure(Stage.REQUIRETLS, True, ("no REQUIRETLS",))
    unproven = Failure(Stage.TLS_NEEDED, True, ("verify error",))
    assert telling(later, lacking) is telling(lacking, later) is later
    assert telling(unproven, lacking) is telling(lacking, unproven) is lacking


def wishing(sender: str = "a@s.example", **wishes: bool) -> Due:
    it = message(0)
    local, _, domain = sender.rpartition("@")
    it.envelope = replace(it.envelope, sender=Address(sender, local, domain), **wishes)
    return Due(it, "x.example", [0])


def test_who_fares_alike() -> None:
    """What keeps a message back that asks something of TLS says nothing of one that does not."""
    plain, strict, lax = wishing(), wishing(requiretls=True), wishing(tls_optional=True)
    report = wishing("", requiretls=True)
    assert plain.fares_like(wishing(""))
    assert strict.fares_like(wishing(requiretls=True))
    for one, other in ((plain, strict), (plain, lax), (strict, lax), (strict, report)):
        assert not one.fares_like(other)
        assert not other.fares_like(one)
    assert (strict.wishes.requiretls, lax.wishes.tls_optional) == (True, True)


def test_a_notice_goes_in_clear_and_shares_no_failure_with_an_alert() -> None:
    def due(kind: MessageKind) -> Due:
        made = message(0)
        made.kind = kind
        return Due(made, "x.example", [0])

    notice, alert, mail = due(MessageKind.NOTICE), due(MessageKind.OWN), due(MessageKind.ORDINARY)
    assert notice.wishes.in_clear
    assert not alert.wishes.in_clear
    assert not mail.wishes.in_clear
    assert alert.fares_like(mail)
    assert not notice.fares_like(alert)
    assert not mail.fares_like(notice)
