"""The outermost boundary: what the operator sees of a mistake, and of a bug."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from gatepost.app.main import role_arguments, run
from gatepost.core.errors import ConfigurationError, Exit, OperatorError, Problem
from gatepost.store.home import Home

Capture = pytest.CaptureFixture[str]


def raising(error: BaseException) -> int:
    def commands(_arguments: Sequence[str]) -> int:
        raise error

    return run([], commands)


def test_the_exit_code_of_a_command_is_passed_on() -> None:
    assert run(["a"], lambda arguments: len(arguments)) == 1


def test_an_operators_error_is_one_sentence_and_a_hint(capsys: Capture) -> None:
    assert raising(OperatorError("it is taken", "take another", code=Exit.TRY_AGAIN)) == 75
    assert capsys.readouterr().err == "gatepost: it is taken (take another)\n"


def test_all_problems_are_listed_one_a_line(capsys: Capture) -> None:
    problems = (Problem("a[0].b", "is bad", "mend it"), Problem("c", "is worse"))
    assert raising(ConfigurationError(problems)) == 78
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["a[0].b: is bad (mend it)", "c: is worse"]
    assert lines[2].startswith("gatepost: the configuration has 2 faults")


def test_a_bug_is_a_reference_here_and_a_traceback_in_the_log(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.initialise({})
    monkeypatch.setattr(sys, "argv", ["gatepost", "x", "--home", str(home.root)])
    assert raising(ZeroDivisionError("a secret detail")) == 70
    line = capsys.readouterr().err
    assert "secret" not in line
    assert len(line.splitlines()) == 1
    reference = line.split()[-1]
    assert reference in home.mail_log.read_text()
    events = home.event_log.read_text()
    assert "Traceback" in events
    assert "a secret detail" in events


def test_a_bug_without_a_home_is_still_one_line(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["gatepost", f"--home={tmp_path / 'nowhere'}"])
    assert raising(ZeroDivisionError("a secret detail")) == 70
    line = capsys.readouterr().err
    assert "ZeroDivisionError" in line
    assert "secret" not in line
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), apsw.FullError("x")]
)
def test_a_full_disk_is_no_bug(error: Exception, capsys: Capture) -> None:
    assert raising(error) == 75
    said = "gatepost: no space is left on the disk (free some where the home is, and try again)\n"
    assert capsys.readouterr().err == said


def test_ctrl_c_is_no_bug(capsys: Capture) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_the_roles_take_exactly_their_arguments() -> None:
    assert role_arguments(["--channel", "3", "--descriptors", "4", "--parent", "5"]) == (3, 4, 5)
    for wrong in ([], ["--channel", "3"], ["--channel", "x", "--descriptors", "4", "--parent", "5"]):
        with pytest.raises(OperatorError) as refusal:
            role_arguments(wrong)
        assert refusal.value.code is Exit.USAGE


@pytest.mark.parametrize("arguments", [["no-such-command"], ["start", "--workers", "0"], ["start", "--nope"]])
def test_a_wrong_use_is_one_line_and_exit_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gatepost", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("gatepost: ")
