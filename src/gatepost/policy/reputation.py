"""What DNS lists say of a sender, as a score: -10.0 (never take its mail) to 10.0, or none.

How it works. A list is asked for the sender's address as a name below its zone (RFC 5782 §2.1 and §2.4). Each answer in 127.0.0.0/8
weighs what the configuration says; the score is the sum over all lists, within the bounds, with one decimal. A list that says
nothing, or could not be asked, adds nothing, and a sender that no list knows has no score.

What it trusts. Not the lists' good order: one that went away often answers every question. Before a list counts it must list its
test point 127.0.0.2 and not 127.0.0.1 (§5); answers outside 127.0.0.0/8 are of a parked domain, and by common use 127.0.0.1
and 127.255.255.x mean that the list refuses to answer us: none of these counts, unless the configuration names it.

Limits. Addresses of a private network or of this machine are known to no list, and are not asked about.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gatepost.config.check_reputation import wants_scores
from gatepost.config.model import Document
from gatepost.config.values import parse_host_name
from gatepost.core.address import IPAddress
from gatepost.core.address_ranges import refused_address
from gatepost.policy.hat import NoScore, Score, plain_address

LISTED_POINT = ipaddress.ip_address("127.0.0.2")
UNLISTED_POINT = ipaddress.ip_address("127.0.0.1")
LOWEST, HIGHEST = -10.0, 10.0
SHORTEST, LONGEST = 60.0, 3600.0  # seconds that a score is kept

_LISTS = ipaddress.ip_network("127.0.0.0/8")
_REFUSALS = ipaddress.ip_network("127.255.255.0/24")


def score_text(score: Score) -> str:
    """The score as the log prints it behind `SBRS`."""
    return score.value if isinstance(score, NoScore) else f"{score:.1f}"


@dataclass(frozen=True, slots=True)
class ScoredList:
    """A list with its weights; None as a part of a pattern is any number."""

    zone: str
    weight: float | None
    weights: tuple[tuple[tuple[int | None, ...], float], ...] = ()

    def weigh(self, answers: Sequence[IPAddress]) -> float | None:
        """What these answers add together; None when none of them counts. Several answers of one weight count once."""
        rows = {row for answer in answers if (row := self._row(answer)) is not None}
        if not rows:
            return None
        return sum(self.weights[row][1] if row >= 0 else self.weight or 0.0 for row in rows)

    def _row(self, answer: IPAddress) -> int | None:
        """The place of the weight that this answer has, -1 for `weight`; None for an answer without one."""
        if answer not in _LISTS:
            return None
        octets = tuple(answer.packed)
        for row, (pattern, _) in enumerate(self.weights):
            if all(part is None or part == octet for part, octet in zip(pattern, octets, strict=True)):
                return row
        return -1 if self.weight is not None and not _is_refusal(answer) else None

    def strange(self, answers: Sequence[IPAddress]) -> str:
        """What is wrong with these answers; empty when they are a list's."""
        for answer in answers:
            if answer not in _LISTS:
                return f"its answer {answer} is not one of a DNS list"
            if _is_refusal(answer) and self._row(answer) is None:
                return f"it refuses to answer this resolver ({answer})"
        return ""


def _is_refusal(answer: IPAddress) -> bool:
    return answer == UNLISTED_POINT or answer in _REFUSALS


@dataclass(frozen=True, slots=True)
class ScoreRules:
    """The lists of a configuration. `asked`: some listener decides by scores, so senders are asked about."""

    lists: tuple[ScoredList, ...] = ()
    asked: bool = False


NO_SCORES = ScoreRules()


class Said(StrEnum):
    """What came of asking one list."""

    LISTED = "listed"
    NOT_LISTED = "not listed"
    IGNORED = "ignored"  # its answer is none of a list, or has no weight
    FAILED = "failed"  # could not be asked
    LEFT_OUT = "left out"  # it did not pass its test


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """What one list said. `weight` counts when it is listed; `detail` says why it does not count otherwise."""

    zone: str
    said: Said
    answers: tuple[str, ...] = ()
    weight: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A sender's score and how it came about. `note` says why nobody was asked."""

    score: Score
    answers: tuple[ListAnswer, ...] = ()
    note: str = ""


