"""The gateway that all attacks of a test process share, and the two parties that attack it."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.clients import RawClient, trusting_context
from tests.live.peers.gateway import Document, Gateway
from tests.live.peers.mail import Mail
from tests.live.peers.ports import Ports
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls

from gatepost.control.protocol import call
from gatepost.store.home import Home

HEAD = re.compile(
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} (Critical|Warning|Info|Debug|Trace): "
)
# What an exception's text looks like; no peer may ever be shown it.
INSIDES = re.compile(
    r"Traceback|Exception|Error\b.*\(|\.py\b|errno|object at 0x|reference [0-9a-f]{8}", re.IGNORECASE
)
KNOWN_DOMAIN = "example.net"
MODERN = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "DSN")
HOSTILE_ROUTES = 240

_tokens = itertools.count()


def token() -> str:
    """A word that no other test has used."""
    return f"token-{os.getpid()}-{next(_tokens)}x"


class Hostile(RawClient):
    """A client that keeps what it was told, and reads to the end of a connection that may be reset."""

    def __init__(self, port: int, *, greeted: bool = True, implicit: bool = False, source: str = "") -> None:
        super().__init__(port, source=source)
        self.socket.settimeout(20)
        self.said: list[str] = []
        House.clients.append(self)
        if implicit:
            self.start_tls()
        if greeted:
            assert self.reply()[0].startswith("220 ")

    def line(self) -> str:
        try:
            text = super().line()
        except ConnectionError:
            text = ""  # a reset ends it just as well
        if text:
            self.said.append(text)
        return text

    def rest(self) -> list[str]:
        """Everything until the server ends the connection."""
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def ehlo(self, name: str = "hostile.example") -> list[str]:
        reply = self.command(f"EHLO {name}")
        assert reply[0].startswith("250"), reply
        return reply

    def secure(self) -> Hostile:
        """EHLO, STARTTLS, handshake, EHLO."""
        self.ehlo()
        assert self.command("STARTTLS")[0].startswith("220")
        self.start_tls(trusting_context())
        self.ehlo()
        return self

    def envelope(self, sender: str = "a@hostile.example", *to: str, mail: str = "") -> None:
        for command in (
            f"MAIL FROM:<{sender}>{mail}",
            *(f"RCPT TO:<{one}>" for one in to or (f"user@{KNOWN_DOMAIN}",)),
        ):
            reply = self.command(command)
            assert reply[0].startswith("250"), (command, reply)

    def data(self, message: bytes) -> list[str]:
        """DATA, a message as it goes on the wire, and the answer to its end."""
        assert self.command("DATA")[0].startswith("354")
        self.send(message + b".\r\n")
        return self.reply()

    def alive(self) -> bool:
        """The session goes on as if nothing had been."""
        return self.command("NOOP")[0].startswith("250")


@dataclass(slots=True)
class Listeners:
    """The ports of the gateway's listeners."""

    public: int  # takes mail for example.net, STARTTLS offered
    private: int  # relays for loopback
    implicit: int  # TLS from the first octet
    strict: int  # nothing without TLS
    tight: int  # short patience, low limits


