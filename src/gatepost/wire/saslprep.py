"""SASLprep: names and pass-phrases in the one form that is compared (RFC 4013, a profile of RFC 3454).

Two people who type the same must send the same, whatever keyboard and system they have: blanks of all kinds become the one blank,
invisible characters go, and the rest takes Unicode's form KC. Control, private and other characters that cannot be typed or compared are
refused, and so is a mix of writing directions. ASCII comes out as it went in.

The tables are those of `stringprep` and the Unicode 3.2 of the standard library, as the RFC wants them. Characters that are younger than Unicode 3.2
may stand in what a client sends, and not in what is stored (RFC 3454 §7): not all clients would send them alike. PRECIS (RFC 8265), the successor, is
not here: SCRAM is defined by SASLprep (RFC 5802 §2.2), and the two agree on almost everything that is typed.
"""

from __future__ import annotations

import stringprep
from unicodedata import ucd_3_2_0

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class Unprepared(ValueError):
    """A text that has no prepared form; says which kind of character is in it, never which."""


def prepare(text: str, *, stored: bool = False) -> str:
    """The prepared form of a name or pass-phrase, which may be empty. `stored` is stricter. Raises Unprepared."""
    if text.isascii():
        if not text.isprintable():
            raise Unprepared("a control character")
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibits(char) for char in prepared for prohibits in _PROHIBITED):
        raise Unprepared("a character that cannot be typed or compared")
    if stored and any(stringprep.in_table_a1(char) for char in prepared):
        raise Unprepared("a character that not all programs treat alike")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 §6: right to left throughout, or not at all."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return
    mixed = any(stringprep.in_table_d2(char) for char in text)
    if mixed or not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise Unprepared("a mix of writing directions")
