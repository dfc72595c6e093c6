"""Mail as the tests see it arrive."""

from __future__ import annotations

import email
import email.message
import email.policy
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """What the receiving end saw of TLS."""

    protocol: str
    cipher: str
    client_certificate: bytes = b""
    sni: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message that a receiver took, with its envelope where the receiver knows it."""

    content: bytes
    sender: str = ""
    recipients: tuple[str, ...] = ()
    tls: TlsSeen | None = None
    hello: str = ""
    connection: int = 0
    parameters: tuple[str, ...] = field(default=())

    @property
    def message(self) -> email.message.EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    @property
    def received(self) -> list[str]:
        """The Received header fields, newest first, unfolded."""
        return [" ".join(str(value).split()) for value in self.message.get_all("Received", [])]


def read_maildir(folder: Path) -> list[Mail]:
    """The messages of a Maildir in order of arrival."""
    files = sorted((folder / "new").glob("*"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    return [Mail(file.read_bytes()) for file in files]
