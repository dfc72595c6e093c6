"""Outcome -> Delivered | Deferred | Bounced, and events: what an attempt leaves behind.

In two steps, so that the state change itself contains no await: `decide` (pure) says what becomes of each
recipient, `Settler` then writes progress, events and a report, if one is wanted, as one change of the spool. Only
between the two is anything read (the original, for a report).

A permanent failure bounces; a temporary one is retried by the bounce profile until its limits, then bounces. A
report about a report is never made: a double bounce is logged and dropped.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence

from gatepost.config.outbound import BounceProfile
from gatepost.core.codec import encode_events
from gatepost.core.delivery_events import (
    Delivered,
    DoubleBounce,
    MessageFinished,
    RecipientBounced,
    RecipientDelayed,
)
from gatepost.core.events import Event, MessageHeld
from gatepost.policy.retry import GiveUp, Retry, RetrySchedule, after_failure, warning_due
from gatepost.relay.outcome import BY_TLS, Decision, Due, Failure, Outcome, Stage
from gatepost.relay.report import Made, Reporter, read_original, wanted_reports
from gatepost.relay.schedule import Scheduler
from gatepost.relay.services import Services
from gatepost.store.spool import Change, Progress, RecipientState, SpoolFailed, SpoolFull, StoredMessage


def schedule_of(profile: BounceProfile) -> RetrySchedule:
    """The retry schedule that a bounce profile of the configuration stands for."""
    warning = profile.delay_warning
    return RetrySchedule(
        profile.initial_retry,
        profile.max_retry,
        profile.max_age,
        profile.max_attempts,
        0.0 if isinstance(warning, str) else warning,
    )


def decide(
    message: StoredMessage, outcome: Outcome, schedule: RetrySchedule, now: float, jitter: float
) -> Decision:
    """Pure: the decision for each failed recipient; the delivered ones need none."""
    decision = Decision(retry_until=message.received + schedule.max_age)
    for rid, failure in outcome.failures.items():
        progress = message.progress[rid]
        if failure.permanent:
            decision.bounced[rid] = failure
            continue
        attempts = progress.attempts + 1
        match after_failure(schedule, received=message.received, attempts=attempts, now=now, jitter=jitter):
            case Retry(at):
                decision.again[rid] = at
                if warning_due(schedule, received=message.received, now=now, warned=progress.warned):
                    decision.warn.append(rid)
            case GiveUp(reason):
                # What TLS kept back until it expired: the sender can only act on knowing it.
                stage = failure.stage if failure.stage in BY_TLS else Stage.EXPIRED
                texts = (reason, *failure.texts)
                decision.bounced[rid] = Failure(stage, True, texts, failure.code, "", failure.remote)
    return decision


class Settler:
    """Writes what attempts came to."""

    def __init__(self, services: Services, scheduler: Scheduler) -> None:
        self._services = services
        self._scheduler = scheduler
        self._reporter = Reporter(services)

    async def settle(self, due: Due, outcome: Outcome) -> None:
        """Everything that follows from one attempt. The due is given back to the scheduler."""
        decision = self._decide(due, outcome) if outcome.failures else Decision()
        await self._write(due.message, outcome, decision)
        self._scheduler.settled(due)

    def _decide(self, due: Due, outcome: Outcome) -> Decision:
        services = self._services
        rule = services.runtime.destinations.find(due.domain, services.today())
        schedule = schedule_of(services.runtime.profile(rule.bounce_profile))
        return decide(due.message, outcome, schedule, services.clock.now(), services.rng.uniform(-1.0, 1.0))

    async def bounce(self, message: StoredMessage, rids: Sequence[int], failure: Failure) -> None:
        """Bounce recipients that are not in an attempt (the administrator's wish)."""
        outcome = Outcome(0, failures=dict.fromkeys(rids, failure))
        await self._write(message, outcome, Decision(bounced=dict(outcome.failures)))

    def hold(self, due: Due, reason: str) -> None:
        """Keep a message from being tried until an administrator has looked at it."""
        due.message.held = reason
        event = MessageHeld(self._services.clock.now(), due.message.mid, reason)
        self._commit(Change(update=due.message), [event])
        self._scheduler.settled(due)

    async def _write(self, message: StoredMessage, outcome: Outcome, decision: Decision) -> None:
        """Read what a report needs, then change everything at once."""
        wanted = wanted_reports(message, outcome, decision)
        original = await read_original(self._services, message) if wanted else b""
        reports = [
            self._reporter.make(message, kind, rids, outcome, decision, original) for kind, rids in wanted
        ]
        self._apply(message, outcome, decision, [made for made in reports if made is not None])

    # --- the state change: no await below ----------------------------------------------------

    def _apply(
        self, message: StoredMessage, outcome: Outcome, decision: Decision, reports: list[Made]
    ) -> None:
        now = self._services.clock.now()
        message.crashes = 0
        events = [
            *self._delivered(message, outcome, now),
            *self._bounced(message, outcome.dcid, decision, now),
            *self._delayed(message, outcome, decision, now),
        ]
        finished = all(p.state is not RecipientState.WAITING for p in message.progress)
        if finished:
            events.append(MessageFinished(now, message.mid))
        change = Change(remove=message.mid) if finished else Change(update=message)
        first, rest = (reports[0], reports[1:]) if reports else (None, [])
        self._commit(change, events, first)
        for made in rest:
            self._commit(Change(), [], made)

    def _delivered(self, message: StoredMessage, outcome: Outcome, now: float) -> list[Event]:
        if not outcome.delivered:
            return []
        for rid in outcome.delivered:
            message.progress[rid].state = RecipientState.DELIVERED
        self._services.counters.recipients_delivered += len(outcome.delivered)
        text = outcome.response.text if outcome.response is not None else ""
        between = _domains(message, outcome.delivered[0])
        return [Delivered(now, outcome.dcid, message.mid, outcome.delivered, text, outcome.tls, *between)]

    def _bounced(self, message: StoredMessage, dcid: int, decision: Decision, now: float) -> list[Event]:
        events: list[Event] = []
        for rid, failure in decision.bounced.items():
            _record(message.progress[rid], failure).state = RecipientState.BOUNCED
            self._services.counters.recipients_bounced += 1
            how = (failure.status, failure.problem, failure.code, list(failure.texts))
            if message.envelope.sender.null:
                to = message.envelope.recipients[rid].address.domain
                events.append(DoubleBounce(now, message.mid, rid, *how, dcid, to))
            else:
                events.append(RecipientBounced(now, dcid, message.mid, rid, *how, *_domains(message, rid)))
        return events

    def _delayed(
        self, message: StoredMessage, outcome: Outcome, decision: Decision, now: float
    ) -> list[Event]:
        events: list[Event] = []
        for rid, at in decision.again.items():
            failure = outcome.failures[rid]
            _record(message.progress[rid], failure).next_attempt = at
            self._services.counters.recipients_delayed += 1
            how = (failure.status, failure.problem, failure.code, list(failure.texts))
            between = _domains(message, rid)
            events.append(RecipientDelayed(now, outcome.dcid, message.mid, rid, *how, *between))
        for rid in decision.warn:
            message.progress[rid].warned = True
        return events

    def _commit(self, change: Change, events: list[Event], report: Made | None = None) -> None:
        """Submit a change, with a report where there is one; when it is on disk its events are told."""
        if report is not None:
            change.insert, change.body = report.message, report.body
            events += report.events
        journal = self._services.journal
        change.events = encode_events(events)
        token = journal.hold(events, change.events)

        def done(future: Future[None]) -> None:
            error = future.exception()
            if error is None:
                journal.release(token)
                if report is not None:
                    self._scheduler.add(report.message)
                return
            # The shard is full or failed and has told so itself; on disk the message is as it was.
            journal.discard(token)
            if not isinstance(error, SpoolFull | SpoolFailed):
                self._services.on_bug("settle", error)

        self._services.spool.submit(change).add_done_callback(done)


def _domains(message: StoredMessage, rid: int) -> tuple[str, str]:
    """The recipient's domain and the sender's, as the events of a delivery end with them."""
    envelope = message.envelope
    return envelope.recipients[rid].address.domain, envelope.sender.domain


def _record(progress: Progress, failure: Failure) -> Progress:
    progress.attempts += 1
    progress.broken += failure.broken
    progress.status = failure.status
    progress.code = failure.code
    progress.text = failure.text
    progress.remote = failure.remote
    return progress
