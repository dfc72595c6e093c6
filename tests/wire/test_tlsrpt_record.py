"""Records that ask for TLS reports, as people publish them, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.tlsrpt_record import (
    Destination,
    TlsrptRecord,
    TlsrptRecordFault,
    read_destination,
    read_record,
    record_name,
)

MAIL = Destination(True, "tls@example.org")
WEB = Destination(False, "https://reports.example.org/v1")


@pytest.mark.parametrize(
    ("text", "destinations"),
    [
        ("v=TLSRPTv1; rua=mailto:tls@example.org", (MAIL,)),
        ("v=TLSRPTv1;rua=mailto:tls@example.org;", (MAIL,)),
        ("v=TLSRPTv1 ;  rua = mailto:tls@example.org ,https://reports.example.org/v1 ; x=1", (MAIL, WEB)),
        ("v=TLSRPTv1; new=1; rua=https://reports.example.org/v1; rua=mailto:tls@example.org", (WEB, MAIL)),
        ("v=TLSRPTv1; rua=mailto:tls@example.org,MAILTO:tls@EXAMPLE.org.", (MAIL,)),
    ],
)
def test_a_record_is_read(text: str, destinations: tuple[Destination, ...]) -> None:
    assert read_record([text]) == TlsrptRecord(destinations)


def test_other_texts_and_versions_are_no_record() -> None:
    assert read_record([]) is None
    assert read_record(["v=spf1 -all", "v=TLSRPTv10; rua=mailto:a@example.org", "v=TLSRPTv2; rua=x"]) is None
    assert read_record(["rua=mailto:a@example.org; v=TLSRPTv1"]) is None
    found = read_record(["hello", "v=TLSRPTv1; rua=mailto:tls@example.org"])
    assert found == TlsrptRecord((MAIL,))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@b.example"], "2 records"),
        (["v=TLSRPTv1"], "names no destination"),
        (["v=TLSRPTv1; rua="], "names no destination"),
        (["v=TLSRPTv1; ruf=mailto:a@b.example"], "names no destination"),
    ],
)
def test_a_record_that_does_not_count_says_why(texts: list[str], reason: str) -> None:
    with pytest.raises(TlsrptRecordFault, match=reason):
        read_record(texts)


@pytest.mark.parametrize(
    ("uri", "to"),
    [
        ("mailto:tls%2Breports@example.org", "tls+reports@example.org"),
        ("mailto:tls@example.org?subject=Report", "tls@example.org"),
        ("mailto:tls@example.org!10m", "tls@example.org"),
        ("mailto:a%2541%3F%21b@example.org", "a%41?!b@example.org"),
        ("HTTPS://example.org:8443/a?b=c#d", "https://example.org:8443/a?b=c"),
    ],
)
def test_destinations_are_normalised(uri: str, to: str) -> None:
    found = read_destination(uri)
    assert found is not None
    assert found.to == to
    assert read_destination(found.uri) == found


@pytest.mark.parametrize(
    "uri",
    [
        "http://reports.example.org/",
        "ftp://example.org/",
        "https://",
        "https://user:secret@example.org/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://exa mple.org/",
        "mailto:",
        "mailto:nobody",
        "mailto:@example.org",
        "mailto:a@[192.0.2.1]",
        "mailto:a@",
        "mailto:a..b@example.org",
        "mailto:a%0D%0ABcc:x@example.org",
        "mailto:a%20b@example.org",
        "mailto:a%3E@example.org",
        "mailto:a@b_c.example",
        "mailto:" + "a" * 250 + "@example.org",
        "tls@example.org",
        "",
    ],
)
def test_what_no_report_can_go_to_is_left_out(uri: str) -> None:
    assert read_destination(uri) is None
    if uri:
        found = read_record([f"v=TLSRPTv1; rua={uri},mailto:tls@example.org"])
        assert found == TlsrptRecord((MAIL,), (uri,))


def test_only_the_first_ten_destinations_count() -> None:
    uris = [f"mailto:r{number}@example.org" for number in range(12)]
    found = read_record([f"v=TLSRPTv1; rua={','.join(uris)}"])
    assert found is not None
    assert len(found.destinations) == 10
    assert found.ignored == tuple(uris[10:])


def test_the_record_stands_under_the_service() -> None:
    assert record_name("example.org") == "_smtp._tls.example.org"


@given(st.lists(st.text(max_size=60).map(lambda text: "v=TLSRPTv1;rua=" + text), max_size=2))
def test_any_text_is_read_or_refused(texts: list[str]) -> None:
    try:
        found = read_record(texts)
    except TlsrptRecordFault:
        return
    for destination in found.destinations if found else ():
        assert destination.to.isascii()
        assert read_destination(destination.uri) == destination
