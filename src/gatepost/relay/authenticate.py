"""AUTH -> a user, or a refusal: the dialogue of one session, driven against whoever knows the users.

`Verifier` is the port: the gateway's own users now (`LocalUsers`), a directory later; its `profile` stands in the log. Comparing a pass-phrase is slow on
purpose and runs in threads of a worker's `Checks`: few at a time, behind the mail in priority, and with a bounded queue (454 when it is full).

Brute force (C30). An attempt is counted as a failure of its address and of its user before it is tried, in the table that all workers share, and taken back
when it succeeds: so no number of connections at once gets more attempts than the limits say. Over a limit nothing is tried any more: 454. A failure is
answered late, later with each one of the address within the hour, and the last one that a session has ends it (421). Users that do not exist cost the
same time and get the same answers.

What a failure leaves is an event without secrets; nothing that a client sent is logged but the name.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from gatepost.config.values import NO_LIMIT
from gatepost.core.auth_events import SmtpAuthFailed, SmtpAuthLocked, SmtpAuthSucceeded
from gatepost.core.reply import Reply
from gatepost.net.leaving import unless_reset
from gatepost.policy.auth import LOCAL, SmtpUsers, address_key, authenticated, delay_after, user_key
from gatepost.wire.sasl import WRONG, Challenge, CheckPassphrase, CheckProof, LookUp, Proven, Step
from gatepost.wire.scram import ScramVerifier
from gatepost.wire.server_auth import (
    ALREADY,
    INVALID,
    SUCCESS,
    TEMPORARY,
    TOO_MANY_FAILURES,
    AuthDialogue,
    AuthFault,
    challenge_reply,
)
from gatepost.wire.server_events import Auth

if TYPE_CHECKING:
    from gatepost.relay.accept import Session
    from gatepost.relay.services import Runtime

PARALLEL = 2  # pass-phrases that a worker compares at the same time
WAITING = 100  # and that wait for it
BEHIND = 10  # how much these threads step back behind the mail (nice)
SHOWN_NAME = 128
LOCKED = "locked"


class Busy(Exception):
    """More is waiting to be compared than makes sense."""


class Checks:
    """The threads of one worker that compare pass-phrases. They are made when the first one comes."""

    def __init__(self, parallel: int = PARALLEL, waiting: int = WAITING) -> None:
        self._slots = asyncio.Semaphore(parallel)
        self._parallel = parallel
        self._room = parallel + waiting
        self._threads: ThreadPoolExecutor | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place to compare in. Raises Busy where too many wait."""
        if not self._room:
            raise Busy
        self._room -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._room += 1

    async def compare(self, verifier: ScramVerifier, passphrase: str) -> bool:
        """Whether it is the pass-phrase; within a `turn`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._parallel, "passphrase", _step_back)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, verifier.accepts, passphrase)

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself within a moment."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Let the loop of the mail go first: priorities are a thread's own on Linux."""
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < BEHIND:  # the other way would need a privilege
        os.setpriority(os.PRIO_PROCESS, thread, BEHIND)


class Verifier(Protocol):
    """Who knows users."""

    @property
    def profile(self) -> str:
        """Its name in the log."""
        ...

    def scram(self, user: str) -> ScramVerifier:
        """What SCRAM needs of a user; of nobody for one that does not exist."""
        ...

    async def accepts(self, user: str, passphrase: str) -> bool:
        """Whether it is the user's pass-phrase, after the same time for users that do not exist."""
        ...

    def knows(self, user: str) -> bool:
        """For the log alone."""
        ...


class LocalUsers:
    """Implements `Verifier` for the users of a configuration."""

    profile = LOCAL

    def __init__(self, users: SmtpUsers, checks: Checks) -> None:
        self._users = users
        self._checks = checks

    def scram(self, user: str) -> ScramVerifier:
        return self._users.verifier(user)

    async def accepts(self, user: str, passphrase: str) -> bool:
        return await self._checks.compare(self._users.verifier(user), passphrase)

    def knows(self, user: str) -> bool:
        return user in self._users


