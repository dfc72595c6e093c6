"""Name servers that are not believed about DNSSEC: told when it is certain, cleared, kept for `status`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.name_server_job import SURE_AFTER, NameServerJob
from gatepost.core.ports import Alert
from gatepost.net.dns_client import NameServer, parse_name_server
from gatepost.net.dns_trust import AGAIN_FAILED, AGAIN_SOUND, ProbeNames, Validation
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.name_servers import META, name_servers

ONE, TWO, FAR = "127.0.0.1:53", "127.0.0.2:53", "192.0.2.53:53"
TAKES = "takes the broken signature of dnssec-failed.org"


class Bench:
    """Name servers that answer as `reasons` says (empty: believed)."""

    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.at = 1_800_000_000.0
        self.alerts: list[Alert] = []
        self.reasons: dict[str, str] = {}
        self.asked: list[tuple[str, ProbeNames]] = []
        self.restart()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    async def ask(self, server: NameServer, names: ProbeNames) -> Validation:
        self.asked.append((str(server), names))
        return Validation(server, self.reasons.get(str(server), ""))

    def restart(self) -> None:
        self.job = NameServerJob(
            self.store, self, self, ask=self.ask, system=lambda: (parse_name_server("127.0.0.9"),)
        )

    def configure(self, *servers: str, dane: str = "opportunistic", **dns: Any) -> None:
        document = {
            "destination_controls": {"default": {"dane": dane}},
            "dns": {"servers": list(servers), **dns},
        }
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def look(self) -> list[str]:
        self.alerts.clear()
        self.pause = asyncio.run(self.job.run())
        self.at += self.pause
        return [f"{'cleared' if one.clears else one.severity} {one.key}" for one in self.alerts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(store)
    store.close()


def test_nothing_is_asked_where_nothing_asks_for_dane(bench: Bench) -> None:
    bench.look()
    bench.configure(ONE, dane="none")
    bench.look()
    bench.configure(ONE, validate_dnssec=False)
    bench.look()
    assert bench.asked == []
    assert name_servers(bench.store) == ()


def test_a_server_that_validates_is_believed(bench: Bench) -> None:
    bench.configure(ONE, probe={"signed": "s.example", "bogus": "b.example"})
    assert bench.look() == [f"cleared dnssec:{ONE}"]  # which nobody hears who was not told of the trouble
    assert bench.pause == AGAIN_SOUND
    assert bench.asked == [(ONE, ProbeNames("s.example", "b.example"))]
    (state,) = name_servers(bench.store)
    assert (state.server, state.believed) == (ONE, True)


def test_the_system_servers_are_asked_where_none_is_named(bench: Bench) -> None:
    bench.configure()
    bench.look()
    assert [server for server, _ in bench.asked] == ["127.0.0.9:53"]


def test_one_that_fails_is_tried_again_before_it_is_told(bench: Bench) -> None:
    bench.configure(ONE)
    bench.look()
    since = bench.at
    bench.reasons[ONE] = TAKES
    assert bench.look() == []
    assert bench.pause == SURE_AFTER
    assert bench.look() == [f"warning dnssec:{ONE}"]
    (alert,) = bench.alerts
    assert TAKES in alert.text
    assert "No name server is believed now" in alert.text
    assert bench.pause == AGAIN_FAILED
    (state,) = name_servers(bench.store)
    assert (state.reason, state.since, state.failures) == (TAKES, since, 2)
    bench.restart()
    bench.look()
    bench.reasons.clear()
    assert bench.look() == [f"cleared dnssec:{ONE}"]
    assert bench.pause == AGAIN_SOUND


def test_one_that_was_just_starting_is_not_told(bench: Bench) -> None:
    bench.configure(ONE)
    bench.reasons[ONE] = "no answer"
    assert bench.look() == []
    bench.reasons.clear()
    assert bench.look() == [f"cleared dnssec:{ONE}"]


def test_where_another_one_is_believed_the_text_says_so(bench: Bench) -> None:
    bench.configure(ONE, TWO)
    bench.reasons[TWO] = "no answer"
    bench.look()
    bench.look()
    assert "Another one is believed" in bench.alerts[-1].text
    assert [state.believed for state in name_servers(bench.store)] == [True, False]


def test_one_that_is_elsewhere_is_told_of_once_and_does_not_hurry(bench: Bench) -> None:
    bench.configure(FAR)
    bench.reasons[FAR] = "is not on this machine, and its answers could be changed on the way"
    assert bench.look() == [f"warning dnssec:{FAR}"]
    assert bench.pause == AGAIN_SOUND
    assert bench.look() == []
    bench.restart()
    assert bench.look() == []


def test_what_is_not_asked_any_more_is_forgotten(bench: Bench) -> None:
    bench.configure(ONE)
    bench.look()
    bench.configure(ONE, dane="none")
    bench.look()
    assert bench.store.get_meta(META) is None
    bench.store.put_meta(META, b"broken")
    assert name_servers(bench.store) == ()
