"""Recipient call-ahead: before RCPT is answered, the host that would get the mail is asked whether it takes the recipient.

How it works. The way to the host is the delivery's own: smtp route or MX, the destination's TLS plan, `Opener`; on it MAIL with the null sender and one
RCPT are said, never DATA. Answers are kept, sessions that want the same recipient share a question, and a connection waits
some seconds for the next recipient of its destination. A commit forgets all of it.

Limits. `call_ahead` in the configuration: ten seconds a question, five at a time to one destination in each worker, as many refused recipients an
hour for a sender as it says. 100 questions wait for a destination, then the answer is 451 at once; so it is for 15 s after a
destination could not be reached. 10,000 answers, 1,000 destinations.

Two gateways that ask each other about a recipient wait for each other, until the time is up on both: 451. Nothing else ends that
circle, so the host that is asked must know its recipients.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

from gatepost.config.call_ahead import CallAhead
from gatepost.config.hosts import parse_route_host
from gatepost.config.values import limit_value
from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.core.envelope import Recipient
from gatepost.core.reply import Refusal
from gatepost.policy.call_ahead import (
    TOO_MANY_INVALID,
    Ahead,
    cannot_be_sent,
    could_not_tell,
    invalid_key,
    read_answer,
)
from gatepost.policy.route import Route, Routes
from gatepost.relay.connect import HopFailed, Opener
from gatepost.relay.deliver import Connection
from gatepost.relay.dialogue import ConnectionBroken, expect
from gatepost.relay.outcome import Failure
from gatepost.relay.quiet import quiet
from gatepost.relay.resolve import Unresolved, resolve
from gatepost.relay.schedule import Destination
from gatepost.relay.services import Runtime, Services
from gatepost.relay.tasks import Tasks
from gatepost.wire.client_commands import UnsendableText
from gatepost.wire.client_events import EnvelopeAnswered, ResetDone, Transaction

MAX_ANSWERS = 10_000
MAX_LINES = 1_000
MAX_WAITING = 100
IDLE_SECONDS = 5.0
SILENT_SECONDS = 15.0
MAX_QUESTIONS = 1_000  # on one connection

Question = tuple[str, str, str]  # host that is asked instead of the route, local part, domain


class _Line:
    """What is known of one destination, and the connections to it."""

    __slots__ = ("destination", "host", "idle", "places", "silence", "silent_until", "waiting")

    def __init__(self, host: str, domain: str, places: int) -> None:
        self.host = host
        self.destination = Destination(domain)
        self.places = asyncio.Semaphore(places)
        self.waiting = 0
        self.idle: dict[Connection, asyncio.TimerHandle] = {}
        self.silence = Ahead(None)
        self.silent_until = 0.0

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.idle)


class CallAheads:
    """The questions of one worker."""

    def __init__(self, *, limit: int = MAX_ANSWERS) -> None:
        self._limit = limit
        self._answers: OrderedDict[Question, tuple[float, Ahead]] = OrderedDict()
        self._running: dict[Question, asyncio.Future[Ahead]] = {}
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()
        self._runtime: Runtime | None = None
        self._tasks: Tasks | None = None
        self._counts = CacheCounts()

    def cache_state(self) -> CacheState:
        """How often an answer was known, and how many are."""
        return self._counts.state(len(self._answers), self._limit)

    async def refusal(
        self, services: Services, recipient: Address, host: str, network: str
    ) -> Refusal | None:
        """Why a recipient is refused to a sender of this network. `host` is asked instead of the route, unless it is empty."""
        self._follow(services)
        settings = services.runtime.document.call_ahead
        question = (host, recipient.local, recipient.domain)
        known = self._known(question)
        if known is None:
            self._counts.misses += 1
        else:
            self._counts.hits += 1
            if known.refusal is None:
                return None
        limit, key = limit_value(settings.max_invalid_per_hour), invalid_key(network)
        if limit is not None and services.limits.recent(key) >= limit:
            return TOO_MANY_INVALID
        answer = known
        if answer is None:
            answer = await asyncio.shield(self._asked(services, question, recipient))
        if answer.invalid and limit is not None:
            services.limits.count_recipients(key, 1, limit)
        return answer.refusal

    def _follow(self, services: Services) -> None:
        """Start anew under another configuration: routes, hosts and their TLS may be others."""
        if services.runtime is self._runtime:
            return
        self._runtime = services.runtime
        if self._tasks is None:
            self._tasks = Tasks("call-ahead", services.on_bug)
        self._answers.clear()
        self._running.clear()
        for line in self._lines.values():
            self._hang_up(line)
        self._lines.clear()

    def _known(self, question: Question) -> Ahead | None:
        known = self._answers.get(question)
        if known is None:
            return None
        if known[0] <= asyncio.get_running_loop().time():
            del self._answers[question]
            return None
        self._answers.move_to_end(question)
        return known[1]

    def _asked(self, services: Services, question: Question, recipient: Address) -> asyncio.Future[Ahead]:
        """The answer to come; sessions that want the same one share it."""
        future = self._running.get(question)
        if future is None:
            assert self._tasks is not None
            future = self._running[question] = asyncio.get_running_loop().create_future()
            self._tasks.spawn(self._answer(services, question, recipient, future))
        return future

    async def _answer(
        self, services: Services, question: Question, recipient: Address, future: asyncio.Future[Ahead]
    ) -> None:
        """Ask, keep what is worth keeping, and tell those who wait; also of a bug, which is a question without an answer."""
        runtime = services.runtime
        answer = could_not_tell("4.3.0", "internal error")
        try:
            answer = await self._ask(services, question, recipient)
        finally:
            if self._running.get(question) is future:
                del self._running[question]
            if not future.done():
                future.set_result(answer)
        if answer.keep and runtime is self._runtime:
            self._answers[question] = (asyncio.get_running_loop().time() + answer.keep, answer)
            if len(self._answers) > self._limit:
                self._answers.popitem(last=False)

    async def _ask(self, services: Services, question: Question, recipient: Address) -> Ahead:
        runtime = services.runtime
        settings = runtime.document.call_ahead
        line = self._line(question[0], recipient.domain, settings)
        loop = asyncio.get_running_loop()
        if loop.time() < line.silent_until:
            return line.silence
        if line.waiting >= MAX_WAITING:
            return could_not_tell("4.4.5", "too many questions wait for this host")
        line.waiting += 1
        began = False
        try:
            async with asyncio.timeout(settings.timeout), line.places:
                began = True
                return await self._on_line(services, runtime, line, recipient)
        except TimeoutError:
            answer = could_not_tell("4.4.1", f"no answer within {settings.timeout} s")
            if not began:
                return answer  # the host is busy with us, not silent
        except ConnectionBroken as broken:
            answer = could_not_tell("4.4.2", broken.text)
        except (HopFailed, Unresolved) as error:
            answer = could_not_tell(f"4.{_stage(error.failure)}", error.failure.text)
        except UnsendableText as error:
            return cannot_be_sent(str(error))
        finally:
            line.waiting -= 1
        line.silence, line.silent_until = answer, loop.time() + SILENT_SECONDS
        return answer

    def _line(self, host: str, domain: str, settings: CallAhead) -> _Line:
        key = (host, domain)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(host, domain, settings.max_connections)
            if len(self._lines) > MAX_LINES:
                quiet_one = next((name for name, one in self._lines.items() if not one.busy), None)
                if quiet_one is not None and quiet_one != key:
                    del self._lines[quiet_one]
        else:
            self._lines.move_to_end(key)
        return line

    async def _on_line(self, services: Services, runtime: Runtime, line: _Line, recipient: Address) -> Ahead:
        """Ask on a connection that waits, else on a new one. One that waited may be dead: then once more."""
        settings = runtime.document.call_ahead
        while line.idle:
            connection, timer = line.idle.popitem()
            timer.cancel()
            try:
                return await self._question(runtime, line, connection, recipient, settings)
            except ConnectionBroken:
                continue
        connection = await _open(services, runtime, line)
        return await self._question(runtime, line, connection, recipient, settings)

    async def _question(
        self, runtime: Runtime, line: _Line, connection: Connection, recipient: Address, settings: CallAhead
    ) -> Ahead:
        """One MAIL and one RCPT. The connection then waits for the next, or is gone when anything went wrong."""
        try:
            envelope = await _envelope(connection, recipient, settings.timeout)
        except BaseException:
            connection.abort()
            raise
        connection.messages += 1
        if runtime is not self._runtime or connection.worn(MAX_QUESTIONS):
            self._part(connection)
        else:
            loop = asyncio.get_running_loop()
            line.idle[connection] = loop.call_later(IDLE_SECONDS, self._idle_over, line, connection)
        return read_answer(envelope.mail, envelope.recipients[0], settings)

    def _idle_over(self, line: _Line, connection: Connection) -> None:
        if line.idle.pop(connection, None) is not None:
            self._part(connection)

    def _hang_up(self, line: _Line) -> None:
        for connection, timer in line.idle.items():
            timer.cancel()
            self._part(connection)
        line.idle.clear()

    def _part(self, connection: Connection) -> None:
        assert self._tasks is not None
        self._tasks.spawn(connection.close())

    async def close(self) -> None:
        """End everything; who waits for an answer is told that there is none."""
        for line in self._lines.values():
            for connection, timer in line.idle.items():
                timer.cancel()
                connection.abort()
            line.idle.clear()
        if self._tasks is not None:
            await self._tasks.cancel()


async def _open(services: Services, runtime: Runtime, line: _Line) -> Connection:
    """A connection to the first host that works. Raises HopFailed or Unresolved."""
    domain = line.destination.domain
    unheard = quiet(services)
    rule = runtime.destinations.find(domain, services.today())
    chosen = runtime
    if line.host:
        chosen = replace(runtime, routes=Routes([Route(domain, (parse_route_host(line.host),))]))
    clear_allowed, last = True, None
    for hop in await resolve(unheard, chosen, domain, rule):
        opener = Opener(unheard, runtime, line.destination, rule, hop)
        try:
            return await opener.open(clear_allowed=clear_allowed, broken_attempts=0)
        except HopFailed as failed:
            clear_allowed = clear_allowed and not failed.handshake_broken
            last = failed
    assert last is not None  # `resolve` gives at least one hop
    raise last


async def _envelope(connection: Connection, recipient: Address, seconds: float) -> EnvelopeAnswered:
    """MAIL and RCPT, after a RSET where an earlier question stands. Raises ConnectionBroken."""
    stream, engine = connection.stream, connection.engine
    stream.set_deadline(seconds)
    if engine.transaction_open:
        engine.reset()
        stream.write(engine.take_output())
        if not isinstance(await expect(stream, engine, seconds), ResetDone):
            raise ConnectionBroken("the answer to RSET was not understood")
    engine.begin(
        Transaction(
            NULL_ADDRESS,
            (Recipient(recipient),),
            smtputf8=recipient.needs_smtputf8,
            use_dsn=False,
            probe=True,
        )
    )
    stream.write(engine.take_output())
    event = await expect(stream, engine, seconds)
    if not isinstance(event, EnvelopeAnswered):
        raise ConnectionBroken(f"unexpected {type(event).__name__}")
    return event


def _stage(failure: Failure) -> str:
    return failure.stage.value[0]
