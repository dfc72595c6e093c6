"""The door: what is not an operation, and what an operation does not take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64

from gatepost.control.ops.door import Door, read_here
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.secrets import LocalKeeper


@pytest.mark.parametrize(
    "op", ["", "config", "config.nothing", "cert.nothing", "nothing.at.all", "os.system"]
)
def test_an_unknown_operation_is_refused(bench: Bench, op: str) -> None:
    with pytest.raises(OperatorError, match="unknown operation"):
        bench.call(op)


def test_an_argument_that_is_not_taken_is_refused(bench: Bench) -> None:
    with pytest.raises(OperatorError, match="does not take path"):
        bench.call("config.apply", path="/etc/passwd")


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("config.apply", {"text": 7}),
        ("config.apply", {"text": "not base64!"}),
        ("config.apply", {"text": "", "pending": "yes"}),
        ("config.rollback", {"version": "1"}),
        ("config.rollback", {"version": -1}),
        ("config.rollback", {"version": True}),
        ("config.rollback", {}),
        ("cert.new", {"name": "x", "san": "a.example"}),
        ("cert.new", {"name": None}),
    ],
)
def test_an_argument_of_the_wrong_kind_is_a_wrong_use(bench: Bench, op: str, args: dict[str, Any]) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.call(op, **args)
    assert caught.value.code == Exit.USAGE


def test_changes_run_one_after_another(bench: Bench) -> None:
    """Ten administrators at once: each gets a version of its own, none finds its base stale."""
    gateway = bench.start()
    door = Door(bench.home, bench.store, LocalKeeper(bench.key), gateway, bench.clock, read=read_here)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            *(
                door.call("config.apply", {"text": b64(CONTRACT_LIKE)}, Caller.local(uid))
                for uid in range(1000, 1010)
            )
        )

    answers = asyncio.run(all_at_once())
    assert sorted(answer["version"] for answer in answers) == list(range(2, 12))
