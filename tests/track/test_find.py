"""Finding lines again, by every criterion and by several, over rotated files."""

from __future__ import annotations

from calendar import timegm
from pathlib import Path

import pytest

from gatepost.track.find import Criteria, TlsFound, find, parse_since

HEAD = "Wed Sep  6 13:13:{:02d} 2023 Info: "

# 1: TLS in, TLS out. 2: clear in, clear out, on an outgoing connection reused by 3. 4: TLS failed, nothing came.
OLD = """\
Begin Logfile
Version: 0.1.0 SN: AB
Time offset from UTC: 0 seconds
New SMTP ICID 11 interface Data 1 (192.168.1.1) address 10.0.0.1 reverse dns host mail.example.com verified yes
ICID 11 RELAY SG RELAYLIST match 10.0.0.0/8 SBRS not enabled
ICID 11 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384
New SMTP ICID 12 interface Data 1 (192.168.1.1) address 10.0.0.2 reverse dns host unknown verified no
Start MID 1 ICID 11
MID 1 ICID 11 From: <alice@example.org>
MID 1 ICID 11 RID 0 To: <Bob@Partner.example>
MID 1 Subject "about MID 2 ICID 12"
MID 1 ready 100 bytes from <alice@example.org>
MID 1 queued for delivery
Start MID 2 ICID 12
MID 2 ICID 12 From: <eve@example.net>
MID 2 ICID 12 RID 0 To: <carol@other.example>
MID 2 ready 100 bytes from <eve@example.net>
ICID 11 close
End Logfile
"""
NEW = """\
Begin Logfile
Version: 0.1.0 SN: AB
Time offset from UTC: 0 seconds
Start MID 3 ICID 12
MID 3 ICID 12 From: <eve@example.net>
MID 3 ICID 12 RID 0 To: <dan@other.example>
ICID 12 close
New SMTP DCID 21 interface 192.168.1.1 address 10.9.0.1 port 25
DCID 21 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-GCM-SHA384
Delivery start DCID 21 MID 1 to RID [0]
Message done DCID 21 MID 1 to RID [0]
MID 1 RID [0] Response '2.0.0 ok'
Message finished MID 1 done
New SMTP DCID 22 interface 192.168.1.1 address 10.9.0.2 port 25
Delivery start DCID 22 MID 2 to RID [0]
Message done DCID 22 MID 2 to RID [0]
MID 2 RID [0] Response '2.0.0 ok'
Delivery start DCID 22 MID 3 to RID [0]
Bounced: DCID 22 MID 3 to RID 0 - 5.1.1 - Unknown user ('550', ['MID 1 is not ICID 11'])
Start MID 5 ICID 0
MID 5 ICID 0 From: <>
MID 5 was generated for bounce of MID 3
DCID 22 close
New SMTP ICID 14 interface Data 1 (192.168.1.1) address 10.0.0.4 reverse dns host unknown verified no
ICID 14 TLS failed: [Errno 104] Connection reset by peer
ICID 14 lost
ICID 14 close
New SMTP DCID 23 interface 192.168.1.1 address 10.9.0.3 port 25
DCID 23 TLS failed: STARTTLS unexpected response
DCID 23 IP 10.9.0.3 TLS was required but could not be successfully negotiated
Delayed: DCID 23 MID 5 to RID 0 - 4.7.5 - TLS ('454', ['no']) []
"""


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    second = 0
    files = []
    for name, content in (("mail_logs.@20230906T131340", OLD), ("mail_logs", NEW)):
        path = tmp_path / name
        lines = content.splitlines()
        path.write_text("".join(f"{HEAD.format(second + i)}{line}\n" for i, line in enumerate(lines)))
        second += len(lines)
        files.append(path)
    return files


def texts(paths: list[Path], criteria: Criteria) -> list[str]:
    return [line.text for line in find(paths, criteria)]


def picked(*starts: str) -> list[str]:
    """The lines of the whole log that begin so, in its order."""
    return [line for line in (OLD + NEW).splitlines() if line.startswith(starts)]


