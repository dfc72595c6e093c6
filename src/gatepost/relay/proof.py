"""The gateway's own questions to its listeners: which certificate is on the wire?

After an activation the desk connects to every listener and looks at what is shown (`certs.proof`). It comes from an
address of this machine, for which the access table may say anything (TCPREFUSE, TLS off), and it is no sender. So the
desk announces the address and port of each of its sockets beforehand, and the worker that accepts one serves it here
instead of in a session (decision 0028): EHLO, STARTTLS and QUIT with the listener's own context, and nothing else. A
mail command is told 421, so even a stranger who had the port in the same seconds loses nothing and gains nothing.

Such a connection takes no place under the limits, no ICID and no line of a session; it leaves one line at Debug.

An announcement counts once, for `EXPECTED_SECONDS`, and only for a connection from the very address that it came to:
nobody else's machine can be meant by it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from gatepost.core.certificate_events import ListenerProbed
from gatepost.core.errors import OperatorError
from gatepost.core.reply import Reply
from gatepost.net.errors import StreamError
from gatepost.net.served import Accepts, Clients, Served, shown_by
from gatepost.net.socket_address import SocketAddress, socket_address
from gatepost.net.stream import Stream
from gatepost.net.tls import ServerContext
from gatepost.policy.admit import ListenerRules
from gatepost.relay.services import Runtime, Services
from gatepost.wire.server_commands import ServerSettings
from gatepost.wire.server_events import Hello, Mail, StartTls
from gatepost.wire.server_replies import greeting
from gatepost.wire.smtp_server import ServerEngine

EXPECTED_SECONDS = 10.0
SERVED_SECONDS = 10.0
MOST_EXPECTED = 256
NO_MAIL = Reply(421, "4.3.2", ("This connection takes no mail, please try again later",))


class ProofRequests:
    """What the desk may ask of this worker for a proof, and the connections that it has announced."""

    def __init__(self, runtime: Callable[[], Runtime], now: Callable[[], float]) -> None:
        self._runtime = runtime
        self._now = now
        self._until: dict[SocketAddress, float] = {}
        self._clients: Clients | None = None

    def __bool__(self) -> bool:
        """True when a connection may have been announced."""
        return bool(self._until)

    async def answer(self, kind: str, args: Mapping[str, Any]) -> Any:
        """Answer `proof.expect` or `proof.contexts`. Raises OperatorError."""
        match kind:
            case "expect":
                self.expect(_places(args))
                return None
            case "contexts":
                runtime = self._runtime()
                self._clients = self._clients or Clients()
                shown = await _contexts_shown(runtime, self._clients, args.get("questions", ()))
                return {"version": runtime.version, "shown": shown}
        raise OperatorError(f"a worker does not know proof.{kind}")

    def expect(self, places: Iterable[SocketAddress]) -> None:
        """Take connections from these addresses and ports, once each. The oldest give way where there are too many."""
        now = self._now()
        self._until = {place: until for place, until in self._until.items() if until > now}
        for place in places:
            self._until[place] = now + EXPECTED_SECONDS
        while len(self._until) > MOST_EXPECTED:
            del self._until[next(iter(self._until))]

    def take(self, sock: socket.socket, peer: SocketAddress) -> bool:
        """True when this accepted connection was announced; it is not expected any more then."""
        until = self._until.pop(peer, 0.0)
        return until > self._now() and socket_address(sock.getsockname()).host == peer.host


def _places(args: Mapping[str, Any]) -> list[SocketAddress]:
    """The places of an announcement. Raises OperatorError for what is none."""
    try:
        return [SocketAddress(str(ipaddress.ip_address(host)), int(port)) for host, port in args["places"]]
    except (KeyError, TypeError, ValueError):
        raise OperatorError("an announcement lists addresses and ports") from None


# --- over the wire -----------------------------------------------------------------------------------


async def serve_proof(services: Services, listener: str, sock: socket.socket, peer: SocketAddress) -> None:
    """Show the listener's certificate on an announced connection."""
    stream = Stream(services.reactor, sock, peer)
    rules = services.runtime.rules.listeners.get(listener)
    context = services.runtime.server_contexts.get(listener)
    if rules is None or context is None:
        stream.abort()
        return
    error = ""
    stream.set_deadline(SERVED_SECONDS)
    try:
        last_words = await _converse(stream, rules, context)
        await stream.close(last_words)
    except StreamError as failure:
        error = failure.text
    finally:
        services.journal.emit(_line(services.clock.now(), listener, stream, error))
        stream.abort()


def _line(at: float, listener: str, stream: Stream, error: str) -> ListenerProbed:
    """How it ended; what comes behind an established session is of no interest."""
    session = stream.tls
    if session is None:
        return ListenerProbed(at, listener, stream.peer.host, "", "", error or "closed before TLS")
    return ListenerProbed(at, listener, stream.peer.host, session.sni, session.protocol)


async def _converse(stream: Stream, rules: ListenerRules, context: ServerContext) -> bytes:
    """The part of SMTP that leads to TLS; returns what is to be said last. Raises StreamError."""
    if rules.implicit_tls:
        await stream.start_tls(context)
    settings = ServerSettings(rules.hostname, 1, require_tls=True)
    engine = ServerEngine(settings, tls_active=stream.tls is not None)
    engine.starttls_offered = True
    engine.greet(greeting(rules.hostname, "proof"))
    while True:
        while (event := engine.next_event()) is not None:
            if isinstance(event, Hello):
                engine.answer(Reply(250, "", (rules.hostname,)))
            elif isinstance(event, Mail):
                engine.answer(NO_MAIL)
            elif isinstance(event, StartTls):
                engine.answer(Reply(220, "2.0.0", ("Ready to start TLS",)))
                stream.write(engine.take_output())
                if not stream.unread:
                    await stream.start_tls(context)
                    engine.tls_started()
        output = engine.take_output()
        if engine.closed:
            return output
        stream.write(output)
        data = await stream.read()
        if not data:
            return b""
        engine.receive(data)


# --- in memory ---------------------------------------------------------------------------------------


async def _contexts_shown(
    runtime: Runtime, clients: Clients, questions: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What this worker's contexts show to their next clients; other sessions get their turn in between."""
    answers = []
    for question in questions:
        context = runtime.server_contexts.get(str(question["listener"]))
        if context is None:
            answers.append(_answer(Served(error="the worker has no certificate for the listener")))
        else:
            accepts = Accepts(question["accepts"])
            answers.append(_answer(shown_by(context, clients, str(question["sni"]), accepts)))
        await asyncio.sleep(0)
    return answers


def _answer(served: Served) -> dict[str, Any]:
    return {
        "chain": [sha256(der).hexdigest() for der in served.chain],
        "protocol": served.protocol,
        "error": served.error,
    }
