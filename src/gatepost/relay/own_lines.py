"""What we write ourselves about a message that came in: its `Received` line, and what the log says of its wishes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gatepost.core.envelope import Envelope, Recipient
from gatepost.core.events import Noted
from gatepost.net.dns_answer import HostName
from gatepost.wire.received import received_header

if TYPE_CHECKING:
    from gatepost.relay.accept import Session


def received_line(session: Session, mid: int, recipients: Sequence[Recipient], *, smtputf8: bool) -> bytes:
    """The line that goes in front of the message."""
    engine, host, tls = session.engine, session.host, session.stream.tls
    assert engine is not None
    return received_header(
        helo=engine.hello_name,
        host=host.name if isinstance(host, HostName) else "",
        verified=isinstance(host, HostName),
        address=session.stream.peer.host,
        by=session.rules.hostname,
        mid=mid,
        tls=(tls.protocol, tls.cipher) if tls is not None else None,
        client=session.client.name if session.client is not None else "",
        extended=engine.extended,
        smtputf8=smtputf8,
        authenticated=bool(session.admission is not None and session.admission.user),
        recipient=recipients[0].address if len(recipients) == 1 else None,
        at=session.services.clock.now(),
    )


def wishes_told(at: float, mid: int, envelope: Envelope) -> Iterator[Noted]:
    """A line for the few messages that ask something of TLS themselves (RFC 8689)."""
    if envelope.requiretls:
        yield Noted(at, f"MID {mid} requires TLS on its whole way (REQUIRETLS)", {"mid": mid})
    if envelope.tls_optional:
        yield Noted(
            at, f"MID {mid} waives what its recipients publish about TLS (TLS-Required: No)", {"mid": mid}
        )
