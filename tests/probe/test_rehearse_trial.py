"""What a rehearsal remembers: verdicts of a chain between two of its dates, and no more than a number of things."""

from __future__ import annotations

import datetime
import hashlib
from itertools import pairwise

from tests.fakes.ca import Issued, TestAuthority
from tests.probe.test_rehearse_facts import CURIOUS, trial

from gatepost.pki.anchors import Anchors
from gatepost.pki.judge import Purpose, judge_chain, turning_points
from gatepost.probe.rehearse_trial import Memory, Trial

HOUR = 3600.0
CA = TestAuthority("Example CA")
SUB = CA.intermediate("Example Sub CA")
AT = CA.at.timestamp()


def issued(*, hours: float) -> Issued:
    return SUB.issue(["mx.example"], end=CA.at + datetime.timedelta(hours=hours))


def tried(chain: tuple[bytes, ...]) -> tuple[Trial, list[str]]:
    made = trial(CURIOUS)
    known = {hashlib.sha256(der).hexdigest(): der for der in chain}
    made.anchors = Anchors.from_pem(CA.root_pem)
    made.certificate = known.get
    return made, list(known)


def test_an_epoch_ends_where_a_certificate_of_the_chain_does() -> None:
    chain = issued(hours=5).chain_der
    it, prints = tried(chain)
    epochs = [it.epoch(prints, AT + hours * HOUR) for hours in (1, 4, 5, 6, 9)]
    assert epochs[0] == epochs[1] == epochs[2]  # the last second belongs to it
    assert epochs[2] != epochs[3] == epochs[4]
    verdicts = [it.judged(prints, AT + hours * HOUR)(chain, Purpose.SERVER) for hours in (1, 4, 6, 9)]
    assert [verdict.ok for verdict in verdicts] == [True, True, False, False]
    assert verdicts[0] is verdicts[1]
    assert verdicts[2] is verdicts[3]


def test_a_root_that_is_not_sent_turns_the_verdict_too() -> None:
    chain = issued(hours=5).chain_der
    ending = CA.again(end=CA.at + datetime.timedelta(hours=3))
    roots = Anchors.from_pem(ending.root_pem)
    points = turning_points(chain, roots)
    ends = {one.not_after + 1 for one in roots.certificates}
    assert ends <= set(points)
    assert not ends & set(turning_points(chain, Anchors()))
    for before, after in pairwise(points):
        verdicts = {
            tuple(judge_chain(chain, roots, moment, Purpose.SERVER).findings)
            for moment in (before, (before + after) / 2, after - 1)
        }
        assert len(verdicts) == 1


def test_a_memory_that_is_full_is_begun_anew() -> None:
    it: Memory[int] = Memory(limit=3)
    for number in range(4):
        assert it.put(number, number) == number
    assert [it.get(number) for number in range(4)] == [None, None, None, 3]
    it.put(9, 9)
    it.forget(lambda value: value > 5)
    assert (it.get(3), it.get(9)) == (3, None)
