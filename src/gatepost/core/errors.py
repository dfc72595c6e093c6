"""Two kinds of wrong: what the operator can mend, and what a peer is told.

`OperatorError` is the administrator's mistake or a fault of the machine: it carries a sentence, a
hint and the exit code of `contract/README.md`. Any other exception that reaches the top is our bug.
What goes wrong towards a peer is a `core.reply.Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line (contract/README.md, Output)."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_RUNNING = 69
    BUG = 70
    TRY_AGAIN = 75
    FAULTY_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a configuration: where it is, what is wrong, and what to do about it.

    `path` looks like `listeners[0].certificate`; a `warning` does not keep a configuration from being applied.
    """

    path: str
    text: str
    hint: str = ""
    warning: bool = False

    def line(self) -> str:
        """The one-line form of the contract: `path: problem (hint)`."""
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.path}: {self.text}{tail}"


class OperatorError(Exception):
    """Something an administrator can mend; shown as one sentence and a hint, never as a traceback."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: Exit = Exit.REFUSED,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.problems = problems


class ConfigurationError(OperatorError):
    """A configuration with faults: nothing of it was applied (exit 78)."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(
            f"the configuration has {len(problems)} fault{'s' if len(problems) != 1 else ''}",
            f"mend {'them' if len(problems) != 1 else 'it'} and apply again; nothing was changed",
            code=Exit.FAULTY_CONFIGURATION,
            problems=problems,
        )
