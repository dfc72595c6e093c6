"""`gatepost zoo check` whole: every inhabitant, every level, one real message each, in a network of its own."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from tests.live.peers.processes import Program, need, need_root, run

from gatepost.app.zoo.table import INHABITANTS, Column

COMMAND = (sys.executable, "-P", "-m", "gatepost")


def _needs() -> None:
    need_root("the zoo's network")
    need("unbound", "unbound")
    need("ip", "iproute2")


def test_every_inhabitant_meets_the_outcome_of_the_table(tmp_path: Path) -> None:
    _needs()
    done = run([*COMMAND, "zoo", "check", "--json", "--folder", str(tmp_path / "zoo")], timeout=360)
    rows = json.loads(done.stdout)
    wrong = [row for row in rows if not row["agrees"]]
    assert not wrong, json.dumps(wrong, indent=1)
    assert done.returncode == 0
    assert len(rows) == sum(len(one.expected) for one in INHABITANTS)
    assert {row["level"] for row in rows} == {column.value for column in Column}
    events = (tmp_path / "zoo" / "home" / "logs" / "events.jsonl").read_text()
    assert '"InternalError"' not in events


def test_a_person_may_walk_through_the_zoo_and_leaves_nothing_behind() -> None:
    _needs()
    program = Program(
        [*COMMAND, "zoo", "start", "--inhabitant", "expired", "--level", "required-verify"], name="zoo"
    )
    try:
        home = program.output.wait_for(r"export GATEPOST_HOME=(\S+)$")[1]
        program.output.wait_for(r"^Up until Ctrl-C\.$")
        said = run(
            [*COMMAND, "explain", "expired.dark.example", "--live"], environment={"GATEPOST_HOME": home}
        ).stdout.decode()
        assert "certificate has expired" in said
        program.signal(signal.SIGINT)
        assert program.wait() == 0
    finally:
        program.kill()
    assert not Path(home).parent.exists()


def test_who_asks_for_nobody_is_told_who_lives_there() -> None:
    done = run([*COMMAND, "zoo", "check", "--inhabitant", "expird"])
    assert done.returncode == 2
    assert b"did you mean `expired`?" in done.stderr
    assert run([*COMMAND, "zoo", "start", "--level", "highest"]).returncode == 2
