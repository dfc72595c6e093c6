"""The command: what it refuses before anything starts, and what it passes on."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gatepost.app.command_line import run_commands
from gatepost.app.zoo import namespace, visit
from gatepost.app.zoo.check import Result
from gatepost.app.zoo.options import Options
from gatepost.app.zoo.screen import differences, rows, summary
from gatepost.app.zoo.table import INHABITANTS, Column, Outcome, Verdict
from gatepost.app.zoo.unbound import to_run
from gatepost.core.errors import Exit, OperatorError


@pytest.mark.parametrize(
    ("words", "told", "hint"),
    [
        (["--inhabitant", "expird"], "`expird` is not an inhabitant of the zoo", "did you mean `expired`?"),
        (["--level", "highest"], "`highest` is not a level of the zoo", "there are none, preferred"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(words: list[str], told: str, hint: str) -> None:
    with pytest.raises(OperatorError) as caught:
        run_commands(["zoo", "check", *words])
    assert (caught.value.message, caught.value.code) == (told, Exit.USAGE)
    assert hint in caught.value.hint


def test_other_commands_do_not_load_the_zoo() -> None:
    code = "import sys; from gatepost.app.command_line import run_commands; run_commands(['zoo', '--help']);"
    code += "print([name for name in sys.modules if name.startswith('gatepost.app.zoo.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['gatepost.app.zoo.command']"


def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has and allows everything."""
    monkeypatch.setattr("shutil.which", lambda program, *, path=None: f"/bin/{program}")
    monkeypatch.setattr(namespace, "check", lambda: None)


def test_a_folder_that_is_there_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed(monkeypatch)
    with pytest.raises(OperatorError, match="cannot be made: File exists"):
        run_commands(["zoo", "start", "--folder", str(tmp_path)])


def test_the_options_arrive_as_they_were_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    allowed(monkeypatch)
    passed: list[str] = []
    monkeypatch.setattr(namespace, "enter", passed.append)
    folder = tmp_path / "kept"
    words = [
        "--inhabitant",
        "expired",
        "--level",
        "sts",
        "--level",
        "none",
        "--json",
        "--folder",
        str(folder),
    ]
    run_commands(["zoo", "check", *words])
    options = Options.read(passed[0])
    assert options.check
    assert options.as_json
    assert (options.inhabitants, options.levels) == (("expired",), ("sts", "none"))
    assert options.folder == str(folder)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "unshare: unshare failed: Operation not permitted",
            "does not give the zoo a network of its own: operation not permitted",
        ),
        (
            "unshare: failed to execute /opt/python: Permission denied",
            "cannot be run in a namespace of its own: permission denied",
        ),
        ("", "it does not say why"),
    ],
)
def test_a_machine_without_namespaces_is_told_what_to_do(said: str, told: str) -> None:
    refused = namespace._refused(said)
    assert told in refused.message
    assert refused.hint


@pytest.mark.parametrize(
    ("missing", "told", "hint"),
    [
        (
            {"unbound"},
            "the zoo needs unbound, which is not installed",
            "install the package unbound: apt-get install unbound; unbound's service need not run",
        ),
        (
            {"unbound", "ip", "mount"},
            "the zoo needs unbound, ip and mount, which are not installed",
            "install the packages unbound, iproute2 and mount: apt-get install unbound iproute2 mount; "
            "unbound's service need not run",
        ),
        (
            {"unshare"},
            "the zoo needs unshare, which is not installed",
            "install the package util-linux: apt-get install util-linux",
        ),
    ],
)
def test_missing_programs_are_told_at_once_by_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: set[str], told: str, hint: str
) -> None:
    def which(program: str, *, path: str | None = None) -> str | None:
        return None if program in missing else f"/bin/{program}"

    monkeypatch.setattr("shutil.which", which)
    with pytest.raises(OperatorError) as caught:
        run_commands(["zoo", "start", "--folder", str(tmp_path / "kept")])
    assert (caught.value.message, caught.value.hint) == (told, hint)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_namespaces_gets_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refuses = tmp_path / "unshare"
    refuses.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refuses.chmod(0o700)
    monkeypatch.setattr("shutil.which", lambda program, *, path=None: str(refuses))
    with pytest.raises(OperatorError, match="does not give the zoo a network"):
        run_commands(["zoo", "check", "--folder", str(tmp_path / "kept")])
    assert not (tmp_path / "kept").exists()


def test_a_full_disk_is_told_with_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def full(*unused: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(visit, "_serve", full)
    with pytest.raises(OperatorError, match=f"no space is left on the disk of {tmp_path}") as caught:
        visit.zoo([Options(True, folder=str(tmp_path)).text()])
    assert caught.value.code is Exit.TRY_AGAIN


def test_ctrl_c_in_the_first_second_leaves_no_traceback() -> None:
    """Nothing heavy is loaded before the boundary that takes it."""
    code = "import sys, gatepost.app.zoo.__main__; print([n for n in sys.modules if n in ('asyncio', 'pydantic')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_where_apparmor_keeps_the_resolver_to_its_folders_a_copy_is_run(tmp_path: Path) -> None:
    program, switch = tmp_path / "packaged", tmp_path / "enabled"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    assert to_run(str(program), tmp_path, switch) == str(program)
    switch.write_text("N\n")
    assert to_run(str(program), tmp_path, switch) == str(program)
    switch.write_text("Y\n")
    copy = Path(to_run(str(program), tmp_path, switch))
    assert copy == tmp_path / "unbound"
    assert copy.stat().st_mode & 0o100


ONE = INHABITANTS[0]
RESULTS = [
    Result(ONE, Column.NONE, Outcome(Verdict.CLEAR, "TLS is off"), Outcome(Verdict.CLEAR, "TLS is off"), ""),
    Result(
        ONE,
        Column.STS,
        Outcome(Verdict.REFUSED, "why"),
        Outcome(Verdict.CLEAR, "other\r\nthing " * 20),
        "clear, not refused",
    ),
    Result(ONE, Column.DANE, Outcome(Verdict.CLEAR, ""), None, "nothing became of the message"),
]


def test_differences_fit_the_screen_and_the_summary_counts_them() -> None:
    lines = differences(RESULTS)
    assert lines[0] == "keeper at sts: clear, not refused"
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    assert summary(RESULTS, 3.2) == "3 outcomes in 3 s: 2 not as the table says."
    assert summary(RESULTS[:1], 1.0) == "1 outcome in 1 s: all as the table says."


def test_the_rows_are_json_with_stable_keys() -> None:
    made = json.loads(json.dumps(rows(RESULTS)))
    keys = "inhabitant domain cases level expected_verdict expected_reason verdict reason agrees problem"
    assert list(made[0]) == keys.split()
    assert [row["agrees"] for row in made] == [True, False, False]
    assert made[2]["verdict"] == ""
