"""The replies that the SMTP server engine gives by itself.

None of them holds text of the peer, so none can carry it back (C24, C25). Codes: RFC 5321 §4.2.3, RFC 3463,
RFC 3207 §4 (530), RFC 2920 §3.1 (554 to DATA without recipients).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from gatepost.core.reply import Reply
from gatepost.wire.server_commands import Effect, ServerSettings

OK = Reply(250, "2.0.0", ("Ok",))
TLS_FIRST = Reply(530, "5.7.0", ("Must issue a STARTTLS command first",))
NOT_IN_CLEAR = Reply(530, "5.7.10", ("REQUIRETLS is for TLS only: issue a STARTTLS command first",))
NO_PROMISE = Reply(555, "5.5.4", ("REQUIRETLS is not offered here",))
SEQUENCE = Reply(503, "5.5.1", ("Bad sequence of commands",))
NO_RECIPIENT = Reply(554, "5.5.1", ("No valid recipients",))
UNKNOWN = Reply(500, "5.5.1", ("Command not recognised",))
NOT_OFFERED = Reply(502, "5.5.1", ("Command not implemented",))
LINE_TOO_LONG = Reply(500, "5.5.2", ("Line too long",))
BAD_LINE = Reply(500, "5.5.2", ("Only CRLF ends a line",))
CONTROL = Reply(501, "5.5.2", ("Control character in command",))
VERIFY = Reply(252, "2.1.5", ("Cannot verify, but will take the message and try",))
HELP = Reply(
    214, "2.0.0", ("EHLO HELO STARTTLS MAIL RCPT DATA BDAT", "RSET NOOP QUIT VRFY HELP; see RFC 5321")
)
TOO_MANY_FAULTS = Reply(421, "4.7.0", ("Too many errors, closing connection",))
TINY_CHUNKS = Reply(421, "4.7.0", ("Too many small chunks, closing connection",))
INJECTION = Reply(554, "5.5.1", ("Octets behind STARTTLS, closing connection",))
EARLY = Reply(554, "5.5.0", ("Data sent before it was asked for, closing connection",))
HTTP = Reply(500, "5.5.1", ("This is SMTP, closing connection",))

FIXED = {Effect.NOOP: OK, Effect.HELP: HELP, Effect.VERIFY: VERIFY}


@lru_cache(maxsize=64)  # a reply remembers its octets: each is encoded once
def greeting(hostname: str, banner: str) -> Reply:
    """The first line of a connection that may speak."""
    return Reply(220, "", (f"{hostname} {banner}",))


@lru_cache(maxsize=64)
def hello(answer: Reply, settings: ServerSettings, *, tls: bool, starttls: bool) -> Reply:
    """The answer to EHLO: the session's own, with what is offered behind it."""
    return Reply(answer.code, "", (*answer.lines, *_extensions(settings, tls=tls, starttls=starttls)))


@lru_cache(maxsize=64)
def closing(hostname: str) -> Reply:
    """The answer to QUIT."""
    return Reply(221, "2.0.0", (f"{hostname} closing connection",))


def _extensions(settings: ServerSettings, *, tls: bool, starttls: bool) -> Iterator[str]:
    """The keywords of EHLO. AUTH and REQUIRETLS are offered inside TLS only (RFC 4954 §4, RFC 8689 §2)."""
    yield from ("PIPELINING", f"SIZE {settings.max_message_size}")
    if starttls and not tls:
        yield "STARTTLS"
    if settings.auth and tls:
        yield f"AUTH {' '.join(settings.auth)}"
    yield from ("ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING")
    if settings.requiretls and tls:
        yield "REQUIRETLS"
