"""Sends one message to the gateway, as a client somewhere outside would: STARTTLS, then the message.

Built from the product's own client engine and stream. Whatever goes wrong is one sentence: `NotSent`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from gatepost.core.address import Address, IPAddress, normalise_domain
from gatepost.core.envelope import Recipient
from gatepost.net.dialer import dial
from gatepost.net.errors import StreamError
from gatepost.net.reactor import Reactor
from gatepost.net.stream import Stream
from gatepost.net.tls import ClientContext, TlsSession
from gatepost.relay.dialogue import ConnectionBroken, expect
from gatepost.wire.client_events import (
    BodyAnswered,
    ClientEvent,
    EnvelopeAnswered,
    Greeting,
    HelloDone,
    StartTlsAnswered,
    Transaction,
)
from gatepost.wire.smtp_client import ClientEngine

NAME = "visitor.example"  # what we say in EHLO (RFC 2606)
SENDER = f"ann@{NAME}"
SECONDS = 30.0

_QUEUED = re.compile(r"queued as ([0-9]+)")


class NotSent(Exception):
    """The gateway did not take the message; the text says why."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the gateway answered, the MID it gave, and what TLS was like."""

    answer: str
    mid: int
    tls: TlsSession


def message_id(at: float) -> str:
    """The Message-ID of the message that was made at that moment."""
    return f"<{at:.6f}@{NAME}>"


def content(sender: str, recipient: str, at: float) -> bytes:
    """The message: a header and a few lines."""
    date = format_datetime(datetime.fromtimestamp(at, UTC))
    lines = (
        f"Date: {date}",
        f"From: Ann <{sender}>",
        f"To: <{recipient}>",
        "Subject: One message through Gatepost",
        f"Message-ID: {message_id(at)}",
        "",
        "This message came in over TLS, was on disk before it was",
        "acknowledged, and went out over TLS.",
        "",
    )
    return "\r\n".join(lines).encode("ascii", "replace")


async def send(reactor: Reactor, address: IPAddress, port: int, recipient: str, message: bytes) -> Sent:
    """Send `message` to the gateway at this place, over TLS. Raises NotSent."""
    try:
        stream = await dial(reactor, address, port, timeout=SECONDS)
    except StreamError as error:
        raise NotSent(f"no connection to {address} port {port}: {error}") from None
    try:
        stream.set_deadline(SECONDS)
        return await _converse(stream, recipient, message)
    except (ConnectionBroken, StreamError) as error:
        raise NotSent(str(error)) from None
    finally:
        await stream.close()


async def _converse(stream: Stream, recipient: str, message: bytes) -> Sent:
    engine = ClientEngine(NAME)
    _require(await expect(stream, engine), Greeting, 220)
    engine.hello()
    await _say(stream, engine, HelloDone)
    if engine.capabilities is None or not engine.capabilities.starttls:
        raise NotSent("it does not offer STARTTLS")
    engine.starttls()
    await _say(stream, engine, StartTlsAnswered)
    tls = await stream.start_tls(ClientContext.build())
    engine.tls_started()
    engine.hello()
    await _say(stream, engine, HelloDone)
    engine.begin(Transaction(_address(SENDER), (Recipient(_address(recipient)),), size=len(message)))
    stream.write(engine.take_output())
    envelope = await expect(stream, engine)
    if not isinstance(envelope, EnvelopeAnswered) or not envelope.go_ahead:
        raise NotSent(_why(envelope))
    stream.write(engine.body(message, stuff=True, last=True))
    answered = await expect(stream, engine)
    if not isinstance(answered, BodyAnswered) or answered.reply.code != 250:
        raise NotSent(_why(answered))
    engine.quit()
    stream.write(engine.take_output())
    await expect(stream, engine)
    found = _QUEUED.search(answered.reply.text)
    return Sent(f"{answered.reply.code} {answered.reply.text}", int(found[1]) if found else 0, tls)


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, normalise_domain(domain))


async def _say(stream: Stream, engine: ClientEngine, kind: type[ClientEvent]) -> None:
    """Send what the engine has to say, and require the answer that goes on."""
    stream.write(engine.take_output())
    _require(await expect(stream, engine), kind, 220 if kind is StartTlsAnswered else 250)


def _require(event: ClientEvent, kind: type[ClientEvent], code: int) -> None:
    reply = getattr(event, "reply", None)
    if not isinstance(event, kind) or reply is None or reply.code != code:
        raise NotSent(_why(event))


def _why(event: ClientEvent) -> str:
    """The peer's last word."""
    if isinstance(event, EnvelopeAnswered):
        refused = [reply for reply in (event.mail, *event.recipients, event.data) if reply is not None]
        reply = next((reply for reply in refused if reply.code >= 400), refused[-1])
    else:
        found = getattr(event, "reply", None)
        if found is None:
            return f"unexpected {type(event).__name__}"
        reply = found
    return f"it answered {reply.code} {reply.text}"
