"""All faults of a configuration at once: of shape and of reference, in one list.

A document that does not have the right shape cannot be checked for dangling names; yet an administrator wants to hear
of both together. So what is faulty is reported, then repaired in a copy (`repairs`), and the copy is checked. Findings that
rest on a repaired place are left out, since they would speak of values that nobody wrote: those that say so themselves
(`Finding.about`), and those that go away when something else stands in the repaired places.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from pydantic import ValidationError

from gatepost.config.check import findings
from gatepost.config.faults import causes, problem_of
from gatepost.config.findings import Finding
from gatepost.config.load import read_json
from gatepost.config.locations import shown_path
from gatepost.config.model import Document
from gatepost.config.repairs import Repairs, copied
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
    repairs = Repairs(copied(data))
    document = None
    for _ in range(_ROUNDS):
        try:
            document = Document.model_validate(repairs.document)
            break
        except ValidationError as error:
            details = causes(error)
        for detail in details:
            loc = detail["loc"]
            if not repairs.bear(loc):
                problems.append(problem_of(Document, detail, loc, shown_path(loc, data)))
        for detail in details:
            repairs.repair(detail["loc"], detail["type"])
    if document is not None:
        for finding in _lasting(findings(document, certificates, today), repairs, certificates, today):
            problems.append(_as_problem(finding, data))
    return Examination(tuple(problems), document if not repairs else None)


def _lasting(
    found: list[Finding], repairs: Repairs, certificates: Collection[str], today: date
) -> list[Finding]:
    """The findings that do not rest on what stands in a repaired place."""
    left = [item for item in found if not any(repairs.bear(loc) for loc in item.about or (item.loc,))]
    for other in repairs.alternatives() if left else ():
        try:
            document = Document.model_validate(other)
        except ValidationError:
            continue  # values that do not go together say nothing
        again = {(item.loc, item.warning) for item in findings(document, certificates, today)}
        left = [item for item in left if (item.loc, item.warning) in again]
    return left


def _as_problem(finding: Finding, data: object) -> Problem:
    return Problem(shown_path(finding.loc, data), finding.text, finding.hint, finding.warning)
