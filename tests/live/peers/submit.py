"""Hands messages to the gateway as a mail program does, and says under which MID they were queued."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Sequence

from tests.live.peers.clients import CLIENT_TIMEOUT


class Refused(Exception):
    """The gateway did not take the message: its code and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


def text_message(subject: str = "Testing", body: str = "A test message.\r\n") -> bytes:
    """A small message with the fields that a mail program writes."""
    return (
        f"From: sender@client.example\r\nTo: user@dest.example\r\nSubject: {subject}\r\n"
        f"Message-ID: <{abs(hash(subject))}@client.example>\r\n\r\n{body}"
    ).encode()


def submit(
    port: int,
    sender: str = "sender@client.example",
    to: str | Sequence[str] = "user@dest.example",
    content: bytes | None = None,
    *,
    host: str = "127.0.0.1",
    source: str = "",
    options: Sequence[str] = (),
    rcpt_options: Sequence[str] = (),
) -> int:
    """One message on a connection of its own; the MID that the gateway told."""
    origin = (source, 0) if source else None
    with smtplib.SMTP(host, port, "client.example", timeout=CLIENT_TIMEOUT, source_address=origin) as client:
        return hand_over(client, sender, to, content, options=options, rcpt_options=rcpt_options)


def hand_over(
    client: smtplib.SMTP,
    sender: str = "sender@client.example",
    to: str | Sequence[str] = "user@dest.example",
    content: bytes | None = None,
    *,
    options: Sequence[str] = (),
    rcpt_options: Sequence[str] = (),
) -> int:
    """One message on an open connection; the MID that the gateway told. Raises Refused."""
    client.ehlo_or_helo_if_needed()
    _good(client.mail(sender, list(options)))
    for recipient in [to] if isinstance(to, str) else to:
        _good(client.rcpt(recipient, list(rcpt_options)))
    words = _good(client.data(text_message() if content is None else content))
    found = re.search(r"queued as (\d+)", words)
    assert found is not None, words
    return int(found[1])


def _good(answer: tuple[int, bytes]) -> str:
    code, raw = answer
    text = raw.decode(errors="replace")
    if code >= 300:
        raise Refused(code, text)
    return text