MID_1 = (
    "Start MID 1 ",
    "MID 1 ",
    "Delivery start DCID 21 ",
    "Message done DCID 21 ",
    "Message finished MID 1 ",
)
MID_2 = ("Start MID 2 ", "MID 2 ", "Delivery start DCID 22 MID 2 ", "Message done DCID 22 MID 2 ")
MID_3 = ("Start MID 3 ", "MID 3 ", "Delivery start DCID 22 MID 3 ", "Bounced: ", "MID 5 was generated")
MID_5 = ("Start MID 5 ", "MID 5 ", "Delayed: ")
ICID_11, ICID_12, ICID_14 = [(f"New SMTP ICID {n} ", f"ICID {n} ") for n in (11, 12, 14)]
DCID_21, DCID_22, DCID_23 = [(f"New SMTP DCID {n} ", f"DCID {n} ") for n in (21, 22, 23)]


def test_a_connection_shows_itself_and_its_messages(paths: list[Path]) -> None:
    assert texts(paths, Criteria(icid=11)) == picked(*ICID_11, *MID_1)
    assert texts(paths, Criteria(icid=12)) == picked(*ICID_12, *MID_2, *MID_3)
    assert texts(paths, Criteria(dcid=22)) == picked(*DCID_22, *MID_2, *MID_3)
    assert texts(paths, Criteria(icid=14)) == picked(*ICID_14)


def test_a_message_shows_its_connections_but_not_their_other_messages(paths: list[Path]) -> None:
    assert texts(paths, Criteria(mid=1)) == picked(*ICID_11, *MID_1, *DCID_21)
    assert texts(paths, Criteria(mid=2)) == picked(*ICID_12, *MID_2, *DCID_22)
    assert texts(paths, Criteria(mid=3)) == picked(*ICID_12, *MID_3, *DCID_22)


@pytest.mark.parametrize(
    "address", ["bob@partner.example", "BOB@PARTNER.EXAMPLE", "<Bob@Partner.example>", "@partner.example"]
)
def test_an_address_is_found_in_any_case_with_all_of_its_message(paths: list[Path], address: str) -> None:
    assert texts(paths, Criteria(address=address)) == picked(*ICID_11, *MID_1, *DCID_21)


def test_an_address_finds_senders_too(paths: list[Path]) -> None:
    assert texts(paths, Criteria(address="eve@example.net")) == picked(*ICID_12, *MID_2, *MID_3, *DCID_22)
    assert texts(paths, Criteria(address="partner.example")) == []


def test_tls_success(paths: list[Path]) -> None:
    assert texts(paths, Criteria(tls=TlsFound.SUCCESS)) == picked(*ICID_11, *DCID_21, *MID_1)


def test_tls_failed(paths: list[Path]) -> None:
    assert texts(paths, Criteria(tls=TlsFound.FAILED)) == picked(*ICID_14, *DCID_23, *MID_5)


def test_tls_none_is_what_was_carried_without_a_tls_line(paths: list[Path]) -> None:
    assert texts(paths, Criteria(tls=TlsFound.NONE)) == picked(*ICID_12, *DCID_22, *MID_2, *MID_3)


def test_criteria_narrow_each_other_down(paths: list[Path]) -> None:
    assert texts(paths, Criteria(icid=12, address="carol@other.example")) == picked(*ICID_12, *MID_2)
    assert texts(paths, Criteria(icid=11, mid=2)) == []
    assert texts(paths, Criteria(mid=1, tls=TlsFound.SUCCESS)) == picked(*ICID_11, *MID_1, *DCID_21)
    assert texts(paths, Criteria(mid=1, tls=TlsFound.NONE)) == []
    assert texts(paths, Criteria(icid=11, tls=TlsFound.SUCCESS)) == picked(*ICID_11, *MID_1)
    assert texts(paths, Criteria(icid=14, tls=TlsFound.FAILED)) == picked(*ICID_14)
    assert texts(paths, Criteria(icid=14, tls=TlsFound.SUCCESS)) == []


