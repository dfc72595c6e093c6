"""SMTP replies as values, and the one value for everything that goes wrong towards a peer."""

from __future__ import annotations

from dataclasses import dataclass, field

from gatepost.core.reasons import ReasonCode


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply (RFC 5321 §4.2): a code, an optional enhanced code (RFC 3463), and its lines of text.

    `lines` hold the text without the codes and without CRLF. A reply that we send is ASCII; one that
    we received keeps what the peer said, undecodable bytes as backslash escapes.
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = ("",)
    _wire: bytes = field(
        default=b"", init=False, repr=False, compare=False
    )  # `encode`, once it was asked for

    @property
    def positive(self) -> bool:
        """2yz or 3yz."""
        return 200 <= self.code < 400

    @property
    def permanent(self) -> bool:
        """5yz: the same command will fail again."""
        return self.code >= 500

    @property
    def text(self) -> str:
        """All lines joined by a blank, with the enhanced code in front: what a log shows."""
        joined = " ".join(line for line in self.lines if line)
        return f"{self.enhanced} {joined}" if self.enhanced else joined

    def encode(self) -> bytes:
        """The bytes on the wire; every line but the last has a hyphen after the code.

        Line ends inside the text, which would make a second reply (C24), become blanks.
        """
        if self._wire:
            return self._wire
        prefix = f"{self.enhanced} " if self.enhanced else ""
        last = len(self.lines) - 1
        rows = [
            f"{self.code}{' ' if i == last else '-'}{prefix}{line}\r\n" for i, line in enumerate(self.lines)
        ]
        wire = "".join(rows).encode("ascii", "replace")
        if wire.count(b"\n") != last + 1 or wire.count(b"\r") != last + 1:
            clean = tuple("".join(c if c.isprintable() else " " for c in line) for line in self.lines)
            wire = Reply(self.code, self.enhanced, clean).encode()
        object.__setattr__(self, "_wire", wire)  # most replies are constants that are sent over and over
        return wire


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is refused to a peer: what it is told, and what only the log may know.

    `text` is public and bland; `cause` (exception text, rule names, addresses) goes to the log alone.
    `close` says that the connection ends after the reply. A 4yz code means: try again later. `why` is the code of what TLS lacked.
    """

    code: int
    enhanced: str
    text: str
    cause: str = ""
    close: bool = False
    why: ReasonCode | None = None

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def reply(self) -> Reply:
        return Reply(self.code, self.enhanced, (self.text,))