@dataclass(frozen=True, slots=True)
class Outcome:
    """`what` is Delayed, Bounced or Message done; `lines` are the log's, without time and level."""

    what: str
    dcid: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class House:
    """A running gateway with two workers, a sink behind it, and a hundred routes to hostile servers."""

    clients: ClassVar[list[Hostile]] = []  # of the test that is running

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.authority = TestAuthority("Hostile Lab CA")
        self.sink = ScriptedReceiver(
            folder / "sink", ports.free(), Script(StartTls.NOT_OFFERED, capabilities=MODERN)
        )
        self.ports = Listeners(*(ports.free() for _ in range(5)))
        self.routes = [ports.free() for _ in range(HOSTILE_ROUTES)]
        self._next_route = iter(range(HOSTILE_ROUTES))
        self.gateway = Gateway(folder / "gateway")
        self.gateway.import_certificate("gw", self.authority.issue(["mx.example.net"]))
        self.gateway.trust(self.authority.root_pem)
        self.gateway.configure(configuration(self))
        self.gateway.start(workers=2)
        self.pids = self.processes()

    # --- what goes in ------------------------------------------------------------------------

    def client(self, port: int = 0, **options: Any) -> Hostile:
        return Hostile(port or self.ports.public, **options)

    def send(self, recipient: str, body: bytes = b"", *, sender: str = "local@example.net") -> int:
        """A message from inside; its MID."""
        message = b"Subject: out\r\n\r\n" + (body or b"hello\r\n")
        with Hostile(self.ports.private) as client:
            client.ehlo()
            client.envelope(sender, recipient)
            reply = client.data(message)
        found = re.search(r"queued as (\d+)", reply[0])
        assert found, reply
        return int(found[1])

    # --- what comes out ----------------------------------------------------------------------

    def arrived(self, word: str, count: int = 1) -> list[Mail]:
        """The mails with this word in the sink, once there are `count`."""
        self.sink.wait_until(lambda sink: len(having(sink, word)) >= count, f"{count} mails with {word}")
        return having(self.sink, word)

    def route(self, number: int | None = None) -> tuple[str, int]:
        """A domain that leads to a port of ours where nothing listens yet."""
        number = next(self._next_route) if number is None else number
        return f"h{number}.hostile.example", self.routes[number]

    # --- how it is ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = call(Home(self.gateway.home).control_socket, "status", {}, timeout=20)
        return status

    def processes(self) -> list[int]:
        status = self.status()
        return [worker["pid"] for worker in status["workers"]] + [status["desk"]["pid"]]

    def log(self, pattern: str, *, start: int = 0, count: int = 1) -> re.Match[str]:
        return self.gateway.log.wait_for(pattern, start=start, count=count)

    def mark(self) -> int:
        return self.gateway.log.mark()

    def outcome(self, mid: int) -> Outcome:
        """What became of the first attempt at a message, with the log lines of its connection."""
        found = self.log(rf"(Delayed|Bounced|Message done):? DCID (\d+) MID {mid} to RID")
        dcid = int(found[2])
        if dcid:
            self.log(rf"\bDCID {dcid} close$")
        pattern = re.compile(rf"\bDCID {dcid}\b|\bMID {mid}\b")
        lines = [
            re.sub(f"^{HEAD.pattern}", "", line) for line in self.gateway.log.all if pattern.search(line)
        ]
        return Outcome(found[1], dcid, lines)

    def memory(self) -> int:
        """Resident octets of the workers together."""
        return sum(resident(worker["pid"]) for worker in self.status()["workers"])

    def check_message_passes(self) -> None:
        """Mail passes in and out, unchanged."""
        word = token()
        body = f"Subject: {word}\r\n\r\n.one dot\r\n..two\r\n \xe9\r\n".encode("latin-1")
        with Hostile(self.ports.public) as client:
            client.secure()
            client.envelope()
            reply = client.data(body.replace(b"\r\n.", b"\r\n.."))
            assert reply[0].startswith("250"), reply
        (mail,) = self.arrived(word)
        assert unreceived(mail) == body

    def close(self) -> None:
        self.gateway.stop()
        self.gateway.close()
        self.sink.close()


def having(sink: ScriptedReceiver, word: str) -> list[Mail]:
    return [mail for mail in sink.mails if word.encode() in mail.content]


