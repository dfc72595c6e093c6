"""The show itself: prepare, start, send one message, tell what became of it, stay up until Ctrl-C.

What runs: the gateway in its own processes (`gateway`), the sink and the visitor in this one. Ctrl-C, SIGTERM and
a closed terminal end the show in order: the gateway first, which still delivers what it has in hand, then the sink.
After that only the home folder is left. A second Ctrl-C cuts the gateway's stop time.

Failing to deliver the message is told, and the gateway stays up to be looked at; the exit code is 1 then.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import signal
import sys
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from gatepost.app.show import visitor
from gatepost.app.show.gateway import GatewayProcess
from gatepost.app.show.places import SINK_ADDRESS, Door, Ports, front_door
from gatepost.app.show.screen import Screen, chopped
from gatepost.app.show.sink import Received, Sink
from gatepost.app.show.stage import Stage, is_free, prepare
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.reactor import Reactor
from gatepost.net.tls import TlsSession
from gatepost.store.home import Home
from gatepost.track.find import Criteria, find
from gatepost.track.log_text import safe

SINK_NAME = "sink.example"
ARRIVAL_SECONDS = 30.0
LOG_SECONDS = 5.0
LOOK_AGAIN = 0.1  # the log is a file that others write; nothing tells when a line comes
HEADER_FIELDS = 6


class Demo:
    """One run on the home at `root`."""

    def __init__(self, root: Path, environ: MutableMapping[str, str], screen: Screen) -> None:
        self._root = root
        self._environ = environ
        self._screen = screen
        self._gateway = GatewayProcess(root.absolute())
        self._arrived: asyncio.Queue[Received] = asyncio.Queue()
        self._telling = False  # the sink's messages are told as they come
        self._stopping = False
        self._passphrase = ""
        self._code = Exit.DONE

    async def run(self) -> int:
        """The whole show; returns the exit code. Raises OperatorError when it cannot begin, or the gateway ends."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            play = group.create_task(self._play(), name="show")

            def stop() -> None:
                if self._stopping:
                    self._gateway.hurry()
                else:
                    self._stopping = True
                    play.cancel()

            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, stop)
            await asyncio.wait({play})
            refused = None if play.cancelled() else play.result()
        if refused is not None:
            raise refused
        self._screen.say(f"Stopped. The folder {self._root} stays; remove it to begin anew.")
        return int(self._code)

    async def _play(self) -> OperatorError | None:
        """Everything between the first line and the end; returns why it ended, if nobody asked for it."""
        self._screen.say("Gatepost, with one message sent through it. Ctrl-C ends it.")
        self._screen.say()
        try:
            stage = await prepare(Home(self._root.absolute()), self._environ, Ports(is_free))
        except OperatorError as error:
            return error
        self._passphrase = stage.passphrase
        reactor = Reactor(asyncio.get_running_loop())
        async with asyncio.TaskGroup() as group:
            sink = Sink(
                reactor, group, stage.sink, SINK_NAME, on_message=self._take, on_problem=self._screen.say
            )
            try:
                return await self._run_gateway(stage, sink, reactor)
            except OperatorError as error:
                return error
            finally:
                try:
                    self._tell_end()
                finally:
                    await self._gateway.stop()
                    sink.close()
                    reactor.close()

    async def _run_gateway(self, stage: Stage, sink: Sink, reactor: Reactor) -> OperatorError:
        screen = self._screen
        self._tell_home(stage)
        await self._gateway.start()
        for line in self._gateway.said:
            screen.say(line)
        self._tell_addresses(stage, sink)
        door = front_door(stage.document)
        if door is None:
            screen.say("This configuration has no public listener with STARTTLS, so no message is sent.")
        else:
            await self._send(stage, door, reactor)
        screen.say()
        self._tell_credentials(stage)
        self._tell_commands(stage, door)
        self._telling = True
        return await self._gateway.ended(screen.say)

    # --- the message -----------------------------------------------------------------------------

    async def _send(self, stage: Stage, door: Door, reactor: Reactor) -> None:
        screen, address = self._screen, ipaddress.ip_address(door.address)
        screen.say()
        screen.say(f"One message, from {visitor.SENDER} to {door.recipient}")
        now = time.time()
        message = visitor.content(visitor.SENDER, door.recipient, now)
        try:
            sent = await visitor.send(reactor, address, door.port, door.recipient, message)
        except visitor.NotSent as error:
            self._code = Exit.REFUSED
            screen.say(f"The gateway did not take it: {safe(str(error))}")
            return
        screen.row("sent", f"to {door.listener} over {_tls(sent.tls)}")
        screen.row("answered", safe(sent.answer))
        received = await self._arrival(visitor.message_id(now))
        await self._tell_log(stage, sent.mid, whole=received is not None)
        screen.say()
        if received is None:
            self._code = Exit.REFUSED
            screen.say(f"The message has not reached the sink within {ARRIVAL_SECONDS:g} s.")
        else:
            self._tell_received(received)

    def _take(self, received: Received) -> None:
        """The sink has a message: at first one is awaited, later they are told as they come."""
        if self._telling:
            self._tell_arrival(received)
        else:
            self._arrived.put_nowait(received)

    async def _arrival(self, message_id: str) -> Received | None:
        """The awaited message. One that was queued in an earlier run may come before it, and is told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVAL_SECONDS):
                while (received := await self._arrived.get()).field("Message-ID") != message_id:
                    self._tell_arrival(received)
                return received
        return None

    # --- what is told ----------------------------------------------------------------------------

    def _tell_home(self, stage: Stage) -> None:
        state = "new, with keys of its own and a demo certificate" if stage.new else "used before"
        self._screen.row("Home", f"{self._root} ({state}); configuration version {stage.version}")
        for name, wanted, found in stage.moved:
            self._screen.row("Port", f"{wanted} is taken: {name} uses {found}")

    def _tell_addresses(self, stage: Stage, sink: Sink) -> None:
        addresses = {entry["name"]: entry["address"] for entry in stage.document["interfaces"]}
        name = "Gateway"
        for listener in stage.document["listeners"]:
            place = f"{addresses[listener['interface']]} port {listener['port']}"
            kind = "mail from outside" if listener.get("type", "public") == "public" else "mail to relay"
            self._screen.row(name, f"{place}, {listener['name']}: {kind}")
            name = ""
        self._screen.row("Sink", f"{SINK_ADDRESS} port {sink.port}, the protected mail server's place")

    async def _tell_log(self, stage: Stage, mid: int, *, whole: bool) -> None:
        """The log's lines of the message, from its connection to its delivery."""
        self._screen.say()
        self._screen.say("The mail log of this message (times are UTC)")
        finished = f"Message finished MID {mid} done"
        deadline = time.monotonic() + LOG_SECONDS
        while True:
            found = list(find([stage.home.mail_log], Criteria(mid=mid)))
            texts = [line.text for line in found]
            both = finished in texts and any(re.fullmatch(r"ICID [0-9]+ close", text) for text in texts)
            if both or not whole or time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_AGAIN)
        for line in found:
            clock = time.strftime("%H:%M:%S", time.gmtime(line.at))
            level = "" if line.level == "Info" else f"{line.level}: "
            self._screen.lines(chopped(level + line.text, first=f"{clock}  ", rest=" " * 10))

    def _tell_arrival(self, received: Received) -> None:
        what = f"message {received.number} from <{received.sender}>, {received.size} bytes,"
        self._screen.row("Sink", safe(f"{what} over {_tls(received.tls)}"))
        self._screen.row("", safe(f"Subject: {received.field('Subject')}"))

    def _tell_received(self, received: Received) -> None:
        screen = self._screen
        screen.say(f"What the sink received: message {received.number}, {received.size} bytes")
        screen.row("over", _tls(received.tls))
        screen.row("from", safe(f"<{received.sender}>, brought by {received.hello}"))
        screen.row("to", safe(", ".join(f"<{recipient}>" for recipient in received.recipients)))
        fields = 0
        for line in received.header:
            fields += not line[:1].isspace()
            if fields > HEADER_FIELDS:
                break
            text = safe(line.expandtabs(4))
            lead = " " * (len(text) - len(text.lstrip()))
            screen.lines(chopped(text.lstrip(), first="  " + lead, rest=" " * 6))

    def _tell_credentials(self, stage: Stage) -> None:
        if self._passphrase:
            self._tell_passphrase()
        elif stage.home.first_passphrase.exists():
            text = "user admin; the pass-phrase is shown by the first start in a terminal, not in a journal"
            self._screen.row("Sign in", text)
        else:
            text = "user admin; the pass-phrase was shown once, at the first start of this home"
            self._screen.row("Sign in", text)

    def _tell_passphrase(self) -> None:
        """Once, and on every way out: nobody can tell it a second time."""
        if self._passphrase:
            self._screen.row("Sign in", "user        admin")
            self._screen.row("", f"pass-phrase {self._passphrase}")
            text = "It is shown this once. The web interface, the API and the SSH shell will ask for it;"
            self._screen.row("", f"{text} none of them exists yet.")
            self._passphrase = ""

    def _tell_end(self) -> None:
        self._screen.say()
        self._tell_passphrase()
        self._screen.say("Stopping the gateway, then the sink.")

    def _tell_commands(self, stage: Stage, door: Door | None) -> None:
        screen = self._screen
        screen.say()
        screen.say("Look around, from another terminal in this folder:")
        command = _command()
        screen.lines([f"  export GATEPOST_HOME={self._root}"])
        for arguments in ("status", "log follow", "queue list", "config show", "cert list"):
            screen.lines([f"  {command} {arguments}"])
        if door is not None:
            screen.lines([f"  openssl s_client -starttls smtp -connect {door.address}:{door.port}"])
        screen.say()
        screen.say("All mail that this gateway takes goes to the sink, which tells of it here.")
        screen.say("Up until Ctrl-C.")


def _tls(session: TlsSession | None) -> str:
    return "a connection in clear" if session is None else f"{session.protocol}, {session.cipher}"


def _command() -> str:
    """How `gatepost` is called from this folder."""
    installed = Path(sys.executable).parent / "gatepost"
    if not installed.exists():
        return "gatepost"
    relative = os.path.relpath(installed)
    return str(installed) if relative.startswith("..") else relative
