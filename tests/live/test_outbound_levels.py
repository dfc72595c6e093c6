"""The table of requirements D against real receivers: what the log says, and what arrives or is kept, and why.

Postfix and Exim play every part that they can (no STARTTLS, 454, a handshake that fails behind the 220, each kind of
certificate); the scripted receiver the others. One gateway has a domain for each cell, sends one message
to each, and every test looks at its cell. Retries are an hour away, so each message makes one attempt.
"""

from __future__ import annotations

import json
import re
import smtplib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority, self_signed
from tests.live.peers.exim import Exim
from tests.live.peers.gateway import Document, document
from tests.live.peers.mail import Mail
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery, settled
from tests.live.peers.submit import hand_over, text_message

LEVELS = (
    "none",
    "preferred",
    "required",
    "preferred-verify",
    "required-verify",
    "required-verify-hosted",
)
CLEAR, TLS, KEPT = "clear", "tls", "kept"
HANDSHAKE_SECONDS = 8  # under TLS levels; long enough for a busy machine, since one receiver stalls

Receiver = Postfix | Exim | ScriptedReceiver

OPENSSL = "cipher TLS_AES_256_GCM_SHA384"
NO_STARTTLS = "remote host does not offer STARTTLS"
UNEXPECTED = "STARTTLS unexpected response"


@dataclass(frozen=True)
class Part:
    """A receiver's part: how it is started, and how the log names what went wrong.

    `broken` is a pattern for a failed handshake; `problem` the finding about its certificate, `whose` what
    stands behind it.
    """

    start: Callable[[Scene], Receiver]
    refusal: str = ""  # no TLS before the 220
    reply: str = ""  # what it answers to STARTTLS
    broken: str = ""
    problem: str = ""
    whose: str = ""


def _names(part: str) -> list[str]:
    return [_domain(level, part) for level in LEVELS]


def _domain(level: str, part: str) -> str:
    return f"{level}.{part}.example"


AUTHORITY = TestAuthority("Example CA")
SUB_AUTHORITY = AUTHORITY.intermediate("Example Sub CA")


def _postfix(issued: Issued | None = None, **options: str) -> Callable[[Scene], Receiver]:
    return lambda scene: scene.postfix(certificate=issued, options=options)


def _exim(issued: Issued) -> Callable[[Scene], Receiver]:
    return lambda scene: scene.exim(certificate=issued)


def _scripted(starttls: StartTls, **choices: bool) -> Callable[[Scene], Receiver]:
    return lambda scene: scene.receiver(Script(starttls=starttls, **choices))


PARTS: dict[str, Part] = {
    "no-starttls": Part(_postfix(), refusal=NO_STARTTLS),
    "no-esmtp": Part(
        _scripted(StartTls.NOT_OFFERED, takes_ehlo=False), refusal="remote host does not speak ESMTP"
    ),
    # Postfix cannot load its authorities: it goes on offering STARTTLS, and says 454 to it.
    "answers-454": Part(
        _postfix(AUTHORITY.issue(_names("answers-454")), smtpd_tls_CAfile="/nonexistent/authorities.pem"),
        refusal=UNEXPECTED,
        reply="454-'4.7.0 TLS not available due to local problem'",
    ),
    "answers-554": Part(_scripted(StartTls.REFUSED), refusal=UNEXPECTED, reply="554-'5.7.3 no TLS for you'"),
    # Postfix speaks no protocol that we do: an alert comes instead of its hello.
    "old-protocol": Part(
        _postfix(AUTHORITY.issue(_names("old-protocol")), smtpd_tls_protocols="<=TLSv1.1"),
        broken=r"\(\d+, 'error:0A00[0-9A-F]{4}:SSL routines::(?:tlsv1|ssl/tls) alert protocol version'\)",
    ),
    "closes": Part(_scripted(StartTls.CLOSES), broken=r"\(-1, 'Unexpected EOF'\)|\[Errno 104\] .*"),
    "garbage": Part(
        _scripted(StartTls.GARBAGE), broken=r"\(\d+, 'error:0A00010B:SSL routines::wrong version number'\)"
    ),
    "stalls": Part(_scripted(StartTls.STALLS), broken=r".*(?i:timeout|timed out).*"),
    "expired": Part(
        _exim(AUTHORITY.issue(_names("expired"), expired=True)),
        problem="certificate has expired",
        whose=" (CN=none.expired.example, issuer CN=Example CA)",
    ),
    "self-signed": Part(
        _exim(self_signed(_names("self-signed"))),
        problem="self-signed certificate",
        whose=" (CN=none.self-signed.example, issuer CN=none.self-signed.example)",
    ),
    "wrong-name": Part(_postfix(AUTHORITY.issue(["other.example"])), problem="host name mismatch"),
    "unchained": Part(
        _exim(SUB_AUTHORITY.issue(_names("unchained")).sending(leaf_only=True)),
        problem="unable to get local issuer certificate",
        whose=" (CN=none.unchained.example, issuer CN=Example Sub CA)",
    ),
    "good": Part(_postfix(SUB_AUTHORITY.issue(_names("good")))),
    "good-exim": Part(_exim(SUB_AUTHORITY.issue(_names("good-exim")))),
}


