"""The server's side of PLAIN, LOGIN and SCRAM-SHA-256 as machines without I/O.

A machine takes the client's octets (`respond`, base64 is already gone) and gives the next step: a `Challenge` to send, a question to whoever knows the
users (`CheckPassphrase`, `LookUp`, `CheckProof`), or `Proven`. It decides nothing about users, and it never says more than `SaslFault`, whose reason is for
the log.

Whoever asks for another identity than the one it proves (an authzid that differs) is refused: nobody sends for others here.
Names and pass-phrases come out prepared (`saslprep`); what cannot be prepared fits nobody. All lengths are bounded.

Channel binding (SCRAM-SHA-256-PLUS) is not offered: the client's `n` and `y` are both taken, `p` is refused.

Sources: RFC 4616 (PLAIN); draft-murchison-sasl-login (LOGIN, which no RFC defines); RFC 5802 §5 to §7 and RFC 7677 (SCRAM).
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gatepost.wire.saslprep import Unprepared, prepare
from gatepost.wire.scram import ScramVerifier

MAX_TEXT = 1_024  # octets of a name or a pass-phrase; RFC 4616 §2 asks for 255
MAX_NONCE = 256
WRONG = "wrong pass-phrase"  # why a try fails; all other reasons are no tries
USER_PROMPT, PASSPHRASE_PROMPT = b"Username:", b"Password:"  # what clients of LOGIN look for

_NONCE = re.compile(r"[!-+\--~]{1,256}")  # printable ASCII without the comma
_ESCAPES = re.compile(r"=(?!2C|3D)")
_FIRST = re.compile(r"([ny]),(?:a=([^,]+))?,((?:m=[^,]*,)?n=([^,]+),r=([^,]+)(?:,.*)?)", re.DOTALL)
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,[^p][^,]*)*),p=([A-Za-z0-9+/=]+)", re.DOTALL)


class SaslFault(Exception):
    """The exchange is over. `malformed`: it is no exchange of this mechanism at all; else it is one that proves nothing."""

    def __init__(self, reason: str, *, malformed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.malformed = malformed


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this, and give the client's answer to `respond`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckPassphrase:
    """Is this the user's pass-phrase? If so the exchange has succeeded."""

    user: str
    passphrase: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookUp:
    """What is kept of this user's pass-phrase? Give it to `Scram.known`; one of nobody for a user that does not exist."""

    user: str


@dataclass(frozen=True, slots=True)
class CheckProof:
    """The client has sent its proof: `Scram.check` says what it is worth, when it may be tried."""

    user: str


@dataclass(frozen=True, slots=True)
class Proven:
    """The exchange has succeeded."""

    user: str


Step = Challenge | CheckPassphrase | LookUp | CheckProof | Proven


class Machine(Protocol):
    """One exchange."""

    user: str  # as far as it is known; not proven

    def respond(self, data: bytes | None) -> Step:
        """The client's initial response (None where it sent none), then its answers. Raises SaslFault."""
        ...


class Plain:
    """RFC 4616: one message, `authzid NUL authcid NUL passphrase`."""

    def __init__(self) -> None:
        self.user = ""

    def respond(self, data: bytes | None) -> Step:
        if data is None:
            return Challenge(b"")
        parts = data.split(b"\0")
        if len(parts) != 3:
            raise SaslFault("PLAIN has three parts", malformed=True)
        authzid, user, passphrase = parts
        self.user = _name(user)
        return _checked(self.user, authzid, passphrase)


class Login:
    """The older way to say the same in two lines; the first may come with the command."""

    def __init__(self) -> None:
        self.user = ""
        self._asked = False

    def respond(self, data: bytes | None) -> Step:
        if data is None:
            return Challenge(USER_PROMPT)
        if not self._asked:
            self._asked = True
            self.user = _name(data)
            return Challenge(PASSPHRASE_PROMPT)
        return _checked(self.user, b"", data)


