"""The administrator's hand on one worker's queue: list, show, retry, hold, release, delete, bounce.

The desk asks every worker and puts the answers together (architecture 5: only the owner of a shard reads it).
A selection is a MID, a recipient domain, or all. A message that a courier has in hand right now is not
touched: the answer says so, and the administrator asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatepost.core.codec import encode_events
from gatepost.core.errors import OperatorError
from gatepost.core.events import Event, MessageDeleted, MessageHeld, MessageReleased
from gatepost.relay.courier import Couriers
from gatepost.relay.outcome import Failure, Stage
from gatepost.relay.services import Services
from gatepost.store.spool import Change, MessageKind, Progress, RecipientState, StoredMessage

LIST_LIMIT = 10_000  # messages in one answer
_KINDS = {
    MessageKind.ORDINARY: "ordinary",
    MessageKind.OWN: "alert",
    MessageKind.NOTICE: "notice",
    MessageKind.REPORT: "tls-report",
}


class QueueRequests:
    """Answers `queue.*` requests of the desk."""

    def __init__(self, services: Services, couriers: Couriers) -> None:
        self._services = services
        self._couriers = couriers

    async def answer(self, action: str, args: Mapping[str, Any]) -> Any:
        """The JSON answer. Raises OperatorError for an action that is not known."""
        match action:
            case "list":
                return [self._summary(message) for message in self._selected(args)[:LIST_LIMIT]]
            case "show":
                return [self._detail(message) for message in self._selected(args)]
            case "retry" | "hold" | "release" | "delete" | "bounce":
                by = str(args.get("by", ""))
                done, busy = [], []
                for message in self._selected(args):
                    if action in ("hold", "delete", "bounce") and self._couriers.scheduler.in_flight(message):
                        busy.append(message.mid)
                    elif await self._act(action, message, args, by):
                        done.append(message.mid)
                return {"done": done, "busy": busy}
            case _:
                raise OperatorError(f"there is no queue action {action!r}")

    def _selected(self, args: Mapping[str, Any]) -> list[StoredMessage]:
        """The messages that `mid`, `domain` or `all` name, oldest first."""
        messages = self._couriers.scheduler.messages
        if args.get("mid"):
            found = messages.get(int(args["mid"]))
            return [found] if found is not None else []
        chosen = sorted(messages.values(), key=lambda message: message.received)
        if domain := args.get("domain"):
            return [m for m in chosen if self._waiting_at(m, str(domain))]
        return chosen if args.get("all") else []

    def _waiting_at(self, message: StoredMessage, domain: str) -> list[int]:
        """The waiting recipients of a message, of one domain or (empty) of all."""
        return [
            rid
            for rid, progress in enumerate(message.progress)
            if progress.state is RecipientState.WAITING
            and (not domain or message.envelope.recipients[rid].address.domain == domain)
        ]

    async def _act(self, action: str, message: StoredMessage, args: Mapping[str, Any], by: str) -> bool:
        rids = self._waiting_at(message, str(args.get("domain") or ""))
        match action:
            case "retry":
                if message.held or self._couriers.scheduler.in_flight(message):
                    return False
                self._couriers.scheduler.retry(message)
                return True
            case "hold":
                return self._hold(message, by)
            case "release":
                return self._release(message, by)
            case "delete":
                return self._delete(message, rids, by)
            case _:
                return await self._bounce(message, rids, by)

    # --- the state changes -------------------------------------------------------------------

    def _submit(self, change: Change, events: list[Event]) -> None:
        """One durable change with its log lines."""
        journal = self._services.journal
        change.events = encode_events(events)
        token = journal.hold(events, change.events)

        def done(future: Any) -> None:
            if future.exception() is None:
                journal.release(token)
            else:
                journal.discard(token)

        self._services.spool.submit(change).add_done_callback(done)

    def _hold(self, message: StoredMessage, by: str) -> bool:
        if message.held:
            return False
        self._couriers.scheduler.withdraw(message)
        message.held = f"held by {by}" if by else "held by an administrator"
        event = MessageHeld(self._services.clock.now(), message.mid, message.held)
        self._submit(Change(update=message), [event])
        return True

    def _release(self, message: StoredMessage, by: str) -> bool:
        if not message.held:
            return False
        message.held = ""
        message.crashes = 0
        self._submit(Change(update=message), [MessageReleased(self._services.clock.now(), message.mid, by)])
        self._couriers.scheduler.retry(message)
        return True

    def _delete(self, message: StoredMessage, rids: list[int], by: str) -> bool:
        if not rids:
            return False
        scheduler = self._couriers.scheduler
        scheduler.withdraw(message)
        for rid in rids:
            message.progress[rid].state = RecipientState.DELETED
        event = MessageDeleted(self._services.clock.now(), message.mid, rids, by)
        if self._waiting_at(message, ""):
            self._submit(Change(update=message), [event])
            scheduler.replan(message)
        else:
            self._submit(Change(remove=message.mid), [event])
            scheduler.forget(message)
        return True

    async def _bounce(self, message: StoredMessage, rids: list[int], by: str) -> bool:
        if not rids:
            return False
        scheduler = self._couriers.scheduler
        scheduler.reserve(message)
        text = f"returned by {by}" if by else "returned by an administrator"
        await self._couriers.settler.bounce(message, rids, Failure(Stage.DELETED, True, (text,)))
        if self._waiting_at(message, ""):
            scheduler.replan(message)
        else:
            scheduler.forget(message)
        return True

    # --- what is shown -----------------------------------------------------------------------

    def _summary(self, message: StoredMessage) -> dict[str, Any]:
        waiting = self._waiting_at(message, "")
        next_attempt = min((message.progress[rid].next_attempt for rid in waiting), default=0.0)
        last = next((p for p in message.progress if p.text), Progress())
        return {
            "mid": message.mid,
            "received": message.received,
            "sender": message.envelope.sender.text,
            "recipients": [message.envelope.recipients[rid].address.text for rid in waiting],
            "size": message.size,
            "state": self._state(message),
            "attempts": max((p.attempts for p in message.progress), default=0),
            "next_attempt": next_attempt,
            "reason": message.held or last.text,
            "requiretls": message.envelope.requiretls,
            "tls_optional": message.envelope.tls_optional,
            "kind": _KINDS[message.kind],
        }

    def _state(self, message: StoredMessage) -> str:
        if message.held:
            return "held"
        if self._couriers.scheduler.in_flight(message):
            return "delivering"
        return "deferred" if any(p.attempts for p in message.progress) else "queued"

    def _detail(self, message: StoredMessage) -> dict[str, Any]:
        recipients = [
            {
                "rid": rid,
                "address": recipient.address.text,
                "state": progress.state.value,
                "attempts": progress.attempts,
                "next_attempt": progress.next_attempt,
                "status": progress.status,
                "code": progress.code,
                "text": progress.text,
                "remote": progress.remote,
            }
            for rid, (recipient, progress) in enumerate(
                zip(message.envelope.recipients, message.progress, strict=True)
            )
        ]
        return {
            **self._summary(message),
            "recipients": recipients,
            "listener": message.listener,
            "icid": message.icid,
            "about": message.about,
            "smtputf8": message.envelope.smtputf8,
            "shard": message.shard,
            "crashes": message.crashes,
        }
