"""Bounce tags: their form against a computation of the test's own, what is tagged, and what a recipient's tag comes to."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.documents import document
from tests.fakes.gateway_parts import to_address

from gatepost.config.bounce_verification import UntaggedBounces
from gatepost.core.address import Address
from gatepost.policy.bounce_tags import (
    DAY,
    TagRules,
    TagState,
    compile_tags,
    judge_recipient,
    read_tag,
    tagged,
)

NOW = 20_781 * DAY + 3_600.0  # day 781 of the thousand, 2026-11-24
KEY, OLD = b"a key of the test", b"an older key"


def rules(*domains: str, exceptions: tuple[str, ...] = (), current: int = 3) -> TagRules:
    sections: dict[str, Any] = {
        "bounce_verification": {"domains": list(domains or ("example.net", ".example.net"))}
    }
    if exceptions:
        sections["address_lists"] = [{"name": "never", "addresses": list(exceptions)}]
        sections["bounce_verification"]["exceptions"] = "never"
    made = compile_tags(document(**sections), {3: KEY, 2: OLD}, current)
    assert made is not None
    return made


def by_hand(key: bytes, text: str) -> str:
    """RFC 2104 written out, three octets of it in hexadecimal digits."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha1(bytes(octet ^ 0x36 for octet in block) + text.encode()).digest()
    return hashlib.sha1(bytes(octet ^ 0x5C for octet in block) + inner).hexdigest()[:6]


def test_the_form_is_that_of_the_draft() -> None:
    mark = by_hand(KEY, "3788joe@example.net")
    assert tagged(rules(), to_address("joe@example.net"), NOW).text == f"prvs=3788{mark}=joe@example.net"
    # The case of the address does not matter to the tag, and stays as it is.
    assert tagged(rules(), to_address("Joe@Example.NET"), NOW).text == f"prvs=3788{mark}=Joe@Example.NET"


def test_a_day_has_three_digits_and_goes_round() -> None:
    text = tagged(rules(), to_address("joe@example.net"), 20_995 * DAY).text
    assert text.startswith("prvs=3002")
    assert read_tag(rules(), to_address(text), 20_998 * DAY)[1] is TagState.GOOD
    assert read_tag(rules(), to_address(text), 21_003 * DAY)[1] is TagState.EXPIRED


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "joe@other.example",
        "prvs=3788abcdef=joe@example.net",
        '"joe smith"@example.net',
        "x" * 49 + "@example.net",
        "news@example.net",
    ],
)
def test_what_is_not_tagged_needs_no_tag(sender: str) -> None:
    tags = rules(exceptions=("news@example.net",))
    address = to_address(sender)
    assert tagged(tags, address, NOW) is address
    if not sender.startswith("prvs="):
        verdict = judge_recipient(tags, address, report=True, untagged=UntaggedBounces.REJECT, now=NOW)
        assert (verdict.recipient, verdict.refusal) == (address, None)


def test_the_longest_local_part_that_can_be_tagged() -> None:
    sent = tagged(rules(), to_address("x" * 48 + "@mail.example.net"), NOW)
    assert len(sent.local) == 64
    assert read_tag(rules(), sent, NOW) == (to_address("x" * 48 + "@mail.example.net"), TagState.GOOD)


LOCALS = st.text("abcXYZ0189.+-_=/'", min_size=1, max_size=48).filter(
    lambda text: not text.lower().startswith(("prvs=", "."))
)


@given(LOCALS, st.integers(0, 8), st.sampled_from([str, str.lower, str.upper]))
@settings(max_examples=100)
def test_what_leaves_with_a_tag_is_known_when_it_comes_back(local: str, days: int, mangled: Any) -> None:
    address = to_address(f"{local}@example.net")
    sent = tagged(rules(), address, NOW)
    back = to_address(mangled(sent.text))
    plain, state = read_tag(rules(), back, NOW + min(days, 7) * DAY)
    assert state is TagState.GOOD
    assert plain.text.lower() == address.text.lower()


