"""What an outgoing session showed, step by step, up to the step that ended it; and the call that it was part of.

The delivery leaves it behind while it opens a connection; whoever explains a delivery reads it. Nothing here is a judgement but
`outcome`, which is that of `policy.tls_out.judge_tls`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.address import IPAddress
from gatepost.core.reply import Reply
from gatepost.core.tls import TlsOutcome, TlsPlan
from gatepost.net.tls import TlsSession
from gatepost.wire.client_events import HelloDone


@dataclass(slots=True)
class Trail:
    """One connection. A step that was not reached is None; `broken` says what ended the session, if not `outcome`."""

    plan: TlsPlan
    local: str = ""  # the address we called from; empty while no connection came up
    greeting: Reply | None = None
    hello: HelloDone | None = None
    starttls: Reply | None = None
    session: TlsSession | None = None
    outcome: TlsOutcome | None = None
    hello_inside: HelloDone | None = None
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One address, called as a delivery calls it. More than one trail where the host did not stand our certificate.

    `clear_allowed` False: a handshake broke on an earlier address. `failure` and `status` are what a message would be put off with, and
    empty where it would have passed. `skipped` says why the address was not called at all.
    """

    address: IPAddress
    port: int
    trails: tuple[Trail, ...] = ()
    clear_allowed: bool = True
    failure: str = ""
    status: str = ""
    skipped: str = ""

    @property
    def passes(self) -> bool:
        """A message would have gone over this connection."""
        return not self.failure and not self.skipped
