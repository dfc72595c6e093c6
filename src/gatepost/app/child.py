"""One place for a child process: spawned, brought up, watched, and started again with back-off.

A child is a fresh interpreter (`python -m gatepost worker|desk`), never a fork of this one. It inherits exactly two
descriptors: its end of the channel and its end of the descriptor pair. Its end is noticed by a pidfd, without
a thread and without SIGCHLD. What it says on its own standard error goes where the gateway's goes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from gatepost.app.backoff import Backoff
from gatepost.app.channel import Channel, ChannelClosed, OnBug, PeerBug, descriptor_pair, send_descriptors
from gatepost.core.errors import OperatorError
from gatepost.core.events import ProcessEnded, ProcessStarted
from gatepost.core.ports import Clock, Emit

HIDDEN_FROM_CHILDREN = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class State(StrEnum):
    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Child:
    """A place that is kept filled until `stopping` is set.

    `answer(child, kind, args)` serves the child's requests; `bring_up(child)` makes a fresh process work (it may raise
    OperatorError, PeerBug, ChannelClosed); `cleared(child)` is called when its process is gone.
    """

    def __init__(
        self,
        role: str,
        index: int,
        *,
        command: Sequence[str],
        answer: Callable[[Child, str, Mapping[str, Any]], Awaitable[Any]],
        bring_up: Callable[[Child], Awaitable[None]],
        cleared: Callable[[Child], None],
        emit: Emit,
        on_bug: OnBug,
        clock: Clock,
    ) -> None:
        self.role = role
        self._command = command
        self.index = index
        self.state = State.DOWN
        self.restarts = 0
        self.started = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.gone = asyncio.Event()  # set when it has ended and will not be started again
        self.up = asyncio.Event()  # set once the first life has been brought up
        self.refused: OperatorError | None = None  # why the first life could not be
        self.seen: Any = None  # the configuration that the process runs; the supervisor's business
        self._answer = answer
        self._bring_up = bring_up
        self._cleared = cleared
        self._emit = emit
        self._on_bug = on_bug
        self._clock = clock
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._channel: Channel | None = None
        self._sender: socket.socket | None = None

    @property
    def name(self) -> str:
        return f"{self.role} {self.index}" if self.role == "worker" else self.role

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    # --- talking -----------------------------------------------------------------------------

    async def request(self, kind: str, args: Mapping[str, Any], timeout: float | None = None) -> Any:
        """Ask the process. Raises what `Channel.request` raises; ChannelClosed while there is none."""
        if self._channel is None:
            raise ChannelClosed(f"the {self.name} is not running")
        return await self._channel.request(kind, args, timeout)

    def notify(self, kind: str, args: Mapping[str, Any]) -> None:
        if self._channel is not None:
            self._channel.notify(kind, args)

    def pass_descriptors(self, descriptors: Mapping[str, int]) -> None:
        """Send descriptors ahead of the message that refers to them. Raises ChannelClosed."""
        if self._sender is None:
            raise ChannelClosed(f"the {self.name} is not running")
        try:
            send_descriptors(self._sender, descriptors)
        except OSError:
            raise ChannelClosed(f"the {self.name} is gone") from None

    # --- living ------------------------------------------------------------------------------

    async def live(self) -> None:
        """Keep the place filled until it is told to stop."""
        try:
            await self._lives()
        finally:
            self.gone.set()

    async def _lives(self) -> None:
        while not self._stopping.is_set():
            born = self._clock.monotonic()
            detail = await self._one_life()
            if self._stopping.is_set():
                return
            wait = self._backoff.after(self._clock.monotonic() - born)
            self.restarts += 1
            self._emit(
                ProcessEnded(self._clock.now(), self.name, self.pid, f"{detail}; restart in {wait:g} s")
            )
            try:
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _one_life(self) -> str:
        """From spawn to end; returns how it ended, for the log."""
        loop = asyncio.get_running_loop()
        channel = Channel(self._serve, self._on_bug)
        ours, theirs = socket.socketpair()
        self._sender, inbox = descriptor_pair()
        try:
            self.process = _spawn([*self._command, self.role], theirs, inbox)
        except OSError as error:  # no memory, too many processes: that may pass
            ours.close()
            return f"could not be started: {error.strerror}"
        finally:
            theirs.close()
            inbox.close()
        ended = asyncio.Event()
        watch = os.pidfd_open(self.process.pid)
        loop.add_reader(watch, ended.set)
        try:
            self.state, self.started = State.STARTING, self._clock.now()
            self._channel = channel
            await channel.open(ours)
            self._emit(ProcessStarted(self.started, self.name, self.pid))
            why = await self._raise_up()
            if why:
                self.kill()
            await ended.wait()
        finally:
            loop.remove_reader(watch)
            os.close(watch)
            code = self._bury(channel)
        return why or _how_it_ended(code)

    async def _raise_up(self) -> str:
        """Bring the process up; the reason when it cannot be, else empty."""
        try:
            await self._bring_up(self)
        except OperatorError as error:
            if not self.up.is_set():
                self.refused = error
                self.up.set()
            return error.message
        except ChannelClosed:
            return ""  # it died; how, the exit code says
        except PeerBug as error:
            return f"internal error, reference {error}"
        except TimeoutError:
            return "it did not answer in time"
        if self.state is State.STARTING:
            self.state = State.RUNNING
        self.up.set()
        return ""

    def _bury(self, channel: Channel) -> int:
        self.state, self._channel = State.DOWN, None
        channel.close()
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        self.seen = None
        self.kill()  # a no-op for one that ended; when we are cancelled it must not stay behind
        code = self.process.wait() if self.process is not None else 0
        self._cleared(self)
        return code

    async def _serve(self, kind: str, args: Mapping[str, Any]) -> Any:
        return await self._answer(self, kind, args)

    # --- ending ------------------------------------------------------------------------------

    def no_more(self) -> None:
        """Do not start it again."""
        self._stopping.set()

    def kill(self) -> None:
        """End the process at once, if there is one; only ever ours, as long as it has not been waited for."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)


def _spawn(command: Sequence[str], channel: socket.socket, inbox: socket.socket) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key not in HIDDEN_FROM_CHILDREN}
    numbers = (channel.fileno(), inbox.fileno())
    return subprocess.Popen(
        [
            *command,
            *("--channel", str(numbers[0]), "--descriptors", str(numbers[1]), "--parent", str(os.getpid())),
        ],
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        env=environment,
    )


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
