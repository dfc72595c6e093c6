"""Reading the logs needs no gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.control.ops.logs import criteria, find_lines, follow_lines, line_document
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home
from gatepost.track.find import Criteria

LINES = """\
Fri Jan 15 08:00:00 2027 Info: Start MID 7 ICID 3
Fri Jan 15 08:00:00 2027 Info: MID 7 ICID 3 From: <a@example.net>
Fri Jan 15 08:00:01 2027 Info: ICID 4 close
"""


def wanted(**given: object) -> Criteria:
    nothing: dict[str, object] = {
        "icid": None,
        "dcid": None,
        "mid": None,
        "address": "",
        "tls": "",
        "since": "",
    }
    return criteria(**{**nothing, "now": 1_800_000_010.0, **given})  # type: ignore[arg-type]


def test_lines_are_found_in_all_files_and_have_a_json_form(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    (home.logs / "mail_logs.@20270115T080000").write_text(LINES)
    home.mail_log.write_text("Fri Jan 15 08:00:02 2027 Info: MID 7 queued for delivery\n")
    found = list(find_lines(home, wanted(mid=7)))
    assert [line.raw[25:] for line in found][-1] == "Info: MID 7 queued for delivery"
    assert line_document(found[0]) == {
        "time": "2027-01-15T08:00:00Z",
        "level": "Info",
        "text": "Start MID 7 ICID 3",
        "line": "Fri Jan 15 08:00:00 2027 Info: Start MID 7 ICID 3",
    }
    assert [line.text for line in find_lines(home, wanted(since="8s"))] == ["MID 7 queued for delivery"]


def test_a_home_without_a_log_has_no_lines(tmp_path: Path) -> None:
    assert list(find_lines(Home(tmp_path), wanted())) == []
    assert list(follow_lines(Home(tmp_path), lambda _: False)) == []


@pytest.mark.parametrize("given", [{"tls": "maybe"}, {"since": "yesterday"}])
def test_words_that_mean_nothing_are_a_wrong_use(given: dict[str, object]) -> None:
    with pytest.raises(OperatorError) as caught:
        wanted(**given)
    assert caught.value.code == Exit.USAGE


def test_following_gives_what_comes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.logs.mkdir()
    home.mail_log.write_text("old\n")
    waits = iter([True, False])

    def wait(_seconds: float) -> bool:
        with home.mail_log.open("a") as file:
            file.write("new\n")
        return next(waits)

    assert list(follow_lines(home, wait)) == ["new"]
