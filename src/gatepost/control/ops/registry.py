"""What an operation is, and how its arguments come in.

Each module of operations ends in a table `OPERATIONS`; the door finds the module by the first word of the name, so that
a command loads only what it uses. Arguments come from outside (the control socket, later the API): each is
read by its type, and one that an operation does not know is refused.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gatepost.control.ports import Caller, Gateway
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import Keeper

if TYPE_CHECKING:
    from gatepost.certs.inventory import Inventory

MAX_COMMENT = 400

Reader = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Reads a hostile file (`reading.read`), in a child or here."""


class OneAtATime:
    """A place for what is so large that there is to be one of it."""

    def __init__(self, taken: str) -> None:
        self._taken = taken
        self._busy = False

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold the place. Raises OperatorError (exit 75) while another has it."""
        if self._busy:
            raise OperatorError(self._taken, "try again when it has ended", code=Exit.TRY_AGAIN)
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


@dataclass(frozen=True, slots=True)
class Context:
    """What operations work with. `gateway` is None while none runs on this home.

    `inventory` gives the one inventory of the certificates, which remembers what it read; it is loaded when first asked for.
    """

    home: Home
    store: ConfigStore
    keeper: Keeper
    gateway: Gateway | None
    clock: Clock
    emit: Emit
    read: Reader
    inventory: Callable[[], Inventory]
    replays: OneAtATime = field(default_factory=lambda: OneAtATime("another large rehearsal is running"))

    def running(self) -> Gateway:
        """The running gateway. Raises OperatorError (exit 69) where there is none."""
        if self.gateway is None:
            raise not_running()
        return self.gateway


class Arguments:
    """The arguments of one call. Every reader raises OperatorError (exit 2) for a value of the wrong kind."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def names(self) -> frozenset[str]:
        return frozenset(self._values)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it has to be there."""
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise _wrong(name, "a text")
        return value

    def flag(self, name: str) -> bool:
        """A truth value, false unless given."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise _wrong(name, "true or false")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on; without a default it has to be there."""
        value = self._values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
            raise _wrong(name, "a whole number")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty unless given."""
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _wrong(name, "a list of texts")
        return value

    def data(self, name: str) -> bytes:
        """Bytes, given as base64; empty unless given."""
        try:
            return b64decode(self.text(name, ""), validate=True)
        except ValueError:
            raise _wrong(name, "base64") from None

    def comment(self) -> str:
        """The comment of a commit: one line."""
        text = " ".join(self.text("comment", "").split())
        if len(text) > MAX_COMMENT or not text.isprintable():
            raise OperatorError(
                f"a comment is one line of at most {MAX_COMMENT} printable characters", code=Exit.USAGE
            )
        return text


Run = Callable[[Context, Arguments, Caller], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its name, what does it, and the arguments that it takes.

    `changes` means that it changes configuration, mail or keys, or shows a key: it runs alone and is audited. `calls`
    means that it calls hosts of others: it is audited too, and runs beside other operations.
    """

    name: str
    run: Run
    takes: frozenset[str] = frozenset()
    changes: bool = False
    calls: bool = False


def operation(
    name: str, run: Run, takes: str = "", *, changes: bool = False, calls: bool = False
) -> Operation:
    """A row of a table; `takes` are the names of the arguments, separated by blanks."""
    return Operation(name, run, frozenset(takes.split()), changes, calls)


def not_running() -> OperatorError:
    """The refusal of what only a running gateway can do."""
    return OperatorError(
        "the gateway is not running on this home",
        "start it with `gatepost start`, or name its home with --home",
        code=Exit.NOT_RUNNING,
    )


def _wrong(name: str, kind: str) -> OperatorError:
    return OperatorError(f"the argument {name} is not {kind}", code=Exit.USAGE)
