"""`gatepost ca …`: what the commands about authorities and revocation lists say, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.kit import Bench
from tests.control.shell.running import desk, gatepost
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import Exit
from gatepost.store.home import Home
from gatepost.store.revocations import Fetching, put_fetching

ROOT = TestAuthority("One CA")
URL = "http://crl.example/one.crl"


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


@pytest.fixture
def running(stopped: Home) -> Iterator[Bench]:
    bench = Bench(stopped)
    with desk(bench):
        yield bench
    bench.store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(ROOT.root_pem)
    return path


def test_the_list_shows_subject_end_fingerprint_and_status(stopped: Home, file: Path) -> None:
    assert gatepost("ca", "import", str(file)).code == 0
    said = gatepost("ca", "list").out
    (line,) = [line for line in said.splitlines() if line.startswith("One CA")]
    (row,) = [row for row in json.loads(gatepost("ca", "list", "--json").out) if row["list"] == "custom"]
    assert row["fingerprint"][:12] in line
    assert row["not_after"][:10] in line
    assert line.endswith("valid")
    assert row["findings"] == []
    assert len(gatepost("ca", "list", "--all").out) >= len(said)


def test_one_is_shown_and_removed(stopped: Home, file: Path) -> None:
    gatepost("ca", "import", str(file))
    (row,) = [row for row in json.loads(gatepost("ca", "list", "--json").out) if row["list"] == "custom"]
    shown = gatepost("ca", "show", row["fingerprint"][:12])
    assert shown.code == 0
    assert row["fingerprint"] in shown.out
    assert ROOT.root_pem.decode() in shown.out
    assert json.loads(gatepost("ca", "show", row["fingerprint"], "--json").out)["subject"] == "CN=One CA"
    assert "CN=One CA removed" in gatepost("ca", "remove", row["fingerprint"]).out
    missing = gatepost("ca", "remove", row["fingerprint"])
    assert (missing.code, missing.out) == (Exit.REFUSED, "")
    assert "fingerprint" in missing.err


def test_an_import_says_what_was_left_out_on_standard_error(stopped: Home, tmp_path: Path) -> None:
    path = tmp_path / "mixed.pem"
    path.write_bytes(ROOT.root_pem + ROOT.issue(["mx.example"]).leaf_pem)
    said = gatepost("ca", "import", str(path))
    assert said.code == 0
    assert "1 new authority" in said.out
    assert "file: left out: CN=mx.example is not the certificate of an authority" in said.err
    path.write_bytes(ROOT.issue(["mx.example"]).leaf_pem)
    refused = gatepost("ca", "import", str(path))
    assert refused.code == Exit.REFUSED
    assert "take the certificate of the authority that signed it" in refused.err
    assert f"{path}: nothing can be imported" in refused.err


def test_the_systems_list_is_exported(stopped: Home, tmp_path: Path) -> None:
    out = tmp_path / "system.pem"
    rows = [row for row in json.loads(gatepost("ca", "list", "--json").out) if row["list"] == "system"]
    if not rows:
        pytest.skip("this machine has no list of authorities")
    assert gatepost("ca", "export", str(out), "--list", "system").code == 0
    assert out.read_text().count("BEGIN CERTIFICATE") == len(rows)


def test_a_revocation_list_from_a_file(stopped: Home, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.crl"
    path.write_bytes(ROOT.revocation_list(ROOT.issue(["mx.example"]).leaf))
    unknown = gatepost("ca", "crl", "import", str(path))
    assert unknown.code == Exit.REFUSED
    assert "gatepost ca import FILE" in unknown.err
    assert f"{path}: " in unknown.err
    gatepost("ca", "import", str(file))
    said = gatepost("ca", "crl", "import", str(path))
    assert said.out.startswith("The list of CN=One CA is in use: 1 certificate revoked, next update ")
    assert "is in use already" in gatepost("ca", "crl", "import", str(path)).out
    listed = gatepost("ca", "crl", "list").out
    assert "(from a file)" in listed
    assert "good" in listed
    (row,) = json.loads(gatepost("ca", "crl", "list", "--json").out)
    assert (row["issuer"], row["status"], row["revoked"]) == ("CN=One CA", "good", 1)
    assert "forgotten" in gatepost("ca", "crl", "remove", "CN=One CA").out
    assert "No revocation lists" in gatepost("ca", "crl", "list").out


def test_urls_are_added_fetched_and_removed(running: Bench) -> None:
    assert gatepost("ca", "crl", "add", URL, "--name", "One", "--every", "1h").out == "Version 2 is active.\n"
    put_fetching(running.store, URL, Fetching(5.0, 0.0, 1, "connection refused"))
    said = gatepost("ca", "crl", "fetch", "One")
    assert said.code == Exit.REFUSED
    assert "missing" in said.out
    assert "One: the last attempt failed: connection refused" in said.err
    put_fetching(running.store, URL, Fetching(5.0, 5.0))
    assert gatepost("ca", "crl", "fetch", "--json").code == 0
    bad = gatepost("ca", "crl", "add", "ftp://crl.example/")
    assert bad.code == Exit.FAULTY_CONFIGURATION
    assert "certificate_authorities.crl[1]" in bad.err
    assert gatepost("ca", "crl", "remove", "One").code == 0


def test_fetching_needs_the_running_gateway(stopped: Home) -> None:
    assert gatepost("ca", "crl", "fetch").code == Exit.NOT_RUNNING


@pytest.mark.parametrize("command", ["list", "add", "import", "fetch", "remove"])
def test_every_command_takes_a_home_and_json_and_has_a_help_of_80_columns(command: str) -> None:
    said = gatepost("ca", "crl", command, "--help")
    assert said.code == 0
    assert "--home" in said.out
    assert "--json" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
