"""The job that proves every activation: what it tells, when it brings back, and that it never loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.proof_job import LOOK_AGAIN, NEVER, SOON, ProofJob
from gatepost.certs.proof import Difference, Expectation, Proof
from gatepost.certs.proof_record import load_record
from gatepost.control.ops.proving import Proved
from gatepost.control.ports import Caller, Gateway
from gatepost.core.certificate_events import CertificateNotServed, CertificatesServed
from gatepost.core.errors import OperatorError
from gatepost.core.events import Event
from gatepost.core.ports import Alert
from gatepost.net.served import Accepts, Question, Served
from gatepost.store.config_store import ConfigStore, Content, StoredProfile


def expectation(listener: str = "A", profile: str = "gw") -> Expectation:
    return Expectation(listener, Question("127.0.0.1", 25, False, "", Accepts.ANY), profile, (("f" * 64,),))


@dataclass
class Bench:
    """A store, and a gateway whose listeners show or do not show what is meant, as the test says."""

    store: ConfigStore
    wrong: dict[str, Difference] = field(default_factory=dict)  # by listener
    silent: dict[int, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    called: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    refuses: str = ""
    proofs: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The desk's next life: nothing is left but the store."""
        self.job = ProofJob(self.store, self, self, self, self, prove=self.prove)  # type: ignore[arg-type]

    def commit(self, **profiles: str) -> int:
        """A version with these certificates; a text that was not there before is a new revision."""
        numbers = {}
        for name, text in profiles.items():
            known = {one.chain: one.revision for one in self.store.revisions(name)}
            if text not in known:
                revision = self.store.reserve_revision(name, 0.0)
                self.store.put_profile(StoredProfile(revision, name, 0.0, text, {}, b""))
                known[text] = revision
            numbers[name] = known[text]
        number = self.store.latest_number()
        return self.store.commit(number, Content({}, numbers), "local:0", "", 0.0)

    def revisions(self) -> dict[str, str]:
        latest = self.store.latest()
        assert latest is not None
        stored = {name: self.store.profile(number) for name, number in latest.content.profiles.items()}
        return {name: one.chain for name, one in stored.items() if one is not None}

    def breaks(self, listener: str = "A", profile: str = "gw", *, reached: bool = True) -> None:
        one = expectation(listener, profile)
        self.wrong[listener] = Difference(one, "e" * 64, "another certificate", reached)

    async def prove(self, store: ConfigStore, gateway: Gateway) -> Proved:
        self.proofs += 1
        version = store.latest()
        assert version is not None
        every = (expectation("A"), expectation("B", "two"))
        answers = tuple(Served() for _ in every)
        return Proved(version, Proof(every, answers, tuple(self.wrong.values())), dict(self.silent))

    def run(self) -> float:
        return asyncio.run(self.job.run())

    # The ports

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller, /) -> Any:
        assert caller == Caller.gateway()
        self.called.append((op, args))
        if self.refuses:
            raise OperatorError(self.refuses)
        good, latest = self.store.version(args["to"]), self.store.latest()
        assert good is not None
        assert latest is not None
        back = {name: good.content.profiles[name] for name in args["profiles"]}
        content = Content({}, {**latest.content.profiles, **back})
        self.store.commit(latest.number, content, caller.name, "", 0.0)

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def now(self) -> float:
        return 100.0

    def monotonic(self) -> float:
        return 100.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(store)
    store.close()


def test_a_version_is_proven_once_and_said_to_be_served(bench: Bench) -> None:
    bench.commit(gw="one")
    assert bench.run() == NEVER
    assert bench.events == [CertificatesServed(100.0, 1, 2, 2)]
    bench.restart()
    assert bench.run() == NEVER
    assert bench.proofs == 1
    bench.commit(gw="two")
    assert bench.run() == NEVER
    assert (bench.proofs, len(bench.events), bench.alerts) == (2, 2, [])


def test_what_worked_before_is_brought_back_once(bench: Bench) -> None:
    bench.commit(gw="one", two="first")
    bench.run()
    bench.commit(gw="new", two="second")
    bench.breaks()
    assert bench.run() == LOOK_AGAIN
    told = [event for event in bench.events if isinstance(event, CertificateNotServed)]
    assert [(one.version, one.listener, one.reason) for one in told] == [(2, "A", "another certificate")]
    (alert,) = bench.alerts
    assert (alert.key, alert.severity) == ("served:A", "critical")
    assert "its gw is brought back" in alert.text
    ((op, args),) = bench.called
    assert (op, args["version"], args["to"], args["profiles"]) == ("cert.rollback-served", 2, 1, ["gw"])
    assert bench.revisions() == {"gw": "one", "two": "second"}  # nothing else of the version went back
    bench.wrong.clear()
    assert bench.run() == NEVER
    assert bench.events[-1] == CertificatesServed(100.0, 3, 2, 2)
    assert (len(bench.called), len(bench.alerts)) == (1, 1)


