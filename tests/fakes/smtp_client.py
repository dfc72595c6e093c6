"""A client that talks lines to a listener, command by command, also under TLS."""

from __future__ import annotations

import asyncio
import ipaddress

from tests.fakes.ca import Issued
from tests.fakes.time_travel import PATIENCE

from gatepost.net.dialer import dial
from gatepost.net.errors import StreamError
from gatepost.net.reactor import Reactor
from gatepost.net.stream import Stream
from gatepost.net.tls import ClientContext, Identity, TlsParameters


class Client:
    """One connection to a listener. Replies come as text: their lines joined by line feeds, without CRLF."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._buffer = b""

    @classmethod
    async def connect(cls, reactor: Reactor, port: int, source: str = "127.0.0.1") -> Client:
        address = ipaddress.ip_address(source)
        stream = await dial(
            reactor, ipaddress.ip_address("127.0.0.1"), port, source=address, timeout=PATIENCE
        )
        return cls(stream)

    async def _read(self) -> bytes:
        return await asyncio.wait_for(self.stream.read(), PATIENCE)

    async def reply(self) -> str:
        """The next whole reply. AssertionError when the connection ends instead."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            while b"\r\n" not in self._buffer:
                data = await self._read()
                assert data, f"the connection ended; before that: {lines} {self._buffer!r}"
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            lines.append(line.decode("ascii"))
        return "\n".join(lines)

    def send(self, data: bytes | str) -> None:
        self.stream.write(data.encode() if isinstance(data, str) else data)

    async def say(self, line: str) -> str:
        """One command, and its reply."""
        self.send(line + "\r\n")
        return await self.reply()

    async def hello(self) -> str:
        """Greeting and EHLO; returns the answer to EHLO."""
        assert (await self.reply()).startswith("220 ")
        return await self.say("EHLO client.example")

    async def starttls(
        self, ciphers: str = "default", *, certificate: Issued | None = None, groups: str = ""
    ) -> None:
        """STARTTLS and the handshake; shows `certificate` when it is asked for one."""
        assert (await self.say("STARTTLS")).startswith("220 ")
        own = [Identity(certificate.chain_pem, certificate.key_pem)] if certificate is not None else []
        context = ClientContext.build(TlsParameters(ciphers=ciphers, groups=groups), identities=own)
        await self.stream.start_tls(context, sni="mx.example.net")

    async def envelope(self, sender: str = "a@sender.example", *recipients: str) -> None:
        """MAIL and RCPTs that are accepted."""
        assert (await self.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
        for recipient in recipients or ("mary@example.net",):
            assert (await self.say(f"RCPT TO:<{recipient}>")).startswith("250 ")

    async def data(self, body: bytes = b"Subject: Testing\r\n\r\nHello\r\n") -> str:
        """DATA and the message; returns the answer to the final dot."""
        assert (await self.say("DATA")).startswith("354 ")
        self.send(body + b".\r\n")
        return await self.reply()

    async def quit(self) -> None:
        assert (await self.say("QUIT")).startswith("221 ")
        assert await self.ended() == ""
        await self.stream.close()

    async def ended(self) -> str:
        """What still comes until the other side ends the connection."""
        data, self._buffer = self._buffer, b""
        try:
            while more := await self._read():
                data += more
        except StreamError:
            pass
        self.stream.abort()
        return data.decode("ascii", "backslashreplace")