def test_nothing_is_asked_nothing_is_left_out(paths: list[Path]) -> None:
    assert texts(paths, Criteria()) == (OLD + NEW).splitlines()


def test_what_does_not_exist_is_not_found(paths: list[Path]) -> None:
    for criteria in (
        Criteria(icid=1),
        Criteria(mid=99),
        Criteria(dcid=11),
        Criteria(icid=0),
        Criteria(mid=0),
    ):
        assert texts(paths, criteria) == []


def test_since_leaves_out_what_is_older(paths: list[Path]) -> None:
    since = float(timegm((2023, 9, 6, 13, 13, 19)))
    assert texts(paths, Criteria(since=since)) == NEW.splitlines()
    assert texts(paths, Criteria(mid=1, since=since)) == [
        text for text in picked(*ICID_11, *MID_1, *DCID_21) if text in NEW.splitlines()
    ]


def test_a_line_is_given_whole_and_in_parts(paths: list[Path]) -> None:
    (line,) = [line for line in find(paths, Criteria(mid=1)) if line.text == "MID 1 queued for delivery"]
    assert line.raw == "Wed Sep  6 13:13:12 2023 Info: MID 1 queued for delivery"
    assert line.level == "Info"
    assert line.at == timegm((2023, 9, 6, 13, 13, 12))


def test_local_time_is_reckoned_with_the_offset_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text(f"{HEAD.format(0)}Time offset from UTC: 7200 seconds\n{HEAD.format(1)}ICID 1 close\n")
    (line,) = find([path], Criteria(icid=1))
    assert line.at == timegm((2023, 9, 6, 11, 13, 1))


def test_a_line_that_is_still_being_written_and_a_missing_file_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_bytes(f"{HEAD.format(1)}ICID 1 close\n\xff\n\n{HEAD.format(1)}ICID 1 clo".encode("latin-1"))
    assert texts([tmp_path / "gone", path], Criteria(icid=1)) == ["ICID 1 close"]
    assert len(texts([path], Criteria())) == 3


def test_ids_behind_the_head_of_a_line_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text(f'{HEAD.format(1)}MID 7 Subject "Start MID 9 ICID 9"\n{HEAD.format(1)}text MID 9\n')
    assert texts([path], Criteria(mid=9)) == []
    assert len(texts([path], Criteria(mid=7))) == 1


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2h", 992_800.0),
        ("90s", 999_910.0),
        ("5m", 999_700.0),
        ("1d", 913_600.0),
        ("1970-01-02", 86_400.0),
        ("1970-01-01T00:01:00", 60.0),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T02:01:00+02:00", 60.0),
    ],
)
def test_since_is_a_duration_or_a_time(text: str, since: float) -> None:
    assert parse_since(text, 1_000_000.0) == since


@pytest.mark.parametrize("text", ["", "yesterday", "2w", "h", "-1h", "2023-13-01"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        parse_since(text, 0.0)


REJECTED = """\
ICID 31 REJECT SG BLOCKED_LIST match 10.0.0.9 SBRS None
ICID 31 Delayed HAT REJECT continuing session for recipient logging (10.0.0.9)
ICID 31 Delayed HAT REJECT Message from: Eve@bad.example (10.0.0.9)
ICID 31 Delayed HAT REJECT Message recipient: <mary@example.net> (10.0.0.9)
ICID 31 close
ICID 32 Delayed HAT REJECT Message from: eve@bad.example.org (2001:db8::9)
ICID 32 close
"""


@pytest.mark.parametrize("address", ["eve@bad.example", "<mary@example.net>", "@example.net"])
def test_an_address_finds_rejected_senders_that_named_it(tmp_path: Path, address: str) -> None:
    file = tmp_path / "mail_logs"
    file.write_text("".join(HEAD.format(0) + line + "\n" for line in REJECTED.splitlines()))
    assert texts([file], Criteria(address=address)) == REJECTED.splitlines()[:5]
    assert texts([file], Criteria(address=address, icid=32)) == []
    assert texts([file], Criteria(address=address, mid=1)) == []
    assert texts([file], Criteria(address=address, tls=TlsFound.SUCCESS)) == []