def test_a_rollback_that_does_not_help_is_the_end_of_it(bench: Bench) -> None:
    bench.commit(gw="one")
    bench.run()
    bench.commit(gw="new")
    bench.breaks()
    bench.run()
    for _ in range(3):
        bench.restart()
        assert bench.run() == LOOK_AGAIN
    assert len(bench.called) == 1
    assert bench.store.latest_number() == 3
    assert len(bench.alerts) == 1  # the same trouble, told once


def test_what_never_worked_is_an_alert_and_nothing_else(bench: Bench) -> None:
    bench.breaks()
    bench.commit(gw="one")
    assert bench.run() == LOOK_AGAIN
    bench.commit(gw="new")
    assert bench.run() == LOOK_AGAIN
    assert bench.called == []
    (alert,) = bench.alerts
    assert "brought back" not in alert.text
    assert "cert prove" in alert.text


def test_a_listener_that_is_out_of_reach_brings_nothing_back(bench: Bench) -> None:
    bench.commit(gw="one")
    bench.run()
    bench.commit(gw="new")
    bench.breaks(reached=False)
    assert bench.run() == LOOK_AGAIN
    assert bench.called == []
    assert "could not be asked" in bench.alerts[0].text


def test_each_listener_has_an_alert_of_its_own(bench: Bench) -> None:
    bench.breaks("A")
    bench.breaks("B", "two")
    bench.commit(gw="one", two="first")
    bench.run()
    assert [alert.key for alert in bench.alerts] == ["served:A", "served:B"]


def test_when_it_is_well_again_it_says_so_and_a_new_trouble_is_told_again(bench: Bench) -> None:
    bench.breaks()
    bench.commit(gw="one")
    bench.run()
    bench.run()
    assert len(bench.alerts) == 1
    bench.wrong.clear()
    assert bench.run() == NEVER
    assert isinstance(bench.events[-1], CertificatesServed)
    bench.commit(gw="two")
    bench.breaks()
    bench.run()
    assert len(bench.alerts) == 2


def test_a_rollback_that_is_refused_is_an_alert_of_its_own(bench: Bench) -> None:
    bench.commit(gw="one")
    bench.run()
    bench.commit(gw="new")
    bench.breaks()
    bench.refuses = "a worker refuses"
    bench.run()
    assert [alert.key for alert in bench.alerts] == ["served:A", "rollback-served"]
    assert "a worker refuses" in bench.alerts[1].text
    bench.run()
    assert len(bench.called) == 1


def test_a_death_before_the_rollback_does_not_lose_it(bench: Bench) -> None:
    bench.commit(gw="one")
    bench.run()
    bench.commit(gw="new")
    bench.breaks()

    async def dies(alert: Alert) -> None:
        raise ZeroDivisionError

    telling, bench.tell = bench.tell, dies  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        bench.run()
    bench.tell = telling  # type: ignore[method-assign]
    bench.restart()
    bench.run()
    assert len(bench.alerts) == len(bench.called) == 1
    assert bench.revisions() == {"gw": "one"}


def test_a_worker_that_is_starting_is_waited_for(bench: Bench) -> None:
    bench.commit(gw="one")
    bench.silent = {1: "the worker 1 is not running"}
    bench.breaks()
    assert bench.run() == SOON
    assert (bench.alerts, load_record(bench.store)) == ([], None)
    bench.wrong.clear()
    assert bench.run() == SOON  # well so far, and to be looked at again
    assert len(bench.events) == 1
    bench.silent = {}
    assert bench.run() == NEVER
    assert bench.proofs == 3
    assert len(bench.events) == 1


def test_a_version_that_cannot_be_proven_now_is_proven_later(bench: Bench) -> None:
    bench.commit(gw="one")

    async def busy(store: ConfigStore, gateway: Gateway) -> Proved:
        raise OperatorError("the configuration changed")

    bench.job = ProofJob(bench.store, bench, bench, bench, bench, prove=busy)  # type: ignore[arg-type]
    assert bench.run() == SOON
    assert load_record(bench.store) is None
