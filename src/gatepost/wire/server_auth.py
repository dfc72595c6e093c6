"""The dialogue behind AUTH: its lines, in base64, around one machine of `sasl` (RFC 4954 §4).

The engine knows only that a dialogue runs and that the next line is not a command; `AuthDialogue` knows what the line means. It gives the machine's
steps, and raises `AuthFault` with the reply where the exchange is over: the client cancelled (`*`), a line is not base64 or too long, the
mechanism is not there, or what came proves nothing.
"""

from __future__ import annotations

from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Collection

from gatepost.core.reply import Reply
from gatepost.wire.sasl import Challenge, Login, Machine, Plain, SaslFault, Scram, Step
from gatepost.wire.scram import ScramVerifier

PLAIN, LOGIN, SCRAM_SHA_256 = MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256")
MAX_RESPONSE = 12_288  # octets of a line with its CRLF, RFC 4954 §4

SUCCESS = Reply(235, "2.7.0", ("Authentication successful",))
REQUIRED = Reply(530, "5.7.0", ("Authentication required",))
INVALID = Reply(535, "5.7.8", ("Authentication credentials invalid",))
TEMPORARY = Reply(454, "4.7.0", ("Temporary authentication failure, please try again later",))
TOO_MANY_FAILURES = Reply(421, "4.7.0", ("Too many failed attempts, closing connection",))
ALREADY = Reply(503, "5.5.1", ("Already authenticated",))
UNKNOWN = Reply(504, "5.5.4", ("Authentication mechanism not offered",))
CANCELLED = Reply(501, "5.7.0", ("Authentication cancelled",))
MALFORMED = Reply(501, "5.5.2", ("Cannot read the authentication response",))
TOO_LONG = Reply(500, "5.5.6", ("Authentication response too long",))


class AuthFault(Exception):
    """The exchange is over. `failed`: somebody tried to prove who he is, and did not."""

    def __init__(self, reply: Reply, reason: str, *, failed: bool = False) -> None:
        super().__init__(reason)
        self.reply = reply
        self.reason = reason
        self.failed = failed


class AuthDialogue:
    """One exchange. `nonce` is fresh and random; only SCRAM uses it."""

    __slots__ = ("_machine", "mechanism")

    def __init__(self, mechanism: str, offered: Collection[str], nonce: str) -> None:
        if mechanism not in offered:
            raise AuthFault(UNKNOWN, "mechanism not offered")
        self.mechanism = mechanism
        self._machine: Machine = _machine(mechanism, nonce)

    @property
    def user(self) -> str:
        """Who it is about, as far as that was said; not proven."""
        return self._machine.user

    def begin(self, initial: bytes | None) -> Step:
        """The initial response of the command: None without one, `=` for an empty one. Raises AuthFault."""
        if initial is None:
            return self._respond(None)
        return self._respond(b"" if initial == b"=" else _decoded(initial))

    def line(self, line: bytes) -> Step:
        """The client's answer to a challenge. Raises AuthFault."""
        if line == b"*":
            raise AuthFault(CANCELLED, "cancelled by the client")
        return self._respond(_decoded(line))

    def known(self, verifier: ScramVerifier) -> Step:
        """The answer to `LookUp`."""
        assert isinstance(self._machine, Scram)
        return self._machine.known(verifier)

    def check(self) -> Step:
        """The answer to `CheckProof`. Raises AuthFault for a wrong proof."""
        assert isinstance(self._machine, Scram)
        try:
            return self._machine.check()
        except SaslFault as fault:
            raise _over(fault) from None

    def _respond(self, data: bytes | None) -> Step:
        try:
            return self._machine.respond(data)
        except SaslFault as fault:
            raise _over(fault) from None


def challenge_reply(challenge: Challenge) -> Reply:
    """The 334 that carries a challenge."""
    return Reply(334, "", (b64encode(challenge.data).decode("ascii"),))


def _machine(mechanism: str, nonce: str) -> Machine:
    match mechanism:
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case _:
            return Scram(nonce)


def _decoded(line: bytes) -> bytes:
    """Strict base64: only its alphabet, whole groups, and no other writing of the same octets."""
    try:
        data = a2b_base64(line, strict_mode=True)
    except Error:
        raise AuthFault(MALFORMED, "not base64") from None
    if b64encode(data) != line:
        raise AuthFault(MALFORMED, "not base64")
    return data


def _over(fault: SaslFault) -> AuthFault:
    if fault.malformed:
        return AuthFault(MALFORMED, fault.reason)
    return AuthFault(INVALID, fault.reason, failed=True)
