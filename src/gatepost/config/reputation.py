"""The configuration of reputation scores: which DNS lists are asked about a sender, and what their answers weigh (RFC 5782).

A list's answer is an address in 127.0.0.0/8 that says why the sender is listed. `weight` is what any answer adds to the score,
`weights` say it for single answers: four numbers, each of which may be `*`. Block lists have negative weights, allow lists
positive ones.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from gatepost.config.section import Section
from gatepost.config.values import Fault, HostText, WrittenText

_ANSWER = re.compile(r"127(?:\.(?:\*|0|[1-9][0-9]{0,2})){3}", re.ASCII)
MAX_LISTS = 20


def _weight(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -10 <= value <= 10:
        return float(value)
    raise Fault("is not a weight", "write a number from -10 to 10, for example -4 or 2.5")


def _answer(text: str) -> str:
    if not _ANSWER.fullmatch(text) or any(part != "*" and int(part) > 255 for part in text.split(".")):
        raise Fault(
            "is not an answer of a DNS list", "answers begin with 127, for example 127.0.0.2 or 127.0.*.3"
        )
    return text


Weight = Annotated[float, BeforeValidator(_weight)]
AnswerText = Annotated[WrittenText, AfterValidator(_answer)]


class AnswerWeight(Section):
    """What one answer of a list weighs."""

    answer: AnswerText = Field(
        description="The answer, such as 127.0.0.2; `*` stands for any number.", examples=["127.0.0.2"]
    )
    weight: Weight = Field(description="What it adds to the score, -10 to 10.", examples=[-4])


def _by_answer(value: Any) -> Any:
    """`{127.0.0.2: -4}` as the list `[{answer: 127.0.0.2, weight: -4}]`."""
    if not isinstance(value, dict):
        return value
    return [{"answer": answer, "weight": weight} for answer, weight in value.items()]


class DnsList(Section):
    """A DNS list that is asked about each sender."""

    zone: HostText = Field(description="The zone of the list.", examples=["list.example.net"])
    weight: Weight | None = Field(
        default=None, description="What an answer adds to the score that `weights` does not name, -10 to 10."
    )
    weights: Annotated[tuple[AnswerWeight, ...], BeforeValidator(_by_answer)] = Field(
        default=(),
        description="What single answers add: a map by answer, or a list; the first that fits counts, and each one once.",
    )


class Reputation(Section):
    """Scores of senders for the entries `sbrs[...]` of the HAT. Without lists there are none."""

    lists: Annotated[tuple[DnsList, ...], Field(max_length=MAX_LISTS)] = Field(
        default=(), description="DNS lists; the score is the sum of what their answers weigh, -10 to 10."
    )
