"""One outgoing SMTP dialogue: the engine's next event from the stream, and what is said of a connection that broke.

Shared by who opens connections (`connect`) and who sends messages on them (`deliver`).
"""

from __future__ import annotations

from dataclasses import replace

from gatepost.core.delivery_events import DeliveryFailed
from gatepost.core.reply import Reply
from gatepost.net.errors import StreamError, StreamTimeout
from gatepost.net.stream import Stream
from gatepost.policy.hop import Hop
from gatepost.relay.outcome import Failure, Stage, failure_from_reply
from gatepost.relay.services import Services
from gatepost.wire.client_events import ClientEvent, ClosedByPeer421, ProtocolFault
from gatepost.wire.smtp_client import ClientEngine


class ConnectionBroken(Exception):
    """The session cannot go on: the network ended it, or the peer broke the protocol or said 421.

    `reply` is the peer's last word where there was one; `text` is for the log. `silent` says that the peer did not answer in time,
    `injected` that there were bytes behind the 220 of STARTTLS.
    """

    def __init__(
        self, text: str, reply: Reply | None = None, *, silent: bool = False, injected: bool = False
    ) -> None:
        super().__init__(text)
        self.text = text
        self.reply = reply
        self.silent = silent
        self.injected = injected

    def failure(self, remote: str) -> Failure:
        """Never final: even a 5yz speaks here for the host and not for the message (RFC 5321 §4.2.1)."""
        if self.reply is not None:
            return replace(failure_from_reply(Stage.SYSTEM, self.reply, remote), permanent=False)
        return Failure(Stage.NETWORK, False, (self.text,), remote=remote)


async def expect(stream: Stream, engine: ClientEngine, seconds: float | None = None) -> ClientEvent:
    """The engine's next event, reading as needed. Raises ConnectionBroken.

    What the engine says in between (HELO behind a refused EHLO, the next RCPTs to a peer without PIPELINING) is
    sent, and gives the peer `seconds` anew.
    """
    while True:
        event = engine.next_event()
        if output := engine.take_output():
            stream.write(output)
            if seconds is not None:
                stream.set_deadline(seconds)
        if event is not None:
            break
        try:
            data = await stream.read()
        except StreamError as error:
            raise ConnectionBroken(str(error), silent=isinstance(error, StreamTimeout)) from None
        if not data:
            raise ConnectionBroken("the remote host closed the connection")
        engine.receive(data)
    if isinstance(event, ProtocolFault):
        raise ConnectionBroken(event.reason, injected=event.injected)
    if isinstance(event, ClosedByPeer421):
        raise ConnectionBroken(f"421 {event.reply.text}", event.reply)
    return event


def report_broken(
    services: Services, domain: str, hop: Hop, dcid: int, local: str, broken: ConnectionBroken
) -> None:
    """The `Connection Error` line of a connection that the network or a reply ended."""
    reply = broken.reply
    details = f"{reply.code}-'{reply.text}'" if reply is not None else broken.text
    services.journal.emit(
        DeliveryFailed(
            services.clock.now(),
            dcid,
            domain,
            str(hop.address),
            hop.port,
            details,
            local,
            "network error" if reply is None else "unexpected SMTP response",
        )
    )