def test_a_replaced_key_is_known_and_a_forgotten_one_is_not() -> None:
    sent = tagged(rules(current=2), to_address("joe@example.net"), NOW)
    assert sent.text.startswith("prvs=2")
    assert read_tag(rules(), sent, NOW)[1] is TagState.GOOD
    forgotten = compile_tags(document(bounce_verification={"domains": ["example.net"]}), {3: KEY}, 3)
    assert forgotten is not None
    assert read_tag(forgotten, sent, NOW) == (to_address("joe@example.net"), TagState.WRONG)


def good(address: str = "joe@example.net") -> str:
    return tagged(rules(), to_address(address), NOW).text


@pytest.mark.parametrize(
    ("recipient", "state"),
    [
        (good(), TagState.GOOD),
        ("joe@example.net", TagState.MISSING),
        (good().replace("=joe@", "=ann@"), TagState.WRONG),
        ("prvs=3788000000=joe@example.net", TagState.WRONG),
        ("prvs=9788000000=joe@example.net", TagState.WRONG),
        ("prvs=joe@example.net", TagState.MISSING),
        ("prvs=37880000=joe@example.net", TagState.MISSING),
        ("prvs=3788000000=.joe@example.net", TagState.MISSING),  # what would be left is no address
        (
            f"prvs=3{(781 + 20) % 1000:03d}{by_hand(KEY, '3801joe@example.net')}=joe@example.net",
            TagState.EXPIRED,
        ),
        (f"prvs=3780{by_hand(KEY, '3780joe@example.net')}=joe@example.net", TagState.EXPIRED),
    ],
)
def test_reports_need_a_good_tag(recipient: str, state: TagState) -> None:
    address = to_address(recipient)
    verdict = judge_recipient(rules(), address, report=True, untagged=UntaggedBounces.REJECT, now=NOW)
    if state is TagState.GOOD:
        assert (verdict.recipient.text, verdict.refusal) == ("joe@example.net", None)
    else:
        assert verdict.refusal is not None
        assert (verdict.refusal.code, verdict.refusal.cause) == (
            550,
            f"Rejected by bounce verification ({state})",
        )
    marked = judge_recipient(rules(), address, report=True, untagged=UntaggedBounces.MARK, now=NOW)
    assert marked.note == ("" if state is TagState.GOOD else state.value)
    assert marked.refusal is None
    for untagged, report in ((UntaggedBounces.ACCEPT, True), (None, True), (UntaggedBounces.REJECT, False)):
        passed = judge_recipient(rules(), address, report=report, untagged=untagged, now=NOW)
        assert (passed.refusal, passed.note) == (None, "")


def test_an_address_of_others_and_postmaster_stay_as_they_are() -> None:
    for text in (
        "prvs=3788000000=joe@other.example",
        "postmaster@example.net",
        "Postmaster",
        "joe@sub.other.example",
    ):
        verdict = judge_recipient(
            rules(),
            to_address(text) if "@" in text else to_postmaster(),
            report=True,
            untagged=UntaggedBounces.REJECT,
            now=NOW,
        )
        assert (verdict.recipient.text, verdict.refusal) == (text, None)


def to_postmaster() -> Any:
    return Address("Postmaster", "Postmaster", "")


def test_without_domains_or_a_key_nothing_is_tagged() -> None:
    assert compile_tags(document(), {3: KEY}, 3) is None
    assert compile_tags(document(bounce_verification={"domains": ["example.net"]}), {}, 0) is None
    assert "key of the test" not in repr(rules())


@given(st.text(max_size=80), st.floats(0, 4e9))
@settings(max_examples=100)
def test_any_local_part_can_be_read_and_tagged(local: str, now: float) -> None:
    address = Address(f"{local}@example.net", local, "example.net")
    plain, state = read_tag(rules(), address, now)
    assert (plain is address) == (state is TagState.MISSING)
    assert tagged(rules(), address, now).text.endswith(address.text)
