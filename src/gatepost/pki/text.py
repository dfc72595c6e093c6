"""Text out of certificates, made safe to show.

A subject or a name may hold NUL, line ends, terminal sequences, bidirectional overrides or a megabyte of anything
(C34); what leaves this room is one short line of printable characters.
"""

from __future__ import annotations

from cryptography import x509

MAX_TEXT = 500


def printable(text: str) -> str:
    """One line: everything that does not print becomes `\\xNN` or `\\uNNNN`; over-long text is cut with `…`.

    A backslash stays as it is, so the result tells what is there and cannot be read back.
    """
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def name_text(name: x509.Name) -> str:
    """A distinguished name as `CN=mx.example,O=Example` (RFC 4514), or `(empty)`."""
    return both_forms(name)[0]


def folded_name(name: x509.Name) -> str:
    """A form that is equal for names that differ only in case and blanks (RFC 5280 §7.1), to look issuers up.

    It may be equal for more; the signature decides.
    """
    return both_forms(name)[1]


def both_forms(name: x509.Name) -> tuple[str, str]:
    """`name_text` and `folded_name` in one."""
    text = name.rfc4514_string()
    return printable(text) or "(empty)", " ".join(text.casefold().split())
