"""The policy that a rehearsal tries, with everything that it is tried by, and the memory of what was decided already.

Many recorded connections are alike: the same host under the same names showed the same certificates. Between two moments at which a certificate
of its chain, or a root that could matter to it, begins or ends, and while the same revocation lists are out of date, what is to be said of a chain is the same
(`Trial.epoch`). So a decision is made once for equal facts of one epoch, and remembered. Memories are bounded by number; one that is full is begun anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar

from gatepost.config.model import Document
from gatepost.core.tls import PeerCertificate
from gatepost.core.tlsa import TlsaAnswer
from gatepost.pki.certificate import describe
from gatepost.pki.judge import Anchors, ChainVerdict, Crls, Purpose, judge_chain, turning_points
from gatepost.policy.admit import Rules
from gatepost.policy.observed import Judged
from gatepost.policy.route import Routes
from gatepost.policy.tls_out import DestinationTable, HopNames
from gatepost.wire.mta_sts import StsPolicy

MAX_REMEMBERED = 200_000
MAX_VERDICTS = 20_000

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS says today of one host of a destination."""

    names: HopNames
    tlsa: TlsaAnswer | None
    sts: tuple[str, StsPolicy] | None


Answers = Mapping[tuple[str, str, str, int], Answer]
"""Today's answers by recipient domain, host, address and port."""


class Memory(Generic[Value]):
    """What was worked out, by what it was worked out from."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._known: dict[Hashable, Value] = {}

    def get(self, key: Hashable) -> Value | None:
        return self._known.get(key)

    def put(self, key: Hashable, value: Value) -> Value:
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[key] = value
        return value

    def forget(self, doomed: Callable[[Value], bool]) -> None:
        for key in [key for key, value in self._known.items() if doomed(value)]:
            del self._known[key]


Epoch = tuple[int, str]
"""A span of time in which a chain has one verdict."""


@dataclass(slots=True)
class Trial:
    """The policy to be tried, with what it is tried by. `certificate` gives one of a recorded chain by its SHA-256, DER, or None.

    Used by one thread: it remembers. `answers` are given before the first decision, or with `take_answers`.
    """

    document: Document
    destinations: DestinationTable
    routes: Routes
    rules: Rules
    anchors: Anchors
    crls: Crls
    today: date
    certificate: Callable[[str], bytes | None]
    answers: Answers = field(default_factory=dict)
    _described: Memory[PeerCertificate] = field(default_factory=Memory)
    _verdicts: Memory[ChainVerdict] = field(default_factory=lambda: Memory(MAX_VERDICTS))
    _points: Memory[tuple[float, ...]] = field(default_factory=Memory)

    def judged(self, fingerprints: Sequence[str], at: float) -> Judged:
        """The judge of this chain at a time."""

        def judged(chain: Sequence[bytes], purpose: Purpose) -> ChainVerdict:
            key = (*fingerprints, purpose, self.epoch(fingerprints, at))
            return self._verdicts.get(key) or self._verdicts.put(
                key, judge_chain(chain, self.anchors, at, purpose, self.crls)
            )

        return judged

    def epoch(self, fingerprints: Iterable[str], at: float) -> Epoch:
        """Of two times in one epoch a chain has one verdict, under whatever purpose."""
        key = tuple(fingerprints)
        points = self._points.get(key)
        if points is None:
            chain = [der for der in map(self.certificate, key) if der is not None]
            points = self._points.put(key, turning_points(chain, self.anchors))
        return bisect_right(points, at), self.crls.state(at)

    def described(self, der: bytes) -> PeerCertificate:
        return self._described.get(der) or self._described.put(der, describe(der))

    def chain(self, fingerprints: Sequence[str]) -> tuple[bytes, ...] | None:
        """The certificates of a chain; None when one is not kept any more."""
        found = tuple(der for der in map(self.certificate, fingerprints) if der is not None)
        return found if len(found) == len(fingerprints) else None
