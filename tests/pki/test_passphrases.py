"""Pass-phrases for exported keys (R9, C41)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.pki.errors import PkiError
from gatepost.pki.passphrases import MAX_LENGTH, MIN_LENGTH, require_strong


@pytest.mark.parametrize(
    "passphrase",
    [
        "k3Xq9vB2mLpZ",
        "blue kettle over fence",
        "grüner Tee und Kreide",
        "8f3e1c7b9a2d4056",
        "Tr4in-on-the-lake",
        "青い傘と静かな朝と古い時計の音",
    ],
)
def test_good_ones_are_taken_and_their_beginnings_are_not(passphrase: str) -> None:
    require_strong(passphrase)
    with pytest.raises(PkiError):
        require_strong(passphrase[: MIN_LENGTH - 1])


@pytest.mark.parametrize(
    ("passphrase", "text"),
    [
        ("", "0 characters"),
        ("k3Xq9vB2mLp", "11 characters"),
        ("k3Xq9vB2mLpZ" * 100, "longer"),
        ("k3Xq9v\nB2mLpZ", "print"),
        ("k3Xq9v\0B2mLpZ", "print"),
        ("k3Xq9vB2mLpZ\ud800", "print"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("Kx7Kx7Kx7Kx7Kx7", "repeats"),
        ("abcabcabcabcab", "repeats"),
        ("abababcbabacbabab", "repeats"),
        ("abcdefghijklmnop", "neighbouring"),
        ("zyxwvutsrqponm", "neighbouring"),
        ("1234567890123", "neighbouring"),
        ("QWERTYuiop1234", "neighbouring"),
        ("1qaz2wsx3edc4rfv", "neighbouring"),
        ("qwertzuiopasdfgh", "neighbouring"),
        ("Password2026!", "common"),
        ("P@ssw0rd-P@55word", "common"),
        ("MailGateway2026", "common"),
        ("Certificate-Export", "common"),
        ("Summer2026!!!", "common"),
        ("correct horse battery staple", "common"),
        ("Pass word Admin 1999 2000", "common"),
    ],
)
def test_bad_ones_are_refused_with_the_reason(passphrase: str, text: str) -> None:
    with pytest.raises(PkiError, match=text) as caught:
        require_strong(passphrase)
    if passphrase:
        assert passphrase not in str(caught.value) + caught.value.hint


@settings(max_examples=100)
@given(st.text(max_size=30))
def test_any_text_is_judged(passphrase: str) -> None:
    with contextlib.suppress(PkiError):
        require_strong(passphrase)
        assert MIN_LENGTH <= len(passphrase) <= MAX_LENGTH
