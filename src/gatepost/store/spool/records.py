"""The values of the spool, and their packed form in its rows.

A message is stored in two rows. The first holds what never changes (envelope, size, digest, a small body) and
is written once; the second holds what delivery changes (progress of each recipient, hold, crashes) and exists only
when something differs from a fresh message, so that a deferral does not write the body again.

Packed form: a JSON array, because it is compact, quick and readable with any SQLite tool. JSON holds no
undecodable bytes of a peer (lone surrogates, PEP 383); an array with such text is written with every string
re-coded through Latin-1 and marked by its first byte, and comes back exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Notify, Recipient, Ret

if TYPE_CHECKING:
    from gatepost.store.spool.bodies import BodyWriter

MIB = 1 << 20


class SpoolFull(Exception):
    """There is no room for this change; nothing of it was kept and the spool goes on. The session answers 452."""


class SpoolFailed(Exception):
    """The shard could not keep its promise and is read-only from now on. The session answers 451."""


class BodyDamaged(Exception):
    """A stored body is missing, has another length, or fails its digest. The message is to be held, never sent."""


class RecordDamaged(ValueError):
    """A row of the spool cannot be read back."""


class MessageKind(IntEnum):
    """Whose a message is. Only what the gateway itself makes is anything but ordinary."""

    ORDINARY = 0
    OWN = 1  # an alert
    NOTICE = 2  # says without content that an alert could not be delivered over TLS; it goes in clear
    REPORT = 3  # a daily TLS report to a domain of others

    @property
    def urgent(self) -> bool:
        """It stands before other mail, and passes the limits of the queue."""
        return self is MessageKind.OWN or self is MessageKind.NOTICE


class RecipientState(StrEnum):
    """What became of one recipient; only WAITING is tried again."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DELETED = "deleted"


@dataclass(slots=True)
class Progress:
    """One recipient's way: its state, its attempts, and the last failure in the words of the peer.

    `next_attempt` is in seconds since the epoch, 0 meaning at once; `warned` says that a delay report was sent;
    `status` is the enhanced code, `code` the reply code (`000` when there was no reply), `remote` is `host[address]`.
    `broken` counts the attempts that ended with a broken TLS handshake.
    """

    state: RecipientState = RecipientState.WAITING
    attempts: int = 0
    next_attempt: float = 0.0
    warned: bool = False
    status: str = ""
    code: str = ""
    text: str = ""
    remote: str = ""
    broken: int = 0


@dataclass(slots=True)
class StoredMessage:
    """A message as the spool keeps it. `progress` has one entry for each recipient of the envelope, in order.

    `size`, `in_file`, `sha256` and `shard` are the spool's to fill in when the message is submitted; `sha256` is known at
    the latest when the change's future resolves. `about` is the MID that this report is about, else 0.
    `held` is the reason why the message is not tried, or empty.
    """

    mid: int
    received: float
    envelope: Envelope
    size: int = 0
    dotted: bool = False  # some line starts with a dot, so the body needs stuffing when it is sent
    eight_bit: bool = False
    in_file: bool = False
    sha256: bytes = b""
    listener: str = ""
    icid: int = 0
    about: int = 0
    progress: list[Progress] = field(default_factory=list)
    held: str = ""
    crashes: int = 0
    shard: int = -1
    kind: MessageKind = MessageKind.ORDINARY


