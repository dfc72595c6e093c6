"""Text from outside on its way into a line of the log (C24, C25): it cannot end a line, start one, or control a terminal."""

from __future__ import annotations

MAX_TEXT = 2_000


def safe(text: str) -> str:
    """`text` for the middle of a line: what cannot be printed becomes `\\x…` or `\\u…`, and it is cut when over-long."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "..."
    return text if text.isprintable() else printable(text)


def quoted(text: str, quote: str = "'") -> str:
    """`text` in quotes, which it cannot leave."""
    text = safe(text)
    return f"{quote}{_backslashed(text, quote) if quote in text else text}{quote}"


def printable(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _backslashed(text: str, quote: str) -> str:
    return text.replace(quote, "\\" + quote)
