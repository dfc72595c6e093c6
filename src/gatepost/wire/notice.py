"""A plain mail of the gateway's own to its administrators (RFC 5322, RFC 2045, RFC 2047).

One text, no parts. Everything in it may come from outside (names of certificates, what a peer said), so the subject
and every line of the text pass `_plain`, which leaves no line end and no control character: nobody gives such a mail a header
or a second body (case C25). The body is 7-bit always (quoted-printable where the text is not ASCII), so it needs nothing of
the servers on its way; only recipients whose own addresses are in UTF-8 do (RFC 6532).

`Auto-Submitted: auto-generated` (RFC 3834 §5) keeps responders from answering, and the envelope's sender is the
null address, so that nothing about it ever comes back.

Limits: a subject of 200 characters, a text of 1,000 lines of 2,000 characters.
"""

from __future__ import annotations

import binascii
import textwrap
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.wire.dsn import mail_date

MAX_SUBJECT = 200
MAX_LINES = 1_000
MAX_LINE = 2_000
WIDTH = 76
_WORD_OCTETS = 42  # of UTF-8 in one encoded word: 75 characters with its frame (RFC 2047 §2)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told, to whom, and from whom. `message_id` is unique, without angle brackets."""

    sender: str
    recipients: Sequence[str]
    subject: str
    text: str
    message_id: str
    at: float  # seconds since the epoch


def make_notice(notice: Notice) -> bytes:
    """The whole message, lines ending in CR LF."""
    body = _body(notice.text)
    ascii_body = body.isascii()
    lines = (
        f"Date: {mail_date(notice.at)}",
        f"From: Gatepost <{_plain(notice.sender)}>",
        "To: " + ",\r\n ".join(f"<{_plain(address)}>" for address in notice.recipients),
        "Subject: " + _subject(notice.subject),
        f"Message-ID: <{_plain(notice.message_id)}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f"Content-Type: text/plain; charset={'us-ascii' if ascii_body else 'utf-8'}",
        f"Content-Transfer-Encoding: {'7bit' if ascii_body else 'quoted-printable'}",
    )
    content = body.encode("ascii") if ascii_body else _quoted_printable(body)
    return "\r\n".join((*lines, "", "")).encode() + content


def _body(text: str) -> str:
    """The text in lines of at most 76 characters where it has blanks to break at, indentation kept."""
    lines: list[str] = []
    for line in text.split("\n")[:MAX_LINES]:
        lines += _wrapped(_plain(line[:MAX_LINE]).rstrip())
    while lines and not lines[-1]:
        lines.pop()
    return "\r\n".join(lines) + "\r\n"


def _wrapped(line: str) -> list[str]:
    if len(line) <= WIDTH:
        return [line]
    inner = line.lstrip(" ")
    indent = " " * min(len(line) - len(inner), 20)
    wrapped = textwrap.wrap(
        inner,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    # RFC 5322 §2.1.1: at most 998 octets a line; 240 characters of UTF-8 are fewer.
    return [piece[i : i + 240] for piece in wrapped for i in range(0, len(piece), 240)]


def _quoted_printable(text: str) -> bytes:
    lines = text.removesuffix("\r\n").split("\r\n")
    encoded = (binascii.b2a_qp(line.encode(), istext=True) for line in lines)
    # What the encoder folds it folds with a bare LF.
    return b"".join(line.replace(b"=\n", b"=\r\n") + b"\r\n" for line in encoded)


def _subject(text: str) -> str:
    """The field's value: folded at blanks, or as encoded words where it is not ASCII."""
    text = " ".join(_plain(text).split())
    if len(text) > MAX_SUBJECT:
        text = text[: MAX_SUBJECT - 3] + "..."
    if not text.isascii() or "=?" in text:
        return "\r\n ".join(_encoded_words(text))
    return "\r\n ".join(
        textwrap.wrap(text, WIDTH - len("Subject: "), break_long_words=False, break_on_hyphens=False)
    )


def _encoded_words(text: str) -> list[str]:
    """RFC 2047 §5: each word whole characters, none over 75 octets."""
    words, piece = [], b""
    for character in text:
        octets = character.encode()
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    return [f"=?utf-8?B?{b64encode(word).decode('ascii')}?=" for word in (*words, piece)]


def _plain(text: str) -> str:
    """`text` on one line and without control characters; each of them becomes a question mark."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)
