"""Activation: one configuration in all processes, or nowhere (architecture 7, and 3, Commit).

`prepare` binds what is new and lets every running worker build the new configuration; a refusal anywhere undoes all of
it. Then the asker makes the version durable, and `switch` does not fail any more: a worker that cannot switch is
killed, and its successor starts with the new configuration. One activation at a time. A worker that comes up meanwhile
catches up before it counts as running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.app.channel import ChannelClosed, PeerBug
from gatepost.app.child import Child, State
from gatepost.app.sockets import Plan, Sockets, endpoint_json, endpoints
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import ConfigurationActivated, Warned
from gatepost.core.ports import Clock, Emit
from gatepost.store.payload import Payload, open_payload, used_profiles
from gatepost.store.secrets import MasterKey

PREPARE_SECONDS = 30.0
SWITCH_SECONDS = 10.0


class Activation:
    """The configuration in force, and the one that is being prepared."""

    def __init__(
        self,
        payload: Payload,
        key: MasterKey,
        sockets: Sockets,
        workers: Sequence[Child],
        *,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self.active = payload
        self._key = key
        self._sockets = sockets
        self._workers = workers
        self._emit = emit
        self._clock = clock
        self._pending: _Pending | None = None

    def announce(self) -> None:
        """Log that the active version is in force."""
        payload = self.active
        self._emit(
            ConfigurationActivated(
                self._clock.now(), payload["version"], payload["author"], payload["comment"]
            )
        )

    def opened(self, payload: Payload) -> Payload:
        """The payload for a worker, with the keys that mail uses. Raises OperatorError."""
        return open_payload(payload, self._key, used_profiles(payload["document"]))

    async def prepare(self, payload: Payload) -> None:
        """The first half of an activation. Raises OperatorError when anything refuses; then nothing is left of it."""
        if self._pending is not None:
            raise OperatorError(
                "another change is being made active",
                "try again in a moment",
                code=Exit.TRY_AGAIN,
            )
        plan = self._sockets.plan(endpoints(payload["document"]))
        pending = self._pending = _Pending(
            payload, plan, [child for child in self._workers if child.state is State.RUNNING]
        )
        try:
            preparation = self._preparation(payload, plan)
            results = await asyncio.gather(
                *(self._prepare_one(child, preparation, plan) for child in pending.workers),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            if self._pending is pending:
                self.abandon()
            raise
        if self._pending is not pending:
            raise OperatorError("the change was abandoned meanwhile", code=Exit.TRY_AGAIN)

    def _preparation(self, payload: Payload, plan: Plan | None) -> dict[str, Any]:
        listening = plan.endpoints if plan is not None else self._sockets.endpoints
        return {"payload": self.opened(payload), "listeners": endpoint_json(listening)}

    async def _prepare_one(self, child: Child, preparation: Mapping[str, Any], plan: Plan) -> None:
        try:
            child.pass_descriptors(self._sockets.descriptors(plan))
            await child.request("prepare", preparation, PREPARE_SECONDS)
        except (ChannelClosed, PeerBug, TimeoutError) as error:
            raise OperatorError(
                f"the {child.name} could not prepare the change: {error or 'no answer in time'}",
                "nothing was changed; the log says more, try again",
                code=Exit.TRY_AGAIN,
            ) from None

    async def switch(self) -> None:
        """The second half: it does not fail any more."""
        pending, self._pending = self._pending, None
        if pending is None:
            raise OperatorError("there is nothing to switch to", "try again", code=Exit.TRY_AGAIN)
        self.active = pending.payload
        self._sockets.switch(pending.plan)
        self.announce()
        await asyncio.gather(*(self._switch_one(child, pending) for child in self._workers))

    async def _switch_one(self, child: Child, pending: _Pending) -> None:
        if child.state is not State.RUNNING:
            return  # it catches up, or starts with the new configuration
        try:
            if child in pending.workers and child.pid in pending.pids:
                await child.request("switch", {}, SWITCH_SECONDS)
                child.seen = pending.payload
            else:
                await self.catch_up(child)
        except (OperatorError, PeerBug, ChannelClosed, TimeoutError) as error:
            self._emit(Warned(self._clock.now(), f"{child.name} did not take up the configuration: {error}"))
            child.kill()

    def abandon(self) -> None:
        """Undo the preparation, if there is one."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._sockets.abandon(pending.plan)
        for child in pending.workers:
            if child.state is State.RUNNING:
                child.notify("abandon", {})

    async def catch_up(self, child: Child) -> None:
        """Bring a worker to the active configuration, whatever was activated meanwhile."""
        while child.seen is not self.active:
            payload = self.active
            child.pass_descriptors(self._sockets.descriptors())
            await child.request("prepare", self._preparation(payload, None), PREPARE_SECONDS)
            await child.request("switch", {}, SWITCH_SECONDS)
            child.seen = payload


class _Pending:
    """A prepared activation. `pids` are the processes that prepared: a successor did not."""

    def __init__(self, payload: Payload, plan: Plan, workers: list[Child]) -> None:
        self.payload = payload
        self.plan = plan
        self.workers = workers
        self.pids = {child.pid for child in workers}
