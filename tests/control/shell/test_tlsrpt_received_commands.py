"""`gatepost tlsrpt import|received` and `gatepost sts show|check`, as an administrator sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench
from tests.control.shell.running import gatepost
from tests.fakes.dkim_signer import Key, signed
from tests.fakes.dns_authority import DnsAuthority
from tests.wire.test_tlsrpt_received import PACKED, mail

from gatepost.control.shell import sts_commands
from gatepost.core.errors import Exit
from gatepost.store.home import Home


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    bench = Bench(home)
    bench.apply(CONTRACT_LIKE + "mta_sts_policies: [{domain: example.net, mx: [mx.example.net]}]\n")
    bench.store.close()
    return home


def test_a_report_is_imported_listed_and_shown(stopped: Home, tmp_path: Path) -> None:
    file = tmp_path / "report.json.gz"
    file.write_bytes(PACKED)
    assert gatepost("tlsrpt", "import", str(file)).out == (
        "Report 1 is kept: Partner Ltd about example.net, 2026-11-23, 125 sessions, 3\n"
        "                  failed.\n"
        "Its submitter is not verified: the file is not the mail that it came in, which\n"
        "would have a signature.\n"
    )
    (tmp_path / "mail.eml").write_bytes(mail())
    again = gatepost("tlsrpt", "import", str(tmp_path / "mail.eml")).out
    assert again == "Report 1 was known already; nothing was changed.\n"
    listed = gatepost("tlsrpt", "received", "example.net", "--days", "3000").out.splitlines()
    assert " ".join(listed[0].split()) == "ID Day Domain From DKIM Failed Why"
    row = "1 2026-11-23 example.net Partner Ltd no 3 of 125 certificate-expired 2"
    assert " ".join(listed[1].split()) == row
    shown = gatepost("tlsrpt", "received", "show", "1").out
    assert "Partner Ltd (submitter not verified)" in shown
    assert "DKIM      none: the file is not the mail" in shown
    assert "DKIM no: whom a report is from is a mere claim." in listed[-1]
    assert "failed: certificate-expired, 2 sessions, from 192.0.2.7" in shown
    assert all(len(line) <= 80 for line in (*listed, *shown.splitlines()))
    assert json.loads(gatepost("tlsrpt", "received", "show", "1", "--json").out)["report"] == 1
    assert json.loads(gatepost("tlsrpt", "received", "--days", "3000", "--json").out)[0]["report"] == 1


def test_a_signed_mail_is_verified_and_told_so(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    key, file = Key.ed25519(), tmp_path / "mail.eml"
    with DnsAuthority({"s1._domainkey.partner.example": {"TXT": [f'"{key.record()}"']}}) as server:
        bench = Bench(home)
        bench.apply(CONTRACT_LIKE + f'dns: {{servers: ["127.0.0.1:{server.port}"]}}\n')
        bench.store.close()
        file.write_bytes(signed(mail(), key))
        assert (
            "Its submitter is verified: signed by partner.example"
            in gatepost("tlsrpt", "import", str(file)).out
        )
    listed = gatepost("tlsrpt", "received", "--days", "3000").out.splitlines()
    assert listed[1].split()[5] == "yes"
    assert "mere claim" not in listed[-1]
    shown = gatepost("tlsrpt", "received", "show", "1").out
    assert "Partner Ltd (verified: partner.example)" in shown
    assert all(len(line) <= 80 for line in (*listed, *shown.splitlines()))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("received", "show"), Exit.USAGE, "a report is shown by its number"),
        (("received", "show", "x"), Exit.USAGE, "a report is shown by its number"),
        (("received", "show", "9"), Exit.REFUSED, "there is no report 9"),
        (("received", "a.example", "b.example"), Exit.USAGE, "one word too many"),
        (("received", "not a name"), Exit.USAGE, "is not a domain name"),
        (("received", "--days", "0"), Exit.USAGE, "--days is a number from 1 on"),
        (("import", "/nowhere/report.json"), Exit.REFUSED, "cannot be read"),
    ],
)
def test_what_is_refused_is_said_in_a_sentence(
    stopped: Home, words: tuple[str, ...], code: Exit, said: str
) -> None:
    answer = gatepost("tlsrpt", *words)
    assert answer.code == code
    assert said in answer.err


def test_a_file_that_is_no_report_is_named(stopped: Home, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear administrator\n")
    answer = gatepost("tlsrpt", "import", str(file))
    assert answer.code == Exit.REFUSED
    assert answer.err.startswith(f"{file}: there is no TLS report in it (")


def test_none_has_come(stopped: Home) -> None:
    assert gatepost("tlsrpt", "received").out == "No report about the last 14 days has come in.\n"
    said = gatepost("tlsrpt", "received", "example.net", "--days", "1").out
    assert said == "No report about example.net in the last 1 day has come in.\n"


def test_a_policy_is_shown_with_its_records(stopped: Home) -> None:
    shown = gatepost("sts", "show").out
    assert "    mode: testing\n    mx: mx.example.net\n" in shown
    assert "_smtp._tls.example.net.\n" in shown
    assert "there is no public_web" in shown
    assert json.loads(gatepost("sts", "show", "example.net", "--json").out)["domain"] == "example.net"
    assert gatepost("sts", "show", "other.example").code == Exit.REFUSED


@pytest.mark.parametrize("length", [10, 64, 65, 200])
def test_a_record_to_publish_fits_the_screen_whole(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    text = ("v=TLSRPTv1; rua=https://tlsrpt.example.net/" + "v1/" * length)[:length]
    sts_commands.say_txt(text)
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "".join(said.split('"')[1::2]) == text
    assert ("TXT (" in said) == (length > 64)
