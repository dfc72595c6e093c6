"""What one attempt came to, for each recipient: values between `deliver` and `settle`.

The statuses and phrases are the appliance's (`5.1.0 - Unknown address error`), chosen by the stage that
failed; the peer's own code and words stand beside them in the log and in the report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gatepost.core.reply import Reply
from gatepost.core.tls import TlsWishes
from gatepost.store.spool import MessageKind, StoredMessage


@dataclass(slots=True, eq=False)
class Due:
    """The recipients of one message that are to be tried now at one destination."""

    message: StoredMessage
    domain: str
    rids: list[int]
    taken: bool = False  # a courier has it
    withdrawn: bool = False  # an administrator took it out of the ready queue

    @property
    def attempts(self) -> int:
        """How often these recipients were tried before."""
        return max(self.message.progress[rid].attempts for rid in self.rids)

    @property
    def wishes(self) -> TlsWishes:
        """What the message itself asks of TLS."""
        envelope = self.message.envelope
        notice = self.message.kind is MessageKind.NOTICE
        return TlsWishes(envelope.requiretls, envelope.tls_optional, notice)

    def fares_like(self, other: Due) -> bool:
        """What keeps one from its destination keeps the other: both ask the same of TLS."""
        notice = MessageKind.NOTICE
        if (self.message.kind is notice) is not (other.message.kind is notice):
            return False
        ours, theirs = self.message.envelope, other.message.envelope
        if ours.requiretls is not theirs.requiretls or ours.tls_optional is not theirs.tls_optional:
            return False
        return not ours.requiretls or ours.sender.null is theirs.sender.null


class Stage(Enum):
    """Where an attempt failed: the last two digits of the status, and its phrase."""

    ADDRESS = ("1.0", "Unknown address error")
    HOST = ("1.2", "Bad destination host")
    NULL_MX = ("1.10", "Recipient address has null MX")
    SYSTEM = ("3.0", "Other mail system problem")
    SIZE = ("3.4", "Message too big for system")
    NETWORK = ("4.0", "Other network problem")
    DIRECTORY = ("4.3", "Directory server failure")
    UNROUTABLE = ("4.4", "Unable to route")
    LOOP = ("4.6", "Routing loop detected")
    EXPIRED = ("4.7", "Delivery expired (message too old)")
    UTF8 = ("6.7", "Non-ASCII addresses not permitted for that sender/recipient")
    POLICY = ("7.1", "Delivery not authorized")
    TLS_UNSUPPORTED = ("7.4", "Security features not supported")
    TLS = ("7.5", "Cryptographic failure")
    TLS_NEEDED = ("7.10", "Encryption needed")  # RFC 8689 §4.2.1
    REQUIRETLS = ("7.30", "REQUIRETLS support required")  # RFC 8689 §4.2.1
    DELETED = ("3.0", "Bounced by administrator")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why recipients were not delivered in this attempt. `remote` is `host [address]:port` or empty.

    `broken` says that a TLS handshake broke: no certificate was refused, and no rule.
    """

    stage: Stage
    permanent: bool
    texts: tuple[str, ...]
    code: str = "000"
    enhanced: str = ""
    remote: str = ""
    broken: bool = False

    @property
    def status(self) -> str:
        """The status that the log shows."""
        return f"{'5' if self.permanent else '4'}.{self.stage.value[0]}"

    @property
    def problem(self) -> str:
        return self.stage.value[1]

    @property
    def report_status(self) -> str:
        """The status for a DSN: the peer's own when it gave one of the same class (RFC 3464 §2.3.4)."""
        if self.enhanced and self.enhanced[0] == self.status[0]:
            return self.enhanced
        return self.status

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def failure_from_reply(stage: Stage, reply: Reply, remote: str) -> Failure:
    """A failure that a peer's 4yz or 5yz reply tells."""
    texts = (f"{reply.enhanced} {reply.lines[0]}".strip(), *reply.lines[1:])
    return Failure(stage, reply.permanent, texts, str(reply.code), reply.enhanced, remote)


@dataclass(slots=True)
class Outcome:
    """One attempt's result. Every rid of the Due is either in `delivered` or a key of `failures`.

    `elsewhere` says that the session broke before the peer could own the message, so that another
    host may be tried at once. `dsn_passed_on` says that the peer took over RFC 3461's duties.
    """

    dcid: int
    delivered: list[int] = field(default_factory=list)
    response: Reply | None = None
    failures: dict[int, Failure] = field(default_factory=dict)
    tls: dict[str, Any] | None = None
    remote: str = ""
    elsewhere: bool = False
    dsn_passed_on: bool = False


@dataclass(slots=True)
class Decision:
    """What becomes of the recipients of one attempt. `again` maps a rid to the time of its next attempt.

    `warn` are those whose sender is told of the delay now, `retry_until` is when we would give up.
    """

    bounced: dict[int, Failure] = field(default_factory=dict)
    again: dict[int, float] = field(default_factory=dict)
    warn: list[int] = field(default_factory=list)
    retry_until: float = 0.0


def telling(known: Failure, other: Failure) -> Failure:
    """Of two hosts' failures the one to report: what TLS prevented comes before what the network did (R29).

    What may pass before what is final: while one host might still take the message, it waits.
    """
    if known.permanent is not other.permanent:
        return other if known.permanent else known
    return known if _RANK.get(known.stage, 0) > _RANK.get(other.stage, 0) else other


_RANK = {Stage.REQUIRETLS: 4, Stage.TLS_NEEDED: 3, Stage.TLS: 2, Stage.TLS_UNSUPPORTED: 1}
BY_TLS = frozenset(_RANK)
"""Where TLS, or the want of it, kept the message back."""


def failed(due: Due, failure: Failure, dcid: int = 0) -> Outcome:
    """The outcome in which all recipients failed for one reason."""
    return Outcome(dcid, failures=dict.fromkeys(due.rids, failure), remote=failure.remote)