class Stage:
    """The gateway, the receivers by their part, and the message of each cell."""

    def __init__(self, scene: Scene) -> None:
        with ThreadPoolExecutor() as pool:
            started = {name: pool.submit(part.start, scene) for name, part in PARTS.items()}
            self.receivers = {name: future.result() for name, future in started.items()}
        self.gateway = scene.gateway()
        public, private = scene.ports.free(), scene.ports.free()
        self.gateway.trust(AUTHORITY.root_pem)
        self.gateway.configure(self._document(public, private))
        self.gateway.command("ca", "enable", "custom")
        self.gateway.start()
        self.mids: dict[tuple[str, str], int] = {}
        with smtplib.SMTP("127.0.0.1", private) as client:
            for part in PARTS:
                for level in LEVELS:
                    content = text_message(subject=f"{level} {part}")
                    to = f"user@{_domain(level, part)}"
                    self.mids[level, part] = hand_over(client, to=to, content=content)

    def _document(self, public: int, private: int) -> Document:
        cells = [(level, part) for part in PARTS for level in LEVELS]
        entries = [{"domain": _domain(level, part), "tls": level} for level, part in cells]
        routes = [
            {"domain": _domain(level, part), "hosts": [f"[127.0.0.1]:{self.receivers[part].port}"]}
            for level, part in cells
        ]
        made = document(public, private, destinations=entries, routes=routes)
        made["destination_controls"]["global"] = {"alert_on_required_tls_failure": True}
        made["delivery"] = {"timeouts": {"idle": "1s", "handshake": f"{HANDSHAKE_SECONDS}s"}}
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "3d"}
        return made

    @cached_property
    def queue(self) -> dict[int, dict[str, Any]]:
        """What is kept, by MID, once every message had its attempt."""
        for mid in self.mids.values():
            settled(self.gateway, mid, timeout=90)
        return {row["mid"]: row for row in json.loads(self.gateway.command("queue", "list", "--json"))}

    def mail(self, level: str, part: str) -> list[Mail]:
        """What arrived of a cell's message."""
        receiver, subject = self.receivers[part], f"{level} {part}"
        if isinstance(receiver, ScriptedReceiver):
            found = list(receiver.mails)
        else:
            folder = receiver.folder / "mail"
            files = (folder / "all" if isinstance(receiver, Postfix) else folder) / "new"
            found = [Mail(file.read_bytes()) for file in files.glob("*")]
        return [mail for mail in found if mail.message["Subject"] == subject]


@pytest.fixture(scope="module")
def stage(scene: Scene) -> Stage:
    return Stage(scene)


def _expected(level: str, name: str) -> tuple[str, list[str]]:
    """The cell of the table, R23 to R27h: what becomes of the message, and patterns of the TLS lines."""
    part, required = PARTS[name], level.startswith("required")
    needed = ["IP 127.0.0.1 TLS was required but could not be successfully negotiated"] if required else []
    if level == "none":
        return CLEAR, []
    if part.refusal:
        failed = f"TLS failed: {part.refusal}"
        if required:
            return KEPT, [failed, *needed]
        return CLEAR, [f"{failed} - continuing in clear"] if part.reply else []
    if part.broken:
        return KEPT, [f"TLS failed: /{part.broken}/", *needed]
    up = f"TLS success protocol TLSv1.3 {OPENSSL}"
    if "verify" not in level:
        return TLS, [up]
    domain = _domain(level, name)
    if not part.problem:
        return TLS, [f"{up} for {domain} verified yes: {domain}"]
    # An address hop brings the recipient's domain and its own address; each name that was tried is named.
    problem = part.problem
    if problem == "host name mismatch":
        problem += f": {domain}, 127.0.0.1 not in DNS:other.example"
    if required:
        return KEPT, [f"TLS failed: verify error: {problem}{part.whose}", *needed]
    return TLS, [f"{up} for {domain} verified no: {problem}"]


