"""What goes wrong with a file or a value of this room."""

from __future__ import annotations


class PkiError(ValueError):
    """A file or certificate that cannot be used: one sentence, and what to do about it. Holds no secret."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class MalformedCertificate(PkiError):
    """Bytes that are no readable X.509 certificate."""


class PassphraseNeeded(PkiError):
    """The file is encrypted and no pass-phrase was given."""


class WrongPassphrase(PkiError):
    """The pass-phrase does not open the file."""
