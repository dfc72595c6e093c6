"""The command line, on a stopped gateway and on a running one: what it says, where, and its exit codes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, message, pem_of
from tests.control.shell.running import desk, gatepost
from tests.fakes.ca import TestAuthority

from gatepost.control.shell.client import Client
from gatepost.core.errors import Exit
from gatepost.store.home import Home

DEMO = (
    "listeners[0].certificate: Demo is a demo certificate: it encrypts, but nobody can verify it (listener IncomingMail, delivery) "
    "(make or import a certificate of your own)\n"
)


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
    path = tmp_path / "gateway.yaml"
    path.write_text(CONTRACT_LIKE)
    return path


def test_apply_on_a_stopped_gateway_says_when_it_becomes_active(stopped: Home, file: Path) -> None:
    said = gatepost("config", "apply", str(file), "--comment", "first")
    assert (said.code, said.err) == (0, DEMO)
    assert said.out.startswith("Version 2 is stored. The gateway is not running")
    assert json.loads(gatepost("config", "history", "--json").out)[0]["comment"] == "first"


def test_apply_on_a_running_gateway_is_active_at_once(running: Bench, file: Path) -> None:
    said = gatepost("config", "apply", str(file))
    assert (said.code, said.out) == (0, "Version 2 is active.\n")
    assert running.gateway is not None
    assert running.gateway.active["version"] == 2


def test_standard_input_is_a_file_too(stopped: Home) -> None:
    assert gatepost("config", "apply", "-", stdin=CONTRACT_LIKE.encode()).code == 0


def test_faults_are_lines_on_standard_error_and_exit_78(running: Bench, file: Path) -> None:
    file.write_text("systm: {}\nlisteners: 7\n")
    for command in ("apply", "check"):
        said = gatepost("config", command, str(file))
        assert said.code == Exit.FAULTY_CONFIGURATION
        assert "systm: unknown key (did you mean system?)" in said.err.splitlines()
        assert said.out == ""
    found = gatepost("config", "check", str(file), "--json")
    assert found.code == Exit.FAULTY_CONFIGURATION
    assert {"path", "text", "hint", "severity"} == json.loads(found.out)[0].keys()


def test_warnings_are_said_in_the_contracts_words_with_exit_0(stopped: Home, file: Path) -> None:
    file.write_text(CONTRACT_LIKE + "tls_settings: {web: {minimum: TLSv1.3}}\n")
    for command in ("check", "apply"):
        said = gatepost("config", command, str(file))
        assert said.code == 0
        assert said.err == f"tls_settings.web: stored, not yet enforced\n{DEMO}"


def test_a_file_that_cannot_be_read(stopped: Home, tmp_path: Path) -> None:
    for name, words in (("gone.yaml", "No such file"), (".", "Is a directory")):
        said = gatepost("config", "apply", str(tmp_path / name))
        assert said.code == Exit.REFUSED
        assert words in said.err


def test_show_prints_what_apply_takes(stopped: Home) -> None:
    gatepost("config", "apply", "-", stdin=CONTRACT_LIKE.encode())
    text = gatepost("config", "show").out
    assert "hostname: gw.example.net" in text
    assert gatepost("config", "apply", "-", stdin=text.encode()).code == 0
    assert gatepost("config", "show").out == text
    one, other = (gatepost("config", "show", *form).out for form in (("--json",), ("--format", "json")))
    assert json.loads(one)["system"] == {"hostname": "gw.example.net"}
    assert one == other


def test_pending_commit_and_clear(running: Bench, file: Path) -> None:
    assert "pending" in gatepost("config", "apply", str(file), "--pending").out
    assert "system.hostname" in gatepost("config", "pending").out
    assert "version 1" in gatepost("config", "pending").out
    assert gatepost("config", "commit").out == "Version 2 is active.\n"
    assert gatepost("config", "pending").out == "You have no pending changes.\n"
    assert gatepost("config", "commit").code == Exit.REFUSED
    assert gatepost("config", "clear").out == "You had no pending changes.\n"


def test_a_conflict_shows_both_sides(running: Bench, file: Path) -> None:
    gatepost("config", "apply", str(file))
    file.write_text(CONTRACT_LIKE.replace("port: 2525", "port: 2527"))
    gatepost("config", "apply", str(file), "--pending")
    running.apply(CONTRACT_LIKE.replace("port: 2525", "port: 2526"), uid=4242)
    said = gatepost("config", "commit")
    assert said.code == Exit.REFUSED
    assert "listeners[IncomingMail].port: was 2525, is 2526 in version 3, and 2527 in your change" in said.err
    assert "still pending" in said.err
    assert "local:4242" in said.err


def test_an_export_with_keys_is_for_its_owner_only(stopped: Home, tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    said = gatepost("config", "export", str(out), "--with-certificates")
    assert "private keys in clear" in said.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in out.read_text()
    assert "no certificates and no keys" in gatepost("config", "export", str(out)).err
    assert "PRIVATE KEY" not in out.read_text()
    assert gatepost("config", "export", "-").out == out.read_text()
    assert gatepost("config", "export", str(tmp_path / "no" / "x")).code == Exit.REFUSED
    assert gatepost("config", "export", str(tmp_path)).code == Exit.USAGE


def test_certificates_made_listed_and_shown(stopped: Home) -> None:
    made = gatepost(
        "cert", "new", "gw", "--common-name", "mx.example.net", "--key", "p256", "--san", "a.example"
    )
    assert made.code == 0
    assert "DNS:a.example" in made.out
    assert "verification" in made.out
    rows = json.loads(gatepost("cert", "list", "--json").out)
    assert [row["name"] for row in rows] == ["Demo", "gw"]
    listed = gatepost("cert", "list").out
    assert max(map(len, listed.splitlines())) <= 80
    shown = gatepost("cert", "show", "gw").out
    assert "self-signed" in shown
    assert json.loads(gatepost("cert", "show", "gw", "--json").out)["common_name"] == "mx.example.net"
    assert gatepost("cert", "new", "gw", "--common-name", "x.example").code == Exit.REFUSED


def test_a_pass_phrase_on_the_command_line_is_visible_and_said_once(stopped: Home, tmp_path: Path) -> None:
    path = tmp_path / "gw.pem"
    path.write_bytes(pem_of(TestAuthority("Example CA").issue(["mx.example.net"])))
    said = gatepost("cert", "import", "gw", str(path), "--passphrase", "not-secret-at-all")
    assert said.code == 0
    assert said.err.count("visible to others") == 1
    assert "not-secret-at-all" not in said.out + said.err
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    said = gatepost("cert", "import", "gw", str(path), "--passphrase-file", str(secret), "--replace")
    assert (said.code, said.err) == (0, "")
    both = gatepost("cert", "import", "x", str(path), "--passphrase", "a", "--passphrase-file", str(secret))
    assert both.code == Exit.USAGE


def test_an_encrypted_file_without_a_terminal_says_how_to_give_the_pass_phrase(
    running: Bench, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

    issued = TestAuthority("Example CA").issue(["mx.example.net"])
    path = tmp_path / "gw.p12"
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"gw", issued.key, issued.leaf, None, BestAvailableEncryption(b"open")
        )
    )
    said = gatepost("cert", "import", "gw", str(path))
    assert said.code == Exit.REFUSED
    assert "--passphrase-file" in said.err
    wrong = gatepost("cert", "import", "gw", str(path), "--passphrase", "shut")
    assert "does not open" in wrong.err
    assert gatepost("cert", "import", "gw", str(path), "--passphrase", "open").code == 0


def test_authorities(stopped: Home, tmp_path: Path) -> None:
    path, out = tmp_path / "ca.pem", tmp_path / "out.pem"
    path.write_bytes(TestAuthority("One CA").root_pem)
    said = gatepost("ca", "import", str(path))
    assert "1 new authority" in said.out
    assert "ca enable custom" in said.out
    assert gatepost("ca", "enable", "custom").code == 0
    assert gatepost("ca", "disable", "system").code == 0
    listed = gatepost("ca", "list").out
    assert "System list: off" in listed
    assert "Custom list: on, 1 authority" in listed
    assert {row["list"] for row in json.loads(gatepost("ca", "list", "--json").out)} >= {"custom"}
    assert gatepost("ca", "export", str(out)).code == 0
    assert out.read_bytes() == path.read_bytes()
    assert gatepost("ca", "enable", "other").code == Exit.USAGE


@pytest.fixture
def queued(running: Bench) -> Bench:
    assert running.gateway is not None
    running.gateway.workers[0].messages = {
        7: message(7, "b@one.example"),
        8: message(8, "c@two.example", "\x1b[31md@two.example", state="held"),
    }
    return running


def test_the_queue_is_listed_and_hostile_text_is_escaped(queued: Bench) -> None:
    said = gatepost("queue", "list")
    assert said.code == 0
    assert "<a@example.net> -> b@one.example" in said.out
    assert "\x1b" not in said.out
    rows = json.loads(gatepost("queue", "list", "--json").out)
    assert [row["mid"] for row in rows] == [7, 8]
    assert (
        gatepost("queue", "list", "--domain", "nobody.example").out == "Nothing waits for nobody.example.\n"
    )


def test_what_a_message_is_and_asks_of_tls_is_shown_where_it_is_not_ordinary(queued: Bench) -> None:
    assert queued.gateway is not None
    messages = queued.gateway.workers[0].messages
    messages[7] |= {"listener": "", "about": 0, "requiretls": True, "recipients": []}
    messages[8] |= {"listener": "", "about": 0, "tls_optional": True, "kind": "alert", "recipients": []}
    messages[9] = message(9, "d@two.example")
    said = gatepost("queue", "list").out
    assert "REQUIRETLS: <a@example.net> -> " in said
    assert "alert: TLS-Required: No: <a@example.net> -> " in said
    assert "  <a@example.net> -> d@two.example" in said
    assert "Asks of TLS  REQUIRETLS\n" in gatepost("queue", "show", "7").out
    shown = gatepost("queue", "show", "8").out
    assert "Kind         alert\n" in shown
    assert "Asks of TLS  TLS-Required: No\n" in shown


def test_removing_mail_wants_a_yes(queued: Bench) -> None:
    for action in ("delete", "bounce"):
        said = gatepost("queue", action, "7")
        assert said.code == Exit.USAGE
        assert "--yes" in said.err
    assert gatepost("queue", "delete", "7", "--yes").out == "1 message deleted.\n"
    assert gatepost("queue", "hold").code == Exit.USAGE
    assert gatepost("queue", "hold", "8", "--all").code == Exit.USAGE
    assert gatepost("queue", "release", "--all").out == "1 message released.\n"
    assert gatepost("queue", "bounce", "--domain", "two.example", "-y").out == "1 message returned.\n"
    assert gatepost("queue", "list").out == "The queue is empty.\n"


def test_status_is_readable_in_80_columns_and_whole_in_json(queued: Bench, file: Path) -> None:
    file.write_text(CONTRACT_LIKE + "tls_settings: {web: {minimum: TLSv1.3}}\n")
    gatepost("config", "apply", str(file))
    said = gatepost("status")
    assert said.code == 0
    for words in ("worker 1", "127.0.0.1:2525", "2 messages, 1 held", "version 2", "not yet enforced"):
        assert words in said.out
    assert "{" not in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    found = json.loads(gatepost("status", "--json").out)
    assert found["queue"]["messages"] == 2


def test_what_needs_a_running_gateway_says_so(stopped: Home) -> None:
    for command in (("status",), ("queue", "list"), ("queue", "delete", "7", "--yes")):
        said = gatepost(*command)
        assert said.code == Exit.NOT_RUNNING
        assert "gatepost start" in said.err


def test_any_command_makes_an_empty_home_into_one(tmp_path: Path) -> None:
    for number, command in enumerate((("status",), ("log", "find"), ("config", "history"))):
        root = tmp_path / str(number)
        gatepost(*command, "--home", str(root))
        assert stat.S_IMODE((root / "secrets" / "master.key").stat().st_mode) == 0o600
        assert json.loads(gatepost("config", "history", "--json", "--home", str(root)).out)[0]["version"] == 1


def test_the_loser_of_the_homes_lock_exits_75(stopped: Home) -> None:
    with stopped.lock("gatepost start"):
        said = gatepost("config", "history")
    assert said.code == Exit.TRY_AGAIN
    assert "gatepost start" in said.err


def test_a_store_is_left_closed_and_unlocked_after_a_refusal(stopped: Home) -> None:
    assert gatepost("cert", "show", "gone").code == Exit.REFUSED
    with stopped.lock("next"):
        pass


def test_the_log_is_found_on_a_stopped_gateway(stopped: Home) -> None:
    gatepost("ca", "disable", "system")
    said = gatepost("log", "find", "--since", "1d")
    assert "ca.switch by local:" in said.out
    found = json.loads(gatepost("log", "find", "--since", "1d", "--json").out)
    assert {"time", "level", "text", "line"} == found[0].keys()
    assert gatepost("log", "find", "--mid", "4711", "--json").out == "[]\n"
    assert gatepost("log", "find", "--mid", "4711").err == "No line matches.\n"
    assert gatepost("log", "find", "--tls", "perhaps").code == Exit.USAGE


def test_a_home_can_be_named_beside_the_environments(stopped: Home, tmp_path: Path) -> None:
    assert Client(None).home.root == stopped.root
    assert Client(str(tmp_path)).home.root == tmp_path


def test_every_command_takes_a_home_and_has_a_help_of_80_columns() -> None:
    groups = {
        "config": "apply check show pending commit clear diff history rollback export",
        "cert": "new import list show",
        "ca": "list show import export remove enable disable",
        "queue": "list show retry hold release delete bounce",
        "log": "find follow",
    }
    commands = [("status",), *((name, one) for name, all_ in groups.items() for one in all_.split())]
    for command in commands:
        said = gatepost(*command, "--help")
        assert said.code == 0, command
        assert "--home" in said.out, command
        assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.slow
def test_the_whole_command_in_processes_of_its_own(tmp_path: Path) -> None:
    """From an empty home to a committed file; no traceback whatever happens."""
    environ = {**os.environ, "GATEPOST_HOME": str(tmp_path / "home")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gatepost", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    (tmp_path / "good.yaml").write_text(CONTRACT_LIKE)
    (tmp_path / "bad.yaml").write_text(CONTRACT_LIKE + "systm: {}\n")
    assert run("config", "apply", str(tmp_path / "good.yaml")).returncode == 0
    bad = run("config", "apply", str(tmp_path / "bad.yaml"))
    assert (bad.returncode, bad.stdout) == (78, "")
    assert bad.stderr.splitlines()[0] == "systm: unknown key (did you mean system?)"
    status = run("status")
    assert (status.returncode, status.stdout) == (69, "")
    assert status.stderr.startswith("gatepost: the gateway is not running")
    assert run("cert", "nothing", "gw").returncode == 2
    assert "Traceback" not in bad.stderr + status.stderr