def _same(line: str, expected: str) -> bool:
    """Equal, where `/…/` in what is expected is a pattern."""
    pieces = re.split(r"/(\\\(.*|\.\*.*)/", expected)
    pattern = "".join(f"(?:{text})" if n % 2 else re.escape(text) for n, text in enumerate(pieces))
    return re.fullmatch(pattern, line) is not None


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_cell_of_the_table(stage: Stage, level: str, part: str) -> None:
    outcome, tls_lines = _expected(level, part)
    mid = stage.mids[level, part]
    lines = delivery(stage.gateway, mid, timeout=90)
    port = stage.receivers[part].port
    opened = f"New SMTP DCID D interface 127.0.0.1 address 127.0.0.1 port {port}"
    expected = [opened, *_reply_line(level, part, port), *(f"DCID D {line}" for line in tls_lines)]
    assert len(lines) > len(expected), lines
    for line, wanted in zip(lines, expected, strict=False):
        assert _same(line, wanted), f"{wanted!r} was expected in\n  " + "\n  ".join(lines)
    rest = lines[len(expected) :]
    if outcome == KEPT:
        _check_kept(stage, level, part, rest)
    else:
        _check_delivered(stage, level, part, outcome, rest)


def _reply_line(level: str, part: str, port: int) -> list[str]:
    """A refused STARTTLS under a required level ends the session, and the log says with which answer."""
    reply = PARTS[part].reply
    if not reply or not level.startswith("required"):
        return []
    return [
        f"Connection Error: DCID D domain: {_domain(level, part)} IP:127.0.0.1 port: {port} details: {reply}"
        " interface: 127.0.0.1 reason: unexpected SMTP response"
    ]


def _check_delivered(stage: Stage, level: str, part: str, outcome: str, rest: list[str]) -> None:
    assert rest[:2] == [
        "Delivery start DCID D MID M to RID [0]",
        "Message done DCID D MID M to RID [0]",
    ]
    assert re.fullmatch(r"MID M RID \[0\] Response '.+'", rest[2])
    assert set(rest[3:]) == {"Message finished MID M done", "DCID D close"}
    (mail,) = stage.mail(level, part)
    if isinstance(stage.receivers[part], ScriptedReceiver):
        assert (mail.tls is not None) == (outcome == TLS)
    else:
        # The receiver's own line tells what it saw, ours below it how the message came in.
        assert bool(re.search(r"TLSv?1\.3", mail.received[0])) == (outcome == TLS), mail.received[0]
    assert mail.content.endswith(
        b"A test message.\r\n" if _is_scripted(stage, part) else b"A test message.\n"
    )


def _is_scripted(stage: Stage, part: str) -> bool:
    return isinstance(stage.receivers[part], ScriptedReceiver)


def _check_kept(stage: Stage, level: str, part: str, rest: list[str]) -> None:
    assert stage.mail(level, part) == []
    mid = stage.mids[level, part]
    assert "DCID D close" in rest
    assert not any(line.startswith(("Delivery start", "Message finished")) for line in rest)
    (delayed,) = (line for line in rest if line.startswith("Delayed:"))
    refused_before = bool(PARTS[part].refusal)
    code = PARTS[part].reply[:3] or "000"
    status = "4.7.4 - Security features not supported" if refused_before else "4.7.5 - Cryptographic failure"
    assert delayed.startswith(f"Delayed: DCID D MID M to RID 0 - {status} ('{code}', [")
    assert f"TLS {level}: " in delayed
    kept = stage.queue[mid]
    assert kept["state"] == "deferred"
    assert kept["attempts"] == 1
    reason = str(kept["reason"])
    assert reason.startswith(f"TLS {level}: ")
    wanted = PARTS[part].refusal or PARTS[part].problem
    assert wanted in reason
    # R30: a required level alerts, a preferred one does not.
    warned = [
        line
        for line in about(stage.gateway, f"domain: {re.escape(_domain(level, part))}")
        if line.startswith("Warning: Required TLS could not be had")
    ]
    assert len(warned) == int(level.startswith("required"))
    assert all(line.endswith(" (alert)") and f" level: {level} reason: " in line for line in warned)