NOT_ENABLED = Standing(NoScore.NOT_ENABLED)


class Health(StrEnum):
    """Whether a list behaves at its test points (RFC 5782 §5), as words behind its name."""

    SOUND = "is sound"
    LISTS_ALL = "lists everything"
    STRANGE = "gives answers that are not a list's"
    LISTS_NONE = "does not list its test point"
    UNKNOWN = "could not be asked"

    @property
    def counts(self) -> bool:
        """Its answers count. A list without a test point does no harm, and one that is silent may be asked again."""
        return self not in (Health.LISTS_ALL, Health.STRANGE)


# --- compiling ------------------------------------------------------------------------------------


def compile_scores(document: Document) -> ScoreRules:
    """The lists of a checked document, and whether anybody wants scores."""
    lists = tuple(
        ScoredList(
            parse_host_name(one.zone),
            one.weight,
            tuple((_pattern(it.answer), it.weight) for it in one.weights),
        )
        for one in document.reputation.lists
    )
    return ScoreRules(lists, bool(lists) and wants_scores(document))


def _pattern(text: str) -> tuple[int | None, ...]:
    return tuple(None if part == "*" else int(part) for part in text.split("."))


# --- asking and judging ---------------------------------------------------------------------------


def unknown_to_lists(address: IPAddress) -> str:
    """Why no list is asked about this address; empty when they are."""
    return refused_address(plain_address(address), allow_private=False)


def question(address: IPAddress, zone: str) -> str:
    """The name that asks a list about an address: IPv4 octets or IPv6 nibbles, the last one first (RFC 5782 §2.1, §2.4)."""
    address = plain_address(address)
    if isinstance(address, ipaddress.IPv4Address):
        return ".".join(str(octet) for octet in reversed(address.packed)) + "." + zone
    return ".".join(reversed(address.exploded.replace(":", ""))) + "." + zone


def read_answer(one: ScoredList, answers: Sequence[IPAddress]) -> ListAnswer:
    """What a list said, by the addresses that it answered with; none when the name does not exist."""
    texts = tuple(str(answer) for answer in answers)
    if not answers:
        return ListAnswer(one.zone, Said.NOT_LISTED)
    weight = one.weigh(answers)
    if weight is not None:
        return ListAnswer(one.zone, Said.LISTED, texts, weight)
    detail = one.strange(answers) or "its answer has no weight"
    return ListAnswer(one.zone, Said.IGNORED, texts, detail=detail)


def judge_list(one: ScoredList, listed: Sequence[IPAddress], unlisted: Sequence[IPAddress]) -> Health:
    """Does a list behave, by what it answers about 127.0.0.2 and about 127.0.0.1? (RFC 5782 §5)"""
    if one.strange(listed) or (unlisted and one.strange(unlisted)):
        return Health.STRANGE
    if unlisted:
        return Health.LISTS_ALL
    return Health.SOUND if listed else Health.LISTS_NONE


def standing_of(answers: Sequence[ListAnswer]) -> Standing:
    """The score of a sender of whom the lists said this."""
    weights = [answer.weight for answer in answers if answer.weight is not None]
    if not weights:
        return Standing(NoScore.NONE, tuple(answers))
    score = round(min(max(sum(weights), LOWEST), HIGHEST), 1)
    return Standing(score + 0.0, tuple(answers))


def keep_for(ttls: Sequence[float]) -> float:
    """Seconds that a score may be used, by the times to live of the answers that it was made of."""
    return min(max(min(ttls, default=SHORTEST), SHORTEST), LONGEST)


def standing_record(standing: Standing) -> list[Mapping[str, object]]:
    """The answers for the JSON log: those that say something."""
    return [
        {"zone": one.zone, "said": one.said.value, "answers": list(one.answers), "weight": one.weight}
        | ({"detail": one.detail} if one.detail else {})
        for one in standing.answers
        if one.said is not Said.NOT_LISTED
    ]
