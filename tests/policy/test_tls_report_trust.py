"""Whom a report is proven to be of, whether it counts, and how long a key is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.tls_report_trust import DAY, Trust, counts, is_of, next_look_up, trust, unsigned
from gatepost.wire.dkim_verify import DkimResult, Judged
from gatepost.wire.tlsrpt_signed import SignedMail

MAIL = SignedMail((), "partner.example", ("partner.example",))


def judged(result: str, domain: str = "partner.example") -> Judged:
    return Judged(DkimResult(result), domain, f"{result} of {domain}")


@pytest.mark.parametrize(
    ("domain", "author", "submitters", "proven"),
    [
        ("partner.example", "partner.example", (), True),
        ("partner.example", "partner.example", ("partner.example",), True),
        ("partner.example", "mail.partner.example", ("tls.partner.example",), True),
        ("example", "partner.example", (), True),  # only a registry could publish such a key
        ("mail.partner.example", "partner.example", (), False),
        ("artner.example", "partner.example", (), False),
        ("evil.example", "partner.example", (), False),
        ("evil.example", "evil.example", ("partner.example",), False),
        ("partner.example", "evil.example", ("partner.example",), False),
        ("partner.example", "", ("partner.example",), False),
        ("", "", (), False),
    ],
)
def test_a_signature_is_of_the_sender_or_of_a_parent(
    domain: str, author: str, submitters: tuple[str, ...], proven: bool
) -> None:
    mail = SignedMail((), author, submitters)
    assert is_of(domain, mail) is proven
    assert trust(mail, [judged("pass", domain)]).verified is proven


@pytest.mark.parametrize(
    ("found", "told", "verified"),
    [
        ([judged("pass")], judged("pass"), True),
        ([judged("fail"), judged("pass"), judged("permerror")], judged("pass"), True),
        ([judged("pass", "other.example"), judged("pass")], judged("pass"), True),
        ([judged("pass", "other.example"), judged("temperror")], judged("temperror"), False),
        ([judged("fail"), judged("temperror")], judged("temperror"), False),
        ([judged("permerror"), judged("fail")], judged("fail"), False),
        ([judged("fail", "other.example"), judged("permerror")], judged("permerror"), False),
        ([judged("temperror", "other.example"), judged("fail")], judged("fail"), False),
        ([judged("none")], judged("none"), False),
    ],
)
def test_any_good_signature_counts_and_the_likeliest_is_told(
    found: list[Judged], told: Judged, verified: bool
) -> None:
    assert trust(MAIL, found) == Trust(verified, told.result, told.domain, told.reason)


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (MAIL, "signed by other.example, but From is partner.example"),
        (SignedMail((), "", ()), "signed by other.example, but From does not name one address"),
        (
            SignedMail((), "other.example", ("partner.example",)),
            "signed by other.example, but its submitter is partner.example",
        ),
    ],
)
def test_a_good_signature_of_a_stranger_says_whose_it_is(mail: SignedMail, reason: str) -> None:
    assert trust(mail, [judged("fail"), judged("pass", "other.example")]) == Trust(
        False, DkimResult.PASS, "other.example", reason
    )


def test_without_a_signature_the_reason_is_what_is_missing() -> None:
    assert trust(MAIL, []) == Trust(False, DkimResult.NONE, "", "the mail has no DKIM signature")
    assert trust(SignedMail(problem="it is odd"), []).reason.endswith("checked on the mail: it is odd")
    assert unsigned("https").reason == "reports over HTTPS carry no signature"
    assert "not the mail" in unsigned("file").reason
    assert "no mail" in unsigned("mail").reason


@given(
    st.lists(
        st.builds(
            judged, st.sampled_from(list(DkimResult)), st.sampled_from(["partner.example", "x.example"])
        )
    )
)
@settings(max_examples=100)
def test_verified_is_exactly_a_good_signature_of_the_sender(found: list[Judged]) -> None:
    good = any(one.result is DkimResult.PASS and one.domain == "partner.example" for one in found)
    assert trust(MAIL, found).verified is good
    assert trust(MAIL, found[::-1]).verified is good


@pytest.mark.parametrize(
    ("verified", "way", "only", "counted"),
    [
        (True, "mail", True, True),
        (False, "mail", True, False),
        (False, "mail", False, True),
        (False, "https", True, True),
        (False, "file", True, False),
    ],
)
def test_what_counts(verified: bool, way: str, only: bool, counted: bool) -> None:
    assert counts(verified=verified, way=way, verified_only=only) is counted


def test_a_key_is_asked_for_with_growing_pauses_for_a_day() -> None:
    since = now = 1_000_000.0
    pauses = []
    while (due := next_look_up(since, now)) is not None:
        pauses.append(due - now)
        now = due
    assert pauses[:4] == [300, 300, 600, 1200]
    assert max(pauses) == 4 * 3600
    assert DAY <= now - since < DAY + 4 * 3600
    assert len(pauses) < 20
    assert next_look_up(since, since - 1) is None  # a clock that went back ends it
