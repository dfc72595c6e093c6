"""Message -> Spooled: the promise. When `keep` returns, the message is on disk and the scheduler has it.

The message, the events that tell of it and nothing else are one change of the spool; the events are let into
the log when the change is on disk, so the log never says `queued` of a message that could be lost.
"""

from __future__ import annotations

from gatepost.core.codec import encode_events
from gatepost.core.events import Event
from gatepost.core.reply import Refusal
from gatepost.relay.schedule import Scheduler
from gatepost.relay.services import Services
from gatepost.store.spool import BodyWriter, Change, SpoolFailed, SpoolFull, StoredMessage

NO_ROOM = Refusal(452, "4.3.1", "Not enough disk space, please try again later")
NOT_KEPT = Refusal(451, "4.3.0", "The message could not be stored safely, please try again later")


async def keep(
    services: Services,
    scheduler: Scheduler,
    message: StoredMessage,
    body: BodyWriter,
    events: list[Event],
) -> Refusal | None:
    """Put a message and its events on disk and into the queue; or say why it could not be kept."""
    journal = services.journal
    blob = encode_events(events)
    token = journal.hold(events, blob)
    change = Change(insert=message, body=body, events=blob, urgent=True)
    try:
        await services.spool.submit(change)
    except SpoolFull as error:
        journal.discard(token)
        return Refusal(NO_ROOM.code, NO_ROOM.enhanced, NO_ROOM.text, str(error))
    except SpoolFailed as error:
        journal.discard(token)
        return Refusal(NOT_KEPT.code, NOT_KEPT.enhanced, NOT_KEPT.text, str(error))
    journal.release(token)
    scheduler.add(message)
    return None
