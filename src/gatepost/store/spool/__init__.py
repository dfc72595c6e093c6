"""The spool: accepted mail, on disk before it is acknowledged.

What it promises
    When the future of a change resolves, the change is on disk and survives a power cut: a message with its body, its
    removal, its progress, and the log lines that belong to it, all of it or nothing. Everything else in this package
    serves that sentence, and only this package makes the promise.

How it works
    A spool is a few shards, folders `spool/<n>/` that are independent of the number of workers. A worker owns
    its shards by a lock, and each shard has one SQLite database with exactly one connection, owned by one writer
    thread (`writer.py`). The loop packs a change and queues it; the writer commits the changes of all sessions
    together, with one flush, and tells the loop with one call. It does so when the loop is at rest, or has been busy
    for 4 ms (`gathering.py`). Changes that nobody waits for ride along, 100 ms later at most.

    A body of up to 64 KiB is a part of its row. A larger one is streamed to `body/<mid>` by the body thread
    (`bodies.py`) while it comes in. The order never changes: write the body, flush it, flush its directory (once for all
    that end together), commit the row with length and SHA-256, answer. At the end: commit the removal, then unlink.

    A new message goes to the first healthy shard of its worker, so that messages share commits; a report goes to
    the shard of the message it reports on, because the two are one transaction.

    Fresh small bodies stay in memory (64 MiB, the oldest go first), so the usual delivery reads nothing from the disk.
    Other small bodies are read by the writer, since it has the only connection; large ones on the loop from the page
    cache, or in a thread when they are not there.

What happens when it opens (`recovery.py`, `marks.py`)
    Rows come back as messages. A message that a dead worker of the same supervisor had in work gets one crash more,
    and after three it is held. A damaged row, or a body that is missing or of the wrong length, is held with the
    reason. Events that may not be in the log are handed over again. Nothing accepted is ever dropped by recovery.

What it trusts
    That the kernel and the device tell the truth about fdatasync and fsync; that renames and new names are durable
    after fsync of their directory; that SQLite's WAL with `synchronous=FULL` keeps what it commits. It does not trust
    a flush to succeed when it is tried again: after an error that is not "disk full" the shard is read-only, everybody
    who waits is told, and only a new process that reads the disk goes on. It does not trust a body to be unharmed
    either: length and digest are checked whenever one is read from disk, before its last piece is handed out.

Its limits
    A message that was told SpoolFailed may be found again at the next opening, so it may be delivered although its
    sender was asked to come again. A delivery that was made and not yet marked (up to 100 ms) is made again after a
    crash: at least once, never less. A file that outlives the removal of its row is removed at the next start of the
    supervisor. The database file keeps its largest size; space inside it is used again. The list of messages is the
    scheduler's: all envelopes are in memory, bodies are not. Power cuts are tested in `tests/live/powercut`.
"""

from gatepost.store.spool.bodies import BodyWriter
from gatepost.store.spool.files import Files
from gatepost.store.spool.readers import BodyReader
from gatepost.store.spool.records import (
    BodyDamaged,
    Change,
    MessageKind,
    Progress,
    RecipientState,
    SpoolFailed,
    SpoolFull,
    SpoolSettings,
    StoredMessage,
)
from gatepost.store.spool.shard import ShardDamaged, ShardStatistics, shards_on_disk
from gatepost.store.spool.spool import ExportPoint, Spool, SpoolStatistics

__all__ = [
    "BodyDamaged",
    "BodyReader",
    "BodyWriter",
    "Change",
    "ExportPoint",
    "Files",
    "MessageKind",
    "Progress",
    "RecipientState",
    "ShardDamaged",
    "ShardStatistics",
    "Spool",
    "SpoolFailed",
    "SpoolFull",
    "SpoolSettings",
    "SpoolStatistics",
    "StoredMessage",
    "shards_on_disk",
]
