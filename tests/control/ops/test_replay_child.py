"""A large rehearsal runs in a child: the same account, and whatever ends it or its desk is told, or ends it too."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, b64
from tests.control.ops.test_policy import DANE, STRICT, connection, delivery, session

from gatepost.control.ops import policy, replay_child
from gatepost.control.ops.replay_child import ReplayBroke, replay_in_child
from gatepost.control.ports import Caller, Line
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.records import Batch, RecordStore

pytestmark = pytest.mark.slow


@pytest.fixture
def many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A home of a running gateway, in which three messages are many."""
    monkeypatch.setattr(policy, "FEW", 3)
    bench.apply(CONTRACT_LIKE)
    store = RecordStore.open(bench.home.records_db)
    rows = [delivery(mid, 1, "partner.example") for mid in range(1, 6)]
    visits = [session(icid, {"x@y.example": [1, 0]}) for icid in range(1, 4)]
    store.write(Batch((connection(1, "partner.example"),), rows, visits), b"", NOW - 50)
    store.close()
    bench.start()
    return bench


def as_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(replay_child, "_COMMAND", (sys.executable, "-P", "-B", "-c", code))


def refused(bench: Bench, text: str = STRICT) -> OperatorError:
    with pytest.raises(OperatorError) as caught:
        bench.call("policy.rehearse", text=b64(text))
    return caught.value


def test_the_child_says_what_the_desk_would(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    child = many.call("policy.rehearse", text=b64(STRICT))
    assert (child["outbound"]["would_fail"], child["outbound"]["could_not_tell"]) == (0, 5)
    monkeypatch.setattr(policy, "FEW", 1_000)
    assert child == many.call("policy.rehearse", text=b64(STRICT))


def test_the_child_asks_through_the_desk(many: Bench) -> None:
    asked: list[Sequence[str]] = []

    def answer(kind: str, args: Mapping[str, Any]) -> Any:
        asked.append(args["domains"])
        return {}

    assert many.gateway is not None
    many.gateway.workers[0].answer = answer  # type: ignore[method-assign]
    assert many.call("policy.rehearse", text=b64(DANE))["outbound"]["undecided"][0]["doubt"] == "no-tlsa"
    assert asked == [["partner.example"]]
    many.call("policy.rehearse", text=b64(DANE), offline=True)
    assert len(asked) == 1


def test_damaged_records_are_told_as_in_the_desk(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "_few", lambda *_: False)  # so that the child is the first to look
    many.home.records_db.write_bytes(b"no database" * 1000)
    assert "records.db cannot be read: " in refused(many).message


ENDS = {
    "raise SystemExit(100)": "more than 2,048 MB of memory",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "was ended by SIGKILL",
    "import time; time.sleep(60)": "took longer than",
}


@pytest.mark.parametrize("code", ENDS)
def test_what_ended_the_child_is_told(many: Bench, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    as_child(monkeypatch, code)
    if "sleep" in code:
        monkeypatch.setattr(replay_child, "DEADLINE", 0.2)
    error = refused(many)
    assert ENDS[code] in error.message
    assert "--days" in error.hint


def test_a_bug_of_the_child_is_a_bug_of_the_desk(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    as_child(monkeypatch, "1 / 0")
    with pytest.raises(ReplayBroke, match="ZeroDivisionError"):
        many.call("policy.rehearse", text=b64(STRICT))


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, many: Bench) -> None:
    as_child(
        monkeypatch,
        "from gatepost.control.ops import replay_child as it\n"
        "def grow(*_): bytearray(it.MEMORY)\n"
        "it._answer = grow\n"
        "raise SystemExit(it._child())",
    )
    assert "of memory" in refused(many).message


WAITS = (
    "import os, sys\n"
    "from gatepost.control.ops import replay_child as it\n"
    "def wait(given):\n"
    "    it._say({'told': {'pid': os.getpid(), 'nice': os.nice(0)}})\n"
    "    given.get(), given.get()\n"
    "it._answer = wait\n"
    "raise SystemExit(it._child())"
)


def alone(
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[asyncio.Task[Any], Callable[[], None]], Coroutine[Any, Any, None]],
) -> dict[str, Any]:
    """Let a child wait, do something, and see it gone; returns what the child told."""
    as_child(monkeypatch, WAITS)
    told: dict[str, Any] = {}

    async def main() -> None:
        began = asyncio.Event()
        hang_ups: list[Callable[[], None]] = []

        def tell(found: Mapping[str, Any]) -> None:
            told.update(found)
            began.set()

        async def ask(domains: Sequence[str]) -> Mapping[str, Any]:
            raise AssertionError(domains)

        line = Line(tell, hang_ups.append)
        running = asyncio.ensure_future(replay_in_child({}, ask, line, offline=True))
        await began.wait()
        await act(running, hang_ups[0])

    asyncio.run(asyncio.wait_for(main(), 30))
    with pytest.raises(ProcessLookupError):
        os.kill(told["pid"], 0)
    return told


def test_who_hangs_up_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(running: asyncio.Task[Any], hang_up: Callable[[], None]) -> None:
        hang_up()
        with pytest.raises(OperatorError, match="nobody waits"):
            await running

    assert alone(monkeypatch, act)["nice"] == 19


def test_a_stopping_desk_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(running: asyncio.Task[Any], hang_up: Callable[[], None]) -> None:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    alone(monkeypatch, act)


def test_a_desk_that_is_killed_leaves_no_child() -> None:
    """The child's input ends with the desk, while it computes as well."""
    spins = WAITS.replace("    given.get(), given.get()\n", "    while True: pass\n")
    desk = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {spins!r}], stdin=subprocess.PIPE, stdout=1)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", desk], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b'"pid"' in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == b""  # ends when nobody holds the other end any more


def test_one_large_rehearsal_at_a_time(many: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(*_: Any, **__: Any) -> dict[str, Any]:
        began.set()
        await may_end.wait()
        return {}

    monkeypatch.setattr(policy, "replay_in_child", slowly)

    async def ask() -> Any:
        return await many.operations.call("policy.rehearse", {"text": b64(STRICT)}, Caller.local(0))

    async def main() -> None:
        first = asyncio.ensure_future(ask())
        await began.wait()
        with pytest.raises(OperatorError, match="another large rehearsal is running") as caught:
            await ask()
        assert caught.value.code is Exit.TRY_AGAIN
        may_end.set()
        await first
        began.clear()
        await ask()

    asyncio.run(main())
