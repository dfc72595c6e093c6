"""What is remembered of a proof, and which certificates go back when something broke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.certs.proof import Difference, Expectation, Proof
from gatepost.certs.proof_record import (
    Proven,
    Record,
    RollBack,
    load_record,
    next_record,
    rollback_for,
    rolled_back,
    save_record,
)
from gatepost.config.defaults import DEMO
from gatepost.net.served import Accepts, Question, Served
from gatepost.store.config_store import ConfigStore, Content, Version


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    opened = ConfigStore.open(tmp_path / "config.db")
    yield opened
    opened.close()


def version(number: int, base: int | None = None, **profiles: int) -> Version:
    return Version(number, number - 1 if base is None else base, 0.0, "local:0", "", Content({}, profiles))


def expectation(profile: str = "gw", listener: str = "A", sni: str = "") -> Expectation:
    return Expectation(listener, Question("127.0.0.1", 25, False, sni, Accepts.ANY), profile, (("f" * 64,),))


def difference(of: Expectation, *, reached: bool = True) -> Difference:
    return Difference(of, "e" * 64, "another certificate", reached)


BEFORE = Proven(5, {"gw": 10, "two": 20}, frozenset({("A", "", "any"), ("A", "two.example", "any")}))
TWO = expectation("two", sni="two.example")


def test_what_worked_and_broke_by_a_new_certificate_goes_back() -> None:
    found = rollback_for(version(6, gw=11, two=21), BEFORE, [difference(expectation())], None)
    assert found == RollBack(6, 5, {"gw": 10}, {"gw": 11})
    both = [difference(expectation()), difference(TWO), difference(TWO)]
    found = rollback_for(version(6, gw=11, two=21), BEFORE, both, None)
    assert found is not None
    assert found.profiles == {"gw": 10, "two": 20}


@pytest.mark.parametrize(
    ("now", "differences", "why"),
    [
        (version(6, gw=11), [difference(expectation(sni="new.example"))], "it never worked"),
        (version(6, gw=11), [difference(expectation(listener="B"))], "that listener is new"),
        (version(6, gw=10), [difference(expectation())], "the certificate is the same"),
        (version(6, gw=11), [difference(expectation(), reached=False)], "no certificate is to blame"),
        (version(6, gw=11), [difference(expectation("three"))], "the profile is new"),
        (version(6), [difference(expectation())], "the profile is gone"),
        (version(6, gw=11), [], "nothing differs"),
    ],
)
def test_nothing_goes_back(now: Version, differences: list[Difference], why: str) -> None:
    assert rollback_for(now, BEFORE, differences, None) is None, why


def test_a_rollback_is_never_rolled_back() -> None:
    earlier = RollBack(6, 5, {"gw": 10}, {"gw": 11}, done=True)
    made = version(7, gw=10)
    before = Proven(6, {"gw": 11}, frozenset({("A", "", "any")}))
    assert rollback_for(made, before, [difference(expectation())], earlier) is None
    # A version that somebody made later is another matter.
    assert rollback_for(
        version(8, gw=12), Proven(7, {"gw": 10}, before.fulfilled), [difference(expectation())], earlier
    )


def test_without_an_earlier_proof_nothing_goes_back() -> None:
    assert rollback_for(version(1, gw=1), None, [difference(expectation())], None) is None


def proof(*broken: Expectation, also: Expectation | None = None) -> Proof:
    every = (*broken, also) if also is not None else broken
    return Proof(every, tuple(Served() for _ in every), tuple(difference(one) for one in broken))


def test_the_record_follows_the_versions_and_keeps_what_was_told() -> None:
    one, two = expectation(), TWO
    first = next_record(None, version(5, gw=10), proof(also=one), 100.0)
    assert (first.now, first.before, first.fulfilled) == (
        Proven(5, {"gw": 10}, frozenset({one.key})),
        None,
        True,
    )
    second = next_record(first, version(6, gw=11), proof(one, also=two), 200.0)
    assert second.before == first.now
    assert second.now.fulfilled == {two.key}
    assert (second.listeners, second.handshakes, second.at) == (1, 2, 200.0)
    assert len(second.differences) == 1
    told = Record(second.now, second.before, told=frozenset({*second.differences, "long gone"}))
    again = next_record(told, version(6, gw=11), proof(one, also=two), 300.0)
    assert again.before == first.now  # the version before, not the proof before
    assert again.told == set(second.differences)
    third = next_record(again, version(7, gw=11), proof(one, also=two), 400.0)
    assert third.told == again.told
    assert next_record(third, version(8, gw=11), proof(also=one), 500.0).told == frozenset()


def test_a_record_is_kept_in_the_store(store: ConfigStore) -> None:
    assert load_record(store) is None
    assert rolled_back(store) is None
    back = RollBack(6, 5, {"gw": 10}, {"gw": 11})
    record = Record(
        Proven(6, {"gw": 11, DEMO: 1}, frozenset({("A", "x.example", "rsa")})),
        BEFORE,
        1.5,
        2,
        12,
        ("listener A …",),
        frozenset({"listener A …"}),
        back,
    )
    save_record(store, record)
    assert load_record(store) == record
    assert rolled_back(store) == back
    assert record.due_back
    assert not Record(record.now, rollback=RollBack(6, 5, {}, {}, done=True)).due_back
    assert not Record(BEFORE, rollback=back).due_back


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"{}", b'{"now": 7}', b"[]", b'{"now": {"version": "x"}, "before": null}']
)
def test_a_record_of_another_release_counts_as_none(store: ConfigStore, raw: bytes) -> None:
    store.put_meta("proof", raw)
    assert load_record(store) is None
