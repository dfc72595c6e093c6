"""The end of a trouble is told to those who were told of it, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.alert_bench import Bench, alert, clear, opened, run, subjects

from gatepost.app.alerts import (
    CAME_BACK,
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as it:
        yield it


def test_the_end_of_a_trouble_is_told_once_to_those_who_were_told_of_it(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(clear())
        assert bench.gateway.mails == []
        await alerts.tell(alert())
        await bench.alerts().tell(clear())  # also after a restart
        await bench.alerts().tell(clear())

    run(main)
    assert subjects(bench) == ["Something", "It works again"]


def test_a_trouble_that_comes_and_goes_is_two_mails_in_each_quiet(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        for _ in range(30):  # five minutes
            await alerts.tell(alert())
            bench.clock.at += 5
            await alerts.tell(clear())
            bench.clock.at += 5
        assert subjects(bench) == ["Something", "It works again"]
        assert alerts._outbox.waiting == []
        await alerts.tell(alert())

    run(main)
    assert subjects(bench) == ["Something", "It works again", "Something"]
    assert "this happened 30 times" in bench.gateway.message().get_content()


def test_a_trouble_that_came_back_in_its_quiet_is_told_when_that_is_over(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(clear())
        bench.clock.at += 10
        await alerts.tell(alert())
        await alerts.tell(alert())
        assert len(bench.gateway.mails) == 2
        bench.clock.at += 300
        again = bench.alerts()
        await again.run()
        await again.tell(clear())

    run(main)
    assert subjects(bench) == ["Something", "It works again", "Something", "It works again"]
    assert ("warning", 0, CAME_BACK) in bench.gateway.raised()


def test_a_trouble_that_never_got_out_is_told_with_its_end(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(clear())
        assert [one.clears for one in bench.outbox().waiting] == [True]
        await alerts.tell(alert())  # and it was not the end
        assert [one.clears for one in bench.outbox().waiting] == [False]
        bench.gateway.refusals = ["", ""]
        await alerts.run()

    run(main)
    assert subjects(bench) == ["Something"]
