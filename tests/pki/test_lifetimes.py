"""When an end is near: a share of the life, so that six days, 47 days and ten years all work."""

from __future__ import annotations

import datetime

import pytest
from tests.fakes.ca import TestAuthority

from gatepost.pki.certificate import read_certificate
from gatepost.pki.lifetimes import DAY, day, expires_soon, lifetime_notes, notice

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
ROOT = TestAuthority("Example Root", at=AT)


@pytest.mark.parametrize(
    ("life", "days"),
    [(1, 1 / 3), (6, 2), (7, 7 / 3), (10, 14), (47, 47 / 3), (90, 30), (398, 30), (3650, 30)],
)
def test_the_notice_grows_with_the_life_up_to_a_month(life: float, days: float) -> None:
    assert notice(life * DAY) == pytest.approx(days * DAY)


@pytest.mark.parametrize(
    ("begun", "left", "soon"),
    [
        (3, 3, False),  # six days, half of them gone
        (5, 1, True),
        (0, 90, False),
        (61, 29, True),
        (360, 31, False),
        (380, 0, True),
        (10, -1, False),  # that is expired, and said as such
    ],
)
def test_it_is_soon_when_the_notice_has_begun(begun: int, left: int, soon: bool) -> None:
    start, end = (AT + datetime.timedelta(days=n) for n in (-begun, left))
    (leaf, *_) = ROOT.issue(["mx.example"], start=start, end=end).chain_der
    certificate = read_certificate(leaf)
    assert expires_soon(certificate, NOW) is soon
    assert [note.code for note in lifetime_notes(certificate, [], NOW)] == ["expires-soon"] * soon


def test_a_day_is_written_as_iso_has_it_also_beyond_2050() -> None:
    assert day(NOW) == "2027-01-15"
    late = ROOT.issue(["mx.example"], end=datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
    certificate = read_certificate(late.chain_der[0])
    assert day(certificate.not_after) == "9999-12-31"
    assert not expires_soon(certificate, NOW)


def test_an_authority_that_ends_soon_and_after_the_certificate_is_no_word_worth() -> None:
    def days(number: int) -> datetime.datetime:
        return AT + datetime.timedelta(days=number)

    sub = ROOT.intermediate("Example Sub CA", start=days(-300), end=days(20))
    for end, expected in ((days(10), ["CN=mx.example"]), (days(25), ["CN=mx.example", "CN=Example Sub CA"])):
        leaf, above = map(read_certificate, sub.issue(["mx.example"], start=days(-60), end=end).chain_der)
        assert [note.subject for note in lifetime_notes(leaf, [above], NOW)] == expected
