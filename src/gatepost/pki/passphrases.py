"""Is a pass-phrase good enough to protect an exported key (R9, C41)?

An exported file leaves the house, and whoever finds it may try pass-phrases for years. So at least twelve
characters are asked for, and they must be worth something: what a guessing program tries first (common words and
their variants, years, neighbouring keys, repetitions) counts as little. The rules are a floor, not a measure: they
refuse what is surely weak and promise nothing of the rest.

How it counts: a character is worth 1; one that equals its forerunner, or is its neighbour in the alphabet, among the
digits or on a keyboard, is worth nothing; a common word is worth 2 and a year 1, however long they are.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from gatepost.pki.errors import PkiError

MIN_LENGTH = 12
MAX_LENGTH = 1024
MIN_WORTH = 8
MIN_DIFFERENT = 5

_HINT = "for example four or five words that have nothing to do with each other"
_ROWS = (
    *("1234567890", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "qsdfghjklm"),
    *("zxcvbnm", "yxcvbnm", "wxcvbn", "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm"),
)
_NEIGHBOURS = frozenset(pair for row in _ROWS for a, b in pairwise(row) for pair in (a + b, b + a))
_LETTERS = str.maketrans("013457@$!", "oieastasi")  # what people write for a letter
_YEAR = re.compile(r"(?:19|20)[0-9]{2}")
_COMMON = (  # a word stands before the beginnings of it that are words themselves
    "password passwort passwd passphrase kennwort motdepasse contrasena parola secret geheim segreto letmein "
    "welcome willkommen benvenuto hello changeit changeme default temporary testing test administrator admin root "
    "user guest login master access private public export import backup server mail email gateway gatepost "
    "certificate zertifikat certificato cert pkcs openssl security sicherheit company firma azienda internet "
    "computer example beispiel monkey dragon football baseball soccer sunshine princess superman batman starwars "
    "pokemon iloveyou trustno shadow michael jordan whatever freedom cheese qwerty qwertz azerty spring summer "
    "autumn winter fruehling sommer herbst january february march april august september october november december "
    "monday friday sunday correcthorsebatterystaple"
)
_WORD = re.compile(_COMMON.replace(" ", "|"))


def require_strong(passphrase: str) -> None:
    """Raises PkiError that says what is wrong, when a guessing program would soon be through. Says nothing of its content."""
    if len(passphrase) < MIN_LENGTH:
        raise PkiError(
            f"the pass-phrase has {len(passphrase)} characters", f"at least {MIN_LENGTH} are needed; {_HINT}"
        )
    if len(passphrase) > MAX_LENGTH:
        raise PkiError(f"the pass-phrase is longer than {MAX_LENGTH} characters", "no program asks for more")
    if not passphrase.isprintable():
        raise PkiError(
            "the pass-phrase holds a character that does not print",
            "use letters, digits, signs and blanks; others cannot be typed everywhere",
        )
    folded = unicodedata.normalize("NFKC", passphrase).casefold()
    if _repeats(folded) or len(set(folded)) < MIN_DIFFERENT:
        raise PkiError("the pass-phrase repeats itself", _HINT)
    joined = re.sub(r"[\s._-]+", "", folded)
    if _worth(joined) < MIN_WORTH:
        raise PkiError("the pass-phrase is a row of neighbouring keys or characters", _HINT)
    if _worth(_without_common(joined)) < MIN_WORTH:
        raise PkiError("the pass-phrase is a common one: common words or years, and little else", _HINT)


def _repeats(text: str) -> bool:
    """The text is one piece, at most half as long, again and again."""
    return any((text[:size] * len(text)).startswith(text) for size in range(1, len(text) // 2 + 1))


def _worth(text: str) -> int:
    """How many characters are no mere continuation of the one before."""
    return sum(not _continues(before, char) for before, char in pairwise(("", *text)))


def _continues(before: str, char: str) -> bool:
    return bool(before) and (abs(ord(char) - ord(before)) <= 1 or before + char in _NEIGHBOURS)


def _without_common(text: str) -> str:
    """Common words and years become marks that are worth 2 and 1."""
    marked = _YEAR.sub("\N{PILCROW SIGN}", text)
    return _WORD.sub("\N{PILCROW SIGN}\N{SECTION SIGN}", marked.translate(_LETTERS))