def unreceived(mail: Mail) -> bytes:
    """The message without the Received field that the gateway put in front of it."""
    field = re.match(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", mail.content)
    assert field, mail.content[:200]
    return mail.content[field.end() :]


def resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def check_log_lines(lines: list[str]) -> None:
    """Every line has a head of ours, prints, and tells of no bug."""
    for line in lines:
        if not HEAD.match(line) or not line.isprintable():
            pytest.fail(f"not a line of ours: {line!r}")
        if "Internal error" in line or re.search(r"Process \w+.* ended", line):
            pytest.fail(line)


# --- configuration -----------------------------------------------------------------------------------


def configuration(house: House) -> Document:
    """Listeners of every kind; `hN.hostile.example` leads to the N-th hostile port under `preferred`,
    `hN.verify.example` under preferred-verify, `hN.required.example` under required, `hN.strict.example` under required-verify."""
    ports = house.ports
    everybody = [{"group": "ALL", "policy": "ACCEPTED"}]
    rat = [
        {"recipient": KNOWN_DOMAIN, "action": "accept"},
        {"recipient": f".{KNOWN_DOMAIN}", "action": "accept"},
        {"recipient": "ALL", "action": "reject"},
    ]

    def listener(name: str, port: int, **more: Any) -> Document:
        base = {"name": name, "type": "public", "interface": "Data 1", "port": port, "certificate": "gw"}
        return base | {"host_access": everybody, "recipient_access": rat} | more

    relaying = [
        {"group": "RELAYLIST", "senders": ["127.0.0.1"], "policy": "RELAYED"},
        {"group": "ALL", "policy": "BLOCKED"},
    ]
    patience = {"command": "2s", "data": "2s", "handshake": "1s", "session": "4s"}
    private = listener("Out", ports.private, type="private", host_access=relaying)
    del private["recipient_access"]
    return {
        "system": {"hostname": "gw.example.net"},
        "interfaces": [{"name": "Data 1", "address": "127.0.0.1", "hostname": "mx.example.net"}],
        "listeners": [
            listener("Mx", ports.public),
            private,
            listener("Smtps", ports.implicit, tls="implicit"),
            listener("Strict", ports.strict, host_access=[{"group": "ALL", "policy": "TLS_ONLY"}]),
            listener(
                "Tight",
                ports.tight,
                host_access=[{"group": "ALL", "policy": "TIGHT"}],
                timeouts=patience,
                max_connections=30,
            ),
        ],
        "mail_flow_policies": [
            {"name": "ACCEPTED", "action": "accept", "tls": "preferred", "max_connections_per_ip": 5000},
            {"name": "TLS_ONLY", "action": "accept", "tls": "required"},
            {
                "name": "TIGHT",
                "action": "accept",
                "tls": "preferred",
                "max_message_size": "1MB",
                "max_recipients_per_message": 10,
                "max_connections_per_ip": 20,
            },
            {"name": "RELAYED", "action": "relay", "tls": "preferred"},
            {"name": "BLOCKED", "action": "reject"},
        ],
        "destination_controls": {
            "default": {"tls": "preferred", "dane": "none", "mta_sts": False},
            "destinations": [
                {"domain": ".verify.example", "tls": "preferred-verify"},
                {"domain": ".required.example", "tls": "required"},
                {"domain": ".strict.example", "tls": "required-verify"},
            ],
        },
        "smtp_routes": [
            *(
                {"domain": f"h{number}.{kind}.example", "hosts": [f"[127.0.0.1]:{port}"]}
                for number, port in enumerate(house.routes)
                for kind in ("hostile", "verify", "required", "strict")
            ),
            {"domain": "ALL", "hosts": [f"[127.0.0.1]:{house.sink.port}"]},
        ],
        "delivery": {
            "timeouts": {
                "greeting": "3s",
                "command": "3s",
                "handshake": "3s",
                "data_block": "3s",
                "data_end": "5s",
                "idle": "1s",
            }
        },
        "bounce_profiles": [
            {
                "name": "Default",
                "initial_retry": "1h",
                "max_retry": "1h",
                "max_age": "1d",
                "max_attempts": 100,
                "delay_warning": "1d",
            }
        ],
        "certificate_authorities": {"system": False, "custom": True},
        "dns": {"servers": [], "reverse": False},
    }
