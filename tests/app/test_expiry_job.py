"""The job that tells of expiry: one event for each mark, one alert for all of a severity, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.certs.test_expiry import NOW, at, content, leaf, profile_of
from tests.fakes.ca import TestAuthority

from gatepost.app.expiry_job import MANY, ExpiryJob, expiry_alert
from gatepost.certs.expiry import AUTHORITY, CERTIFICATE, Due, Item
from gatepost.core.certificate_events import CertificateExpired, CertificateExpires
from gatepost.core.events import Event
from gatepost.core.ports import Alert
from gatepost.pki.profile import Profile
from gatepost.policy.expiry import DAY, Life, Mark
from gatepost.store.config_store import ConfigStore


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Bench:
    """A store, the alerts and the events. `restart` is the job of a new desk."""

    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.clock = Clock()
        self.alerts: list[Alert] = []
        self.events: list[Event] = []
        self.job = self.restart()

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def restart(self) -> ExpiryJob:
        self.job = ExpiryJob(self.store, self, self.events.append, self.clock)
        return self.job

    def commit(
        self, profiles: Sequence[Profile], used: Sequence[str], authorities: str = "", **more: object
    ) -> None:
        version = content(self.store, profiles, used, authorities, **more)
        self.store.commit(self.store.latest_number(), version, "test", "", self.clock.at)

    def run(self) -> float:
        return asyncio.run(self.job.run())

    def subjects(self) -> list[str]:
        return [f"{alert.severity}: {alert.subject}" for alert in self.alerts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(store)
    store.close()


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(at=at(0))


def test_a_certificate_of_which_three_days_are_left(bench: Bench, ca: TestAuthority) -> None:
    bench.commit([profile_of("gw", leaf(ca, 3))], ["gw"])
    pause = bench.run()
    (event,) = bench.events
    assert isinstance(event, CertificateExpires)
    assert (event.what, event.name, event.days) == ("certificate", "gw", 3)
    assert event.subject == "CN=mx.example.net"
    (alert,) = bench.alerts
    assert bench.subjects() == ["critical: Certificate gw expires in 3 days"]
    assert "Valid until:  2027-01-18 08:00 UTC" in alert.text
    assert "gatepost cert renew gw" in alert.text
    assert pause == pytest.approx(DAY)


def test_nothing_is_told_twice_also_after_a_restart_and_a_clock_that_went_back(
    bench: Bench, ca: TestAuthority
) -> None:
    bench.commit([profile_of("gw", leaf(ca, 3))], ["gw"])
    bench.run()
    bench.run()
    bench.restart()
    bench.run()
    bench.clock.at -= DAY
    bench.run()
    assert len(bench.alerts) == len(bench.events) == 1
    bench.clock.at += 4.1 * DAY
    bench.restart()
    bench.run()
    assert bench.subjects()[1:] == ["critical: Certificate gw has expired"]
    assert isinstance(bench.events[-1], CertificateExpired)
    bench.clock.at += 2 * DAY
    bench.run()
    assert bench.subjects()[2:] == ["critical: Certificate gw expired 2 days ago"]


def test_what_is_due_together_is_one_alert_for_each_severity(bench: Bench, ca: TestAuthority) -> None:
    profiles = [
        profile_of(name, leaf(ca, days))
        for name, days in (("a", 3), ("b", -1), ("c", 20), ("d", 25), ("e", 2))
    ]
    bench.commit(profiles, ["a", "b", "c", "d"])
    bench.run()
    assert bench.subjects() == [
        "critical: Certificates: 1 expires soon, 1 has expired",
        "warning: Certificates: 2 expire soon",
        "information: Certificate e expires in 2 days",
    ]
    assert "Nothing uses it." in bench.alerts[2].text
    assert len(bench.events) == 4  # of what nothing uses there is no line of its own


def test_a_young_certificate_is_not_spoken_of(bench: Bench, ca: TestAuthority) -> None:
    six_days = ca.issue(["mx.example.net"], start=at(0), end=at(6))
    bench.commit([profile_of("gw", six_days)], ["gw"])
    bench.run()
    assert bench.alerts == []
    bench.clock.at += 4.5 * DAY
    bench.run()
    assert bench.subjects() == ["warning: Certificate gw expires in 1 day"]


def test_an_authority_of_the_custom_list_is_told_of(bench: Bench) -> None:
    old = TestAuthority("Partner CA", at=at(0), start=at(-300), end=at(10))
    bench.commit([], [], old.root_pem.decode(), certificate_authorities={"custom": True})
    bench.run()
    assert bench.subjects() == ["warning: Authority Partner CA expires in 10 days"]
    assert "custom list" in bench.alerts[0].text


def test_without_a_version_there_is_nothing_to_tell(bench: Bench) -> None:
    assert bench.run() == DAY


def due(number: int, left: float = 0.0, what: str = CERTIFICATE) -> Due:
    item = Item(what, (f"p{number}",), "CN=x", f"f{number}", Life(NOW - DAY, NOW + left))
    return Due(item, Mark(left, "critical"), "critical", 0)


def test_the_same_marks_have_the_same_key_and_others_another() -> None:
    one, two = expiry_alert("critical", [due(1)]), expiry_alert("critical", [due(1)])
    assert one == two
    assert one.key != expiry_alert("critical", [due(2)]).key
    assert one.key != expiry_alert("critical", [due(1, -DAY)]).key


def test_a_mail_does_not_grow_without_end() -> None:
    text = expiry_alert("critical", [due(number) for number in range(5_000)]).text
    assert f"And {5_000 - MANY} more" in text
    assert len(text) < 20_000


def test_several_authorities_are_called_so() -> None:
    alert = expiry_alert("critical", [due(1, what=AUTHORITY), due(2, what=AUTHORITY)])
    assert alert.subject == "Authorities: 2 have expired"