@dataclass(slots=True)
class Change:
    """One unit of change: all of it happens, or nothing.

    `insert` comes with `body`. `update` rewrites progress, hold and crashes of that message. `remove` is a MID.
    `events` is the change's part of the log (`core.codec.encode_events`). An `urgent` change is committed as
    soon as possible; any other rides the next commit, at most 100 ms later. Everything is read when the change is
    submitted: what the caller does with the message afterwards is not seen.
    """

    insert: StoredMessage | None = None
    body: BodyWriter | None = None
    update: StoredMessage | None = None
    remove: int = 0
    events: bytes = b""
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Limits and times of the spool. The defaults are what was measured (architecture 5, `reference/bench.md`).

    Sizes are in octets, times in seconds. `vfs` names an SQLite file layer, for tests that make it fail.
    """

    small_body: int = 64 << 10  # up to here a body is kept in its row
    gather: float = 0.004  # the longest that a change waits for others while the loop is busy
    lazy_delay: float = 0.1
    batch_changes: int = 256
    batch_bytes: int = 4 * MIB
    body_waiting: int = 512 << 10  # of one session, handed over and not yet written
    fresh_bytes: int = 64 * MIB
    wal_passive: int = 16 * MIB
    wal_truncate: int = 64 * MIB
    wal_limit: int = 256 * MIB
    reserve_share: float = 0.05
    reserve_bytes: int = 256 * MIB  # the smaller of the two is kept free
    sample_interval: float = 1.0
    idle: float = 1.0
    full_pause: float = 1.0  # between tries of delivery marks on a full disk
    lock_wait: float = 10.0
    crash_limit: int = 3
    work_slots: int = 16384
    check_limit: int = 64 * MIB  # a larger database is not checked page by page at opening
    vfs: str = ""


PLAIN, RECODED = b"[", b"L"

_NOTIFY_BITS = ((Notify.NEVER, 1), (Notify.SUCCESS, 2), (Notify.FAILURE, 4), (Notify.DELAY, 8))
_RET = {Ret.UNSET: 0, Ret.FULL: 1, Ret.HEADERS: 2}
_RET_BACK = (Ret.UNSET, Ret.FULL, Ret.HEADERS)
_STATES = {state: number for number, state in enumerate(RecipientState)}
_STATES_BACK = tuple(RecipientState)


def pack_message(message: StoredMessage) -> bytes:
    """What never changes of a message, without size, digest and body, which have columns of their own."""
    envelope = message.envelope
    flags = (
        message.dotted
        | message.eight_bit << 1
        | envelope.body_8bit << 2
        | envelope.smtputf8 << 3
        | _RET[envelope.ret] << 4
        | envelope.requiretls << 6
        | envelope.tls_optional << 7
        | message.kind << 8
    )
    return _dump(
        [
            message.received,
            flags,
            message.listener,
            message.icid,
            message.about,
            envelope.envelope_id,
            _pack_address(envelope.sender),
            [_pack_recipient(recipient) for recipient in envelope.recipients],
        ]
    )


def unpack_message(mid: int, packed: bytes) -> StoredMessage:
    """The message of a row, with fresh progress. Raises RecordDamaged."""
    try:
        received, flags, listener, icid, about, envelope_id, sender, recipients = _load(packed)
        envelope = Envelope(
            sender=_unpack_address(sender),
            recipients=tuple(_unpack_recipient(recipient) for recipient in recipients),
            body_8bit=bool(flags & 4),
            smtputf8=bool(flags & 8),
            ret=_RET_BACK[flags >> 4 & 3],
            envelope_id=envelope_id,
            requiretls=bool(flags & 64),
            tls_optional=bool(flags & 128),
        )
        kind = MessageKind(flags >> 8 & 3)
    except (ValueError, TypeError, IndexError) as error:
        raise RecordDamaged(f"the row of message {mid} cannot be read: {error}") from error
    return StoredMessage(
        mid=mid,
        received=received,
        envelope=envelope,
        dotted=bool(flags & 1),
        eight_bit=bool(flags & 2),
        listener=listener,
        icid=icid,
        about=about,
        progress=[Progress() for _ in envelope.recipients],
        kind=kind,
    )


def pack_state(message: StoredMessage) -> bytes:
    """What delivery changes: hold, crashes, progress. A fresh recipient is packed as 0."""
    progress = [
        0
        if _fresh(p)
        else [
            _STATES[p.state],
            p.attempts,
            p.next_attempt,
            1 if p.warned else 0,
            p.status,
            p.code,
            p.text,
            p.remote,
            p.broken,
        ]
        for p in message.progress
    ]
    return _dump([message.held, message.crashes, progress])


def unpack_state(message: StoredMessage, packed: bytes) -> None:
    """Put the state row's content into the message. Raises RecordDamaged."""
    try:
        held, crashes, rows = _load(packed)
        progress = [
            Progress() if not row else Progress(_STATES_BACK[row[0]], row[1], row[2], bool(row[3]), *row[4:9])
            for row in rows
        ]
    except (ValueError, TypeError, IndexError) as error:
        raise RecordDamaged(f"the state of message {message.mid} cannot be read: {error}") from error
    if len(progress) != len(message.progress):
        raise RecordDamaged(f"the state of message {message.mid} does not fit its recipients")
    message.held, message.crashes, message.progress = held, crashes, progress


def needs_state(message: StoredMessage) -> bool:
    """True when the message differs from a fresh one, so that its state row must be written."""
    return bool(message.held or message.crashes) or not all(map(_fresh, message.progress))


def _fresh(p: Progress) -> bool:
    return p.state is RecipientState.WAITING and not (
        p.attempts or p.next_attempt or p.warned or p.status or p.code or p.text or p.remote or p.broken
    )


def _pack_address(address: Address) -> str | list[str]:
    text, domain = address.text, address.domain
    if "@" not in domain and text == f"{address.local}@{domain}":
        return text
    return [text, address.local, domain]


def _unpack_address(packed: str | list[str]) -> Address:
    if isinstance(packed, str):
        local, _, domain = packed.rpartition("@")
        return Address(packed, local, domain)
    text, local, domain = packed
    return Address(text, local, domain)


def _pack_recipient(recipient: Recipient) -> Any:
    address = _pack_address(recipient.address)
    if not recipient.notify and not recipient.original:
        return [address]
    bits = sum(bit for value, bit in _NOTIFY_BITS if value in recipient.notify)
    return [address, bits, recipient.original]


def _unpack_recipient(packed: list[Any]) -> Recipient:
    address = _unpack_address(packed[0])
    if len(packed) == 1:
        return Recipient(address)
    notify = frozenset(value for value, bit in _NOTIFY_BITS if packed[1] & bit)
    return Recipient(address, notify, packed[2])


def _dump(values: list[Any]) -> bytes:
    try:
        return orjson.dumps(values)
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return RECODED + orjson.dumps(_map_text(values, _recode))


def _load(packed: bytes) -> list[Any]:
    if packed[:1] == PLAIN:
        values = orjson.loads(packed)
    elif packed[:1] == RECODED:
        values = _map_text(orjson.loads(packed[1:]), _decode)
    else:
        raise ValueError("unknown form")
    if not isinstance(values, list):
        raise ValueError("not an array")
    return values


def _map_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_text(item, change) for item in value]
    return value


def _recode(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _decode(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogatepass")
