"""All faults of a configuration at once: of shape and of reference, in one list.

A document that does not have the right shape cannot be checked for dangling names; yet an administrator wants to hear
of both together. So what is faulty is reported, then repaired in a copy (an unknown key is dropped, an optional one takes
its default, a required one a stand-in that stands as an example in its field), and the copy is checked. Findings that
rest on a repaired place are left out, since they would speak of values that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from gatepost.config.check import findings
from gatepost.config.faults import Loc, field_at, known_keys, nearest, problem_of
from gatepost.config.findings import Finding
from gatepost.config.load import read_json
from gatepost.config.locations import shown_path, step_into, written_loc
from gatepost.config.model import Document
from gatepost.config.yaml_text import read_yaml
from gatepost.core.errors import ConfigurationError, Problem

_ROUNDS = 6  # a repaired element can miss keys of its own, and so on; the model is not deeper


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it: every problem, and the document if its shape is right."""

    problems: tuple[Problem, ...]
    document: Document | None

    @property
    def faults(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if not problem.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.warning)

    def require(self) -> Document:
        """The document. Raises ConfigurationError with all faults if there are any."""
        if self.document is None or self.faults:
            raise ConfigurationError(self.faults)
        return self.document


def examine_yaml(text: bytes | str, certificates: Collection[str], today: date) -> Examination:
    """All problems of a YAML text; a text that is not YAML has no others."""
    try:
        data = read_yaml(text)
    except ConfigurationError as error:
        return Examination(error.problems, None)
    return examine(data, certificates, today)


def examine_json(text: bytes | str, certificates: Collection[str], today: date) -> Examination:
    """All problems of a JSON text; a text that is not JSON has no others."""
    try:
        data = read_json(text)
    except ConfigurationError as error:
        return Examination(error.problems, None)
    return examine(data, certificates, today)


def examine(data: object, certificates: Collection[str], today: date) -> Examination:
    """All problems of a plain document, and the document itself if its shape is right."""
    if not isinstance(data, dict):
        text = "is empty" if data is None else "is not a mapping"
        return Examination((Problem("document", text, "write at least one section"),), None)
    problems: list[Problem] = []
    repaired: set[Loc] = set()
    copy: dict[str, Any] = _copied(data)
    document = None
    for _ in range(_ROUNDS):
        try:
            document = Document.model_validate(copy)
            break
        except ValidationError as error:
            details = [(d["loc"], d) for d in error.errors(include_url=False)]
        for loc, detail in details:
            if not _rests_on(loc, repaired):
                problems.append(problem_of(Document, detail, loc, shown_path(loc, data)))
        for loc, detail in details:
            _repair(copy, loc, detail["type"])
            repaired.add(loc)
            if detail["type"] == "extra_forbidden":
                # The key that was probably meant is absent only because of the slip.
                meant = nearest(str(loc[-1]), known_keys(Document, loc))
                repaired.update([(*loc[:-1], meant)] if meant is not None else [])
    if document is not None:
        for finding in findings(document, certificates, today):
            if not any(_rests_on(loc, repaired) for loc in finding.about or (finding.loc,)):
                problems.append(_as_problem(finding, data))
    return Examination(tuple(problems), document if not repaired else None)


def _as_problem(finding: Finding, data: object) -> Problem:
    return Problem(shown_path(finding.loc, data), finding.text, finding.hint, finding.warning)


def _rests_on(loc: Loc, repaired: set[Loc]) -> bool:
    """The place was repaired, or it lies inside one that was."""
    return any(loc[:length] in repaired for length in range(1, len(loc) + 1))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _repair(data: dict[str, Any], loc: Loc, kind: str) -> None:
    """Make the place valid, or at least no worse: drop it, or put its field's stand-in there."""
    *way, last = written_loc(loc, data)
    parent: Any = data
    for step in way:
        parent = step_into(parent, step)
    _, field = field_at(Document, loc)
    example = field.examples[0] if field is not None and field.examples else PydanticUndefined
    if isinstance(parent, list) and isinstance(last, int):
        elements = example if isinstance(example, list) else [{}]
        parent[last] = elements[0]
    elif isinstance(parent, dict):
        if kind == "extra_forbidden" or field is None or not field.is_required():
            parent[last] = {} if isinstance(loc[-1], int) else None
            if kind == "extra_forbidden" or not isinstance(loc[-1], int):
                del parent[last]
        else:
            parent[last] = {} if example is PydanticUndefined else example