class Scram:
    """RFC 5802 §5: four messages and an empty one. `nonce` is the server's, fresh and random."""

    def __init__(self, nonce: str) -> None:
        self.user = ""
        self._nonce = nonce
        self._next: Callable[[bytes], Step] = self._first
        self._bare = self._header = self._server_first = ""
        self._message = self._proof = b""
        self._verifier: ScramVerifier | None = None

    def respond(self, data: bytes | None) -> Step:
        return Challenge(b"") if data is None else self._next(data)

    def known(self, verifier: ScramVerifier) -> Step:
        """The answer to `LookUp`."""
        self._verifier = verifier
        salt = b64encode(verifier.salt).decode("ascii")
        self._server_first = f"r={self._nonce},s={salt},i={verifier.iterations}"
        self._next = self._final
        return Challenge(self._server_first.encode())

    def check(self) -> Step:
        """The answer to `CheckProof`. Raises SaslFault for a wrong one."""
        assert self._verifier is not None
        if not self._verifier.proves(self._message, self._proof):
            raise SaslFault(WRONG)
        self._next = self._done
        return Challenge(b"v=" + b64encode(self._verifier.signature(self._message)))

    def _first(self, data: bytes) -> Step:
        text = _decoded(data)
        found = _FIRST.fullmatch(text)
        if found is None:
            why = "asks for channel binding" if text.startswith("p=") else "is none of SCRAM"
            raise SaslFault(f"the client's first message {why}", malformed=True)
        _, authzid, self._bare, name, nonce = found.groups()
        if self._bare.startswith("m="):
            raise SaslFault("the client wants an extension that is not known", malformed=True)
        if _NONCE.fullmatch(nonce) is None:
            raise SaslFault("the client's nonce is none", malformed=True)
        self._header = text[: len(text) - len(self._bare)]
        self.user = _name(_unescaped(name).encode("utf-8"))
        if authzid is not None and _prepared(_unescaped(authzid)) != self.user:
            raise SaslFault("asks for another identity")
        self._nonce = nonce + self._nonce
        return LookUp(self.user)

    def _final(self, data: bytes) -> Step:
        found = _FINAL.fullmatch(_decoded(data))
        if found is None:
            raise SaslFault("the client's final message is none of SCRAM", malformed=True)
        without_proof, binding, nonce, proof = found.groups()
        try:
            header, self._proof = a2b_base64(binding, strict_mode=True), a2b_base64(proof, strict_mode=True)
        except Error:
            raise SaslFault("the client's final message is not base64", malformed=True) from None
        if header != self._header.encode("utf-8") or nonce != self._nonce:
            raise SaslFault("nonce or channel binding differ from the first message", malformed=True)
        self._message = f"{self._bare},{self._server_first},{without_proof}".encode()
        return CheckProof(self.user)

    def _done(self, data: bytes) -> Step:
        """The client has seen our signature; in SMTP it says so with an empty line (RFC 4954 §4)."""
        if data:
            raise SaslFault("an answer where none was asked", malformed=True)
        return Proven(self.user)


def _checked(user: str, authzid: bytes, passphrase: bytes) -> Step:
    if authzid and _prepared(_text(authzid)) != user:
        raise SaslFault("asks for another identity")
    if not passphrase:
        raise SaslFault("the pass-phrase is empty")
    return CheckPassphrase(user, _prepared(_text(passphrase)))


def _name(data: bytes) -> str:
    name = _prepared(_text(data))
    if not name:
        raise SaslFault("the name is empty")
    return name


def _text(data: bytes) -> str:
    if len(data) > MAX_TEXT:
        raise SaslFault("a name or pass-phrase is too long")
    return _decoded(data)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslFault("not UTF-8", malformed=True) from None


def _prepared(text: str) -> str:
    try:
        return prepare(text)
    except Unprepared as why:
        raise SaslFault(f"a name or pass-phrase with {why}") from None


def _unescaped(name: str) -> str:
    """`=2C` and `=3D` of a name in SCRAM (RFC 5802 §5.1)."""
    if _ESCAPES.search(name) is not None:
        raise SaslFault("the name in the client's first message is not escaped", malformed=True)
    return name.replace("=2C", ",").replace("=3D", "=")