class Authentication:
    """AUTH of one session: made when the first AUTH comes, and kept for its failures and for who succeeded."""

    __slots__ = ("_dialogue", "_failures", "_session", "_users", "_verifier")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failures = 0
        self._dialogue: AuthDialogue | None = None
        self._users: Verifier | None = None
        self._verifier: ScramVerifier | None = None  # of the user who succeeded

    def still_holds(self, runtime: Runtime, user: str) -> bool:
        """Whether the user who succeeded is still let in, with the same pass-phrase, under another configuration."""
        return runtime.users.verifiers.get(user) == self._verifier

    async def take(self, event: Auth) -> None:
        """AUTH, or a line of its dialogue."""
        try:
            step = self._begin(event) if event.mechanism else self._line(event.response or b"")
            reply = await self._follow(step)
        except AuthFault as fault:
            reply = await self._fault(fault)
        if reply.code != 334:
            self._dialogue = self._users = None
        assert self._session.engine is not None
        self._session.engine.answer(reply)

    def _begin(self, event: Auth) -> Step:
        session = self._session
        assert session.admission is not None
        if session.admission.user:
            raise AuthFault(ALREADY, "authenticated already")
        services = session.services
        nonce = secrets.token_urlsafe(18)
        self._dialogue = AuthDialogue(event.mechanism, session.runtime.auth.mechanisms, nonce)
        self._users = LocalUsers(services.runtime.users, services.checks)
        return self._dialogue.begin(event.response)

    def _line(self, line: bytes) -> Step:
        assert self._dialogue is not None
        return self._dialogue.line(line)

    async def _follow(self, step: Step) -> Reply:
        """What is sent next. Raises AuthFault."""
        dialogue, users = self._dialogue, self._users
        assert dialogue is not None
        assert users is not None
        while True:
            match step:
                case Challenge():
                    return challenge_reply(step)
                case LookUp(user):
                    self._refuse_locked(user)
                    step = dialogue.known(users.scram(user))
                case CheckProof(user):
                    self._count(user)
                    step = dialogue.check()
                    self._take_back(user)
                case CheckPassphrase(user, passphrase):
                    await self._compare(users, user, passphrase)
                    return self._succeeded(users, user)
                case Proven(user):
                    return self._succeeded(users, user)

    async def _compare(self, users: Verifier, user: str, passphrase: str) -> None:
        """Raises AuthFault for a wrong pass-phrase, and where it may or can not be tried."""
        self._refuse_locked(user)
        try:
            async with self._session.services.checks.turn():
                self._count(user)
                accepted = await users.accepts(user, passphrase)
        except Busy:
            raise AuthFault(TEMPORARY, "too many attempts are under way", failed=True) from None
        if not accepted:
            raise AuthFault(INVALID, WRONG, failed=True)
        self._take_back(user)

    def _succeeded(self, users: Verifier, user: str) -> Reply:
        session = self._session
        assert self._dialogue is not None
        assert session.admission is not None
        services = session.services
        services.counters.auth_succeeded += 1
        services.journal.emit(
            SmtpAuthSucceeded(
                services.clock.now(), session.icid, user, self._dialogue.mechanism, users.profile
            )
        )
        self._verifier = users.scram(user)  # not that of a commit in the meantime
        session.admission = authenticated(session.admission, user)
        return SUCCESS

    # --- failures --------------------------------------------------------------------------------

    async def _fault(self, fault: AuthFault) -> Reply:
        """Tell of a failed attempt, and answer it late. A line that is no attempt is just refused; the engine counts those."""
        if not fault.failed:
            return fault.reply
        session, dialogue, users = self._session, self._dialogue, self._users
        assert dialogue is not None
        assert users is not None
        assert session.admission is not None
        services = session.services
        user, reason = dialogue.user, fault.reason
        counted = reason == WRONG  # nothing was tried otherwise, so no limit is reached by it
        if fault.reply is INVALID and user and not users.knows(user):
            reason = "unknown user"
        services.counters.auth_failed += 1
        services.journal.emit(
            SmtpAuthFailed(
                services.clock.now(),
                session.icid,
                user[:SHOWN_NAME],
                dialogue.mechanism,
                users.profile,
                reason,
            )
        )
        self._failures += 1
        if counted:
            self._tell_locked(user)
        if fault.reply is INVALID:
            failures = services.limits.recent(address_key(session.admission.network))
            await unless_reset(session.stream, asyncio.sleep(delay_after(failures)))
        return TOO_MANY_FAILURES if self._failures >= session.runtime.auth.per_session else fault.reply

    def _keys(self, user: str) -> list[tuple[str, str, str, int | None]]:
        """What is counted: what it is, its name, its key, and its limit."""
        admission, rules = self._session.admission, self._session.runtime.auth
        assert admission is not None
        network = admission.network
        return [
            ("address", network, address_key(network), rules.per_address),
            ("user", user[:SHOWN_NAME], user_key(user), rules.per_user),
        ]

    def _refuse_locked(self, user: str) -> None:
        recent = self._session.services.limits.recent
        if any(limit is not None and recent(key) >= limit for _, _, key, limit in self._keys(user)):
            raise AuthFault(TEMPORARY, LOCKED, failed=True)

    def _count(self, user: str) -> None:
        """Count the attempt as a failure, before it is tried. Raises AuthFault over a limit."""
        limits = self._session.services.limits
        counted: list[str] = []
        for _, _, key, limit in self._keys(user):
            if not limits.count_recipients(key, 1, NO_LIMIT if limit is None else limit):
                for other in counted:
                    limits.take_back(other)
                raise AuthFault(TEMPORARY, LOCKED, failed=True)
            counted.append(key)

    def _take_back(self, user: str) -> None:
        """It was none."""
        for _, _, key, _ in self._keys(user):
            self._session.services.limits.take_back(key)

    def _tell_locked(self, user: str) -> None:
        session = self._session
        services = session.services
        for what, name, key, limit in self._keys(user):
            if limit is not None and services.limits.recent(key) == limit:
                services.counters.auth_locked += 1
                services.journal.emit(SmtpAuthLocked(services.clock.now(), session.icid, what, name, limit))
