"""`gatepost user …`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.kit import Bench
from tests.control.shell.running import desk, gatepost

from gatepost.core.errors import Exit
from gatepost.store.home import Home


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
def file(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text("orchid lantern seventeen rivers\nnot this line\n")
    return str(path)


def test_users_are_listed(stopped: Home, file: str) -> None:
    said = gatepost("user", "add", "mary@example.net", "--passphrase-file", file)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Version 2 is stored.")
    assert gatepost("user", "disable", "mary@example.net").code == 0
    assert gatepost("user", "list").out.splitlines() == [
        "Name              Roles          State",
        "admin             administrator  enabled",
        "mary@example.net  smtp           disabled",
    ]
    listed = json.loads(gatepost("user", "list", "--json").out)
    assert listed[1] == {"name": "mary@example.net", "roles": ["smtp"], "enabled": False}


def test_a_running_gateway_takes_the_user_up_at_once(running: Bench, file: str) -> None:
    added = ("user", "add", "boss", "--role", "smtp", "--role", "administrator", "--passphrase-file", file)
    assert gatepost(*added).out == "Version 2 is active.\n"
    assert gatepost("user", "passphrase", "boss", "--passphrase-file", file).code == 0
    assert gatepost("user", "disable", "boss").code == 0
    assert gatepost("user", "enable", "boss", "--json").code == 0
    assert gatepost("user", "delete", "boss").out == "Version 6 is active.\n"


def test_the_pass_phrase_may_come_on_standard_input(stopped: Home) -> None:
    said = gatepost(
        "user", "add", "mary", "--passphrase-file", "-", stdin=b"orchid lantern seventeen rivers\n"
    )
    assert said.code == 0


def test_without_a_terminal_a_pass_phrase_has_to_be_given(stopped: Home) -> None:
    said = gatepost("user", "add", "mary")
    assert said.code == Exit.USAGE
    assert said.err.strip() == "no pass-phrase was given for mary (give it with --passphrase-file FILE)"


def test_a_weak_pass_phrase_is_refused_and_not_repeated(stopped: Home) -> None:
    said = gatepost("user", "add", "mary", "--passphrase-file", "-", stdin=b"letmein letmein\n")
    assert said.code == Exit.REFUSED
    assert "letmein" not in said.out + said.err
