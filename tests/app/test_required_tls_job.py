"""Required TLS that fails, from the log of events to alerts: once, with its number, cleared, over restarts, and only when switched on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.required_tls_job import IDLE, KEEP_POSITION, LOOK, LOST, META, RequiredTlsJob
from gatepost.core.codec import encode_events
from gatepost.core.delivery_events import DeliveryOpened, OutboundTlsEstablished, RequiredTlsFailed
from gatepost.core.event import Event
from gatepost.core.events import Noted, Warned
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content
from gatepost.track.event_reader import EventReader
from gatepost.track.json_log import JsonLogFormat
from gatepost.track.log_files import LogFile

NAME = "events.jsonl"
NO_STARTTLS = "remote host does not offer STARTTLS"


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Bench:
    """A store, a log, and what was told. `restart` is the job of a new desk."""

    def __init__(self, folder: Path) -> None:
        self.store = ConfigStore.open(folder / "config.db")
        self.clock = Clock()
        self.folder = folder
        self.log = LogFile(folder, NAME, JsonLogFormat(), self.clock, keep=2)
        self.alerts: list[Alert] = []
        self.events: list[Event] = []
        self.dcid = 0
        self.looks = 0

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def configure(self, switch: bool = True, **sections: Any) -> None:
        document = {
            "destination_controls": {"global": {"alert_on_required_tls_failure": switch}},
            **sections,
        }
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.clock.at)

    def restart(self, **options: Any) -> None:
        reader = EventReader(self.folder, NAME)
        self.job = RequiredTlsJob(self.store, reader, self, self.events.append, self.clock, **options)

    def look(self) -> float:
        return asyncio.run(self.job.run())

    def write(self, *events: Event) -> None:
        assert self.log.append(encode_events(events))

    def fails(
        self, domain: str = "a.example", address: str = "192.0.2.1", times: int = 1, alert: bool = True
    ) -> None:
        for _ in range(times):
            self.write(
                RequiredTlsFailed(self.clock.at, domain, address, "required", NO_STARTTLS, alert),
                Noted(self.clock.at, "something else"),
            )

    def works(self, domain: str = "a.example", address: str = "192.0.2.1", opened: bool = True) -> None:
        self.dcid += 1
        at, dcid = self.clock.at, self.dcid
        if opened:
            self.write(DeliveryOpened(at, dcid, "192.0.2.99", address, 25))
        record = {"domain": domain, "verdict": "encrypted"}
        self.write(OutboundTlsEstablished(at, dcid, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "", "", record))

    def told(self) -> list[str]:
        told = [
            f"{'cleared' if one.clears else one.severity} {one.key.removeprefix('required-tls:')} {one.times}"
            for one in self.alerts
        ]
        self.alerts.clear()
        return told


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    it = Bench(tmp_path)
    it.configure()
    it.write(Noted(it.clock.at, "the log begins"))
    it.restart()
    yield it
    it.log.close()
    it.store.close()


def test_a_domain_that_fails_is_one_alert_a_look_with_the_number(bench: Bench) -> None:
    bench.fails(times=3)
    bench.fails("b.example")
    assert bench.look() == LOOK
    (alert, _) = bench.alerts
    assert alert.subject == "Required TLS failed: a.example"
    assert NO_STARTTLS in alert.text
    assert bench.told() == ["warning a.example 3", "warning b.example 1"]
    bench.look()
    assert bench.told() == []
    bench.fails()
    bench.look()
    assert bench.told() == ["warning a.example 1"]  # the outbox decides whether it is mailed


def test_it_is_cleared_when_tls_comes_up_again(bench: Bench) -> None:
    bench.fails()
    bench.look()
    bench.clock.at += 5
    bench.works("b.example")
    bench.works()
    bench.look()
    assert bench.told() == ["warning a.example 1", "cleared a.example 1"]
    bench.works()
    bench.look()
    assert bench.told() == []


def test_another_host_that_works_does_not_clear_it(bench: Bench) -> None:
    bench.fails()
    bench.works(address="192.0.2.2")
    bench.works(opened=False)  # a connection that nobody knows
    bench.look()
    assert bench.told() == ["warning a.example 1"]
    bench.works()
    bench.look()
    assert bench.told() == ["cleared a.example 1"]


def test_a_failure_that_ended_within_one_look_is_told_with_its_end(bench: Bench) -> None:
    bench.fails(times=2)
    bench.works()
    bench.look()
    assert bench.told() == ["warning a.example 2", "cleared a.example 1"]


def test_with_the_switch_off_nothing_is_read_and_nothing_told(bench: Bench) -> None:
    bench.configure(switch=False)
    bench.fails(alert=False)
    assert bench.look() == IDLE
    assert bench.told() == []
    bench.clock.at += 10
    bench.configure(switch=True)
    bench.fails(times=2)
    assert bench.look() == LOOK
    assert bench.told() == ["warning a.example 2"]  # and not what was before the commit


def test_what_still_fails_is_cleared_after_the_switch_was_turned_off(bench: Bench) -> None:
    bench.fails()
    bench.look()
    bench.configure(switch=False)
    bench.fails(alert=False)
    assert bench.look() == LOOK
    bench.works()
    bench.look()
    assert bench.told() == ["warning a.example 1", "cleared a.example 1"]
    assert bench.look() == IDLE


def test_a_restart_repeats_nothing_and_loses_nothing(bench: Bench) -> None:
    bench.fails()
    bench.look()
    bench.told()
    bench.fails("b.example")
    bench.restart()
    bench.look()
    assert bench.told() == ["warning b.example 1"]
    bench.restart()
    bench.works()
    bench.look()
    assert bench.told() == ["cleared a.example 1"]


def test_a_desk_that_dies_before_it_wrote_reads_the_same_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fails()
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "put_meta", _full)
        with pytest.raises(OSError, match="full"):
            bench.look()
    bench.told()
    bench.restart()
    bench.look()
    assert bench.told() == ["warning a.example 1"]  # under the same key


def _full(key: str, value: bytes) -> None:
    raise OSError("the disk is full")


def test_quiet_looks_are_written_seldom(bench: Bench) -> None:
    bench.look()
    before = bench.store.get_meta(META)
    for _ in range(5):
        bench.clock.at += LOOK
        bench.write(Noted(bench.clock.at, "x"))
        bench.look()
    assert bench.store.get_meta(META) == before
    bench.clock.at += KEEP_POSITION
    bench.write(Noted(bench.clock.at, "x"))
    bench.look()
    assert bench.store.get_meta(META) != before


def test_a_look_is_bounded_and_the_next_follows_at_once(bench: Bench) -> None:
    bench.restart(limit=1)
    for number in range(40):
        bench.write(*(Noted(bench.clock.at, "x" * 1_000) for _ in range(100)))
        bench.fails(f"{number}.example")
    pauses = [bench.look() for _ in range(12)]
    assert pauses[0] < LOOK
    assert pauses[-1] == LOOK
    assert len(bench.told()) == 40


def test_log_files_that_are_gone_are_told_of(bench: Bench) -> None:
    bench.fails()
    bench.look()
    (bench.folder / NAME).unlink()
    bench.fails("b.example")
    bench.look()
    assert bench.told() == ["warning a.example 1", "warning b.example 1"]
    assert [event.text for event in bench.events if isinstance(event, Warned)] == [LOST]


def test_what_is_old_when_reading_begins_is_not_told(bench: Bench) -> None:
    bench.fails()
    bench.clock.at += 7_200
    bench.restart()
    bench.fails("b.example")
    bench.look()
    assert bench.told() == ["warning b.example 1"]


def test_a_domain_of_all_alert_recipients_is_told_of_once(bench: Bench) -> None:
    """Each more would be a mail to the very domain that takes none."""
    bench.configure(alerts={"recipients": [{"address": "x@A.example"}, {"address": "y@a.example"}]})
    for _ in range(3):
        bench.fails()
        bench.fails("b.example")
        bench.look()
    assert bench.told() == ["warning a.example 1", *["warning b.example 1"] * 3]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"[]", b'{"position": {"x": 1}, "failing": {}}', b'{"failing": 3}']
)
def test_a_value_that_cannot_be_read_is_begun_anew(bench: Bench, data: bytes) -> None:
    bench.store.put_meta(META, data)
    bench.restart()
    bench.fails()
    bench.look()
    assert bench.told() == ["warning a.example 1"]
