"""Records of DKIM keys: ours, and what stands in their place."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.dkim_record import (
    KeyRecord,
    KeyRecordFault,
    differences,
    read_key_record,
    record_name,
    record_text,
    remarks,
    zone_text,
)

KEY = bytes(range(200))
P = b64encode(KEY).decode()


def test_what_is_written_is_read_and_does_not_differ() -> None:
    text = record_text("rsa", KEY)
    assert text == f"v=DKIM1; k=rsa; p={P}"
    found = read_key_record(text)
    assert found == KeyRecord("rsa", KEY)
    assert list(differences(found, "rsa", KEY)) == []
    assert list(remarks(found)) == []
    assert record_name("example.org", "a1") == "a1._domainkey.example.org"


def test_a_key_for_reports_alone_says_so() -> None:
    text = record_text("ed25519", KEY, reports_only=True)
    assert text == f"v=DKIM1; k=ed25519; s=tlsrpt; p={P}"
    found = read_key_record(text)
    assert list(differences(found, "ed25519", KEY, reports_only=True)) == []
    (said,) = differences(found, "ed25519", KEY)
    assert "is not for email" in said
    (said,) = differences(read_key_record(f"s=email; p={P}"), "rsa", KEY, reports_only=True)
    assert "receivers may ignore reports" in said


def test_a_list_of_services_is_told_of() -> None:
    found = read_key_record(f"s=email:tlsrpt; p={P}")
    assert list(differences(found, "rsa", KEY)) == []
    (said,) = remarks(found)
    assert "several services" in said


def test_a_long_record_is_cut_into_strings_for_a_zone() -> None:
    text = record_text("rsa", KEY * 2)
    strings = zone_text(text).split('" "')
    assert all(len(string.strip('"')) <= 255 for string in strings)
    assert "".join(strings).strip('"') == text


@pytest.mark.parametrize("tail", ["", "; s=*", "; s=tlsrpt : email", "; h=sha1:sha256", "; n=a note; g=*"])
def test_what_others_may_write_is_as_good(tail: str) -> None:
    assert list(differences(read_key_record(f"k=rsa;p= {P[:20]} {P[20:]}{tail}"), "rsa", KEY)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v=DKIM1; p=", "revokes the key"),
        (f"v=DKIM1; k=ed25519; p={P}", "of the type ed25519"),
        ("v=DKIM1; p=AAAA", "holds another key"),
        (f"v=DKIM1; h=sha1; p={P}", "does not allow sha256"),
        (f"v=DKIM1; s=email; p={P}", "may ignore reports without tlsrpt"),
        (f"v=DKIM1; s=tlsrpt; p={P}", "is not for email"),
    ],
)
def test_a_difference_is_told(text: str, said: str) -> None:
    found = list(differences(read_key_record(text), "rsa", KEY))
    assert len(found) == 1
    assert said in found[0]


def test_a_domain_that_tests_is_told() -> None:
    assert "t=y" in next(remarks(read_key_record(f"v=DKIM1; t=y:s; p={P}")))


@pytest.mark.parametrize(
    ("text", "said"),
    [("v=DKIM2; p=AAAA", "v=DKIM1"), ("v=DKIM1; k=rsa", "no key"), ("p=%%%", "not base64"), ("", "no key")],
)
def test_what_is_no_record_says_why(text: str, said: str) -> None:
    with pytest.raises(KeyRecordFault, match=said):
        read_key_record(text)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_key_record("p=" + text)
    except KeyRecordFault:
        return
    assert isinstance(found.public, bytes)
