"""What one outgoing session showed, step by step, up to the step that ended it.

The delivery leaves it behind while it opens a connection; whoever explains a delivery reads it. Nothing here is a judgement but
`outcome`, which is that of `policy.tls_out.judge_tls`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
