"""OpenSSL library errors in the classic form that readers of the mail log know.

The form is `(N, 'error:HHHHHHHH:LIBRARY:FUNCTION:REASON')`, N being HHHHHHHH in decimal. OpenSSL 3 and
later name no function; the field is then empty: `(167772353, 'error:0A0000C1:SSL routines::no shared cipher')`.
The mask keeps what the form can print: error codes of the library are 32 bits wide.
"""

from __future__ import annotations

_CODE_MASK = 0xFFFFFFFF


def classic_error(code: int, library: str, function: str, reason: str) -> str:
    """One library error as the text behind `TLS failed: `. Missing parts are passed as empty strings."""
    code &= _CODE_MASK
    return f"({code}, 'error:{code:08X}:{library}:{function}:{reason}')"
