"""TLS of one incoming session: STARTTLS or from the first octet, with the listener's certificate; and who the client is by its own.

A handshake that fails is logged here, and ends the session: nothing may be said in clear between its records. What the policy asks of the
client's certificate is judged when the handshake is done and before every MAIL, as things are then.

Sources: RFC 3207 §4 and §4.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatepost.core.events import InboundTlsEstablished, InboundTlsFailed
from gatepost.core.reply import Refusal, Reply
from gatepost.net.errors import StreamError, TlsFailure
from gatepost.net.tls import ServerContext
from gatepost.relay.client_certificates import client_record, verify_client
from gatepost.relay.session_record import tell_certificates

if TYPE_CHECKING:
    from gatepost.relay.accept import Session

READY = Reply(220, "2.0.0", ("Ready to start TLS",))
NO_TLS_NOW = Reply(454, "4.7.0", ("TLS not available, please try again later",))


async def starttls(session: Session) -> None:
    """STARTTLS of a session. Raises TlsFailure when the handshake failed."""
    engine, stream = session.engine, session.stream
    assert engine is not None
    if session.rules.name not in session.runtime.server_contexts:
        engine.answer(NO_TLS_NOW)
        return
    engine.answer(READY)
    stream.write(engine.take_output())
    if stream.unread:
        engine.receive(await stream.read())  # octets behind STARTTLS: the engine refuses them
        return
    if await handshake(session):
        engine.tls_started()
    else:
        raise TlsFailure("handshake failed")


async def handshake(session: Session) -> bool:
    """TLS with the listener's certificate. A failure is logged here and ends the session (R20)."""
    services = session.services
    context = _context(session)
    session.stream.set_deadline(session.rules.timeouts.handshake)
    session.shaking_hands = True
    try:
        tls = await session.stream.start_tls(context)
        session.shaking_hands = False
    except StreamError as error:
        services.counters.tls_in_failed += 1
        services.journal.emit(InboundTlsFailed(services.clock.now(), session.icid, error.text))
        return False
    services.counters.tls_in += 1
    event = InboundTlsEstablished(services.clock.now(), session.icid, tls.protocol, tls.cipher, tls.group)
    event.hello = session.engine.hello_name if session.engine is not None else ""
    client_refusal(session)
    if session.client is not None:
        tell_certificates(services, tls.peer_chain)
        record = client_record(session.client, tls.peer_chain)
        event.verification, event.client = session.client.verification, record
    services.journal.emit(event)
    return True


def client_refusal(session: Session) -> Refusal | None:
    """The answer to MAIL from a client that the policy does not know by its certificate, as things are now."""
    policy = session.admission.policy if session.admission is not None else None
    if policy is None or policy.tls_rule.client is None or session.stream.tls is None:
        return None
    session.client = verify_client(session.services, session.runtime, policy.tls_rule, session.stream.tls)
    return session.client.refusal


def _context(session: Session) -> ServerContext:
    """The one that asks for a certificate where the policy wants to see one."""
    policy, runtime = session.admission.policy if session.admission is not None else None, session.runtime
    asks = policy is not None and policy.tls_rule.asks_certificate
    return (runtime.asking_contexts if asks else runtime.server_contexts)[session.rules.name]
