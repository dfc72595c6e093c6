"""TLS over memory buffers: the part between a `Stream` and the library.

How it works. pyOpenSSL's `Connection` has two memory buffers: what came from the peer is written into one,
and what is to go to the peer is read from the other. A `TlsPump` feeds and drains them and knows nothing of
sockets. During the handshake the stream's coroutine drives it (`Handshake`); afterwards `decrypt` is
called from the reader callback and `encrypt` from `write`.

Why these sizes. A memory buffer never shrinks, so a single large feed would stay allocated as long as the
connection: at most 4 KiB are fed before the session is established, 16 KiB after, and each feed is
drained before the next. `encrypt` takes 16 KiB, one full record, at a time for the same reason.

Order. Every octet that the library puts out must reach the peer, in order: one lost read of the output buffer
ends in `bad record mac`. So whoever makes output takes all of it at once. Reading makes output only
for key updates and alerts; it is collected after every feed that was more than one plain record.

Limits. A handshake of 64 KiB of input; the time is the stream's business.
"""

from __future__ import annotations

from OpenSSL import SSL

from gatepost.core.openssl_errors import classic_error
from gatepost.net import openssl_private
from gatepost.net.errors import UNEXPECTED_EOF_TEXT, TlsFailure
from gatepost.net.tls import AlpnRefused, ClientContext, ServerContext, TlsSession, peer_chain

HANDSHAKE_FEED = 4 * 1024
HANDSHAKE_LIMIT = 64 * 1024
FEED = 16 * 1024
RECORD = 16 * 1024  # RFC 8446 §5.1: the largest plaintext of a record
_OUTPUT = RECORD + 4096  # one record with its overhead, and small things before it
_APPLICATION_DATA = 23  # RFC 8446 §5.1
_HEADER = 5
_ALPN_TEXT = "the client asks for a protocol other than SMTP (ALPN)"


def failure_of(error: SSL.Error, *, certificate_requested: bool = False) -> TlsFailure:
    """A library exception as the log shows it: the newest error of the queue, with its number."""
    if isinstance(error, SSL.SysCallError):
        text = UNEXPECTED_EOF_TEXT if error.args[:1] == (-1,) else f"[Errno {error.args[0]}] {error.args[1]}"
        return TlsFailure(text, certificate_requested=certificate_requested)
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if not queue:
        return TlsFailure("TLS protocol error", certificate_requested=certificate_requested)
    library, function, reason = queue[-1]
    number = openssl_private.error_number(library, reason)
    return TlsFailure(
        classic_error(number, library, function, reason), number, certificate_requested=certificate_requested
    )


class TlsPump:
    """An established session. `decrypt` and `encrypt` never raise: a broken session is seen in `failure`."""

    __slots__ = ("_aligned", "_connection", "closed", "failure", "output")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._aligned = False  # the fed octets so far end at the end of a record
        self.closed = False  # the peer's close_notify was read
        self.failure: TlsFailure | None = None
        self.output = b""  # made while reading: to be sent before anything else

    def decrypt(self, data: memoryview) -> bytes:
        """The plaintext of everything that is whole now. Look at `output`, `closed` and `failure` afterwards."""
        size = len(data)
        if self._aligned and _is_one_record(data, size):
            # The usual case, a command or a reply: no second look is needed to know that nothing is left.
            self._connection.bio_write(data)
            try:
                return self._connection.recv(RECORD)
            except SSL.WantReadError:
                self._collect()
                return b""
            except SSL.Error as error:
                self._broken(error)
                return b""
        parts: list[bytes] = []
        for start in range(0, size, FEED):
            self._connection.bio_write(data[start : start + FEED])
            self.drain(parts)
            if self.closed or self.failure is not None:
                break
        self._aligned = _ends_aligned(data, size, self._aligned)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drain(self, parts: list[bytes]) -> None:
        """Take every record that is whole in the buffer, and what the library wants to say about it."""
        recv = self._connection.recv
        try:
            while True:
                parts.append(recv(RECORD))
        except SSL.WantReadError:
            self._collect()
        except SSL.Error as error:
            self._broken(error)

    def encrypt(self, data: bytes) -> bytes:
        """The records for `data`, after all output that is due before them. Empty when the session is broken."""
        connection = self._connection
        try:
            if len(data) <= RECORD:
                connection.send(data)
                return self._take()
            parts = []
            view = memoryview(data)
            for start in range(0, len(data), RECORD):
                connection.send(view[start : start + RECORD])
                parts.append(self._take())
            return b"".join(parts)
        except SSL.Error as error:
            self.failure = failure_of(error)
            return b""

    def close_notify(self) -> bytes:
        """The alert that ends our direction; empty when the session is broken."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            # Whatever the library minds here, the connection is closed next.
            return b""
        return self._take()

    def _broken(self, error: SSL.Error) -> None:
        if isinstance(error, SSL.ZeroReturnError):
            self.closed = True
        else:
            self.failure = failure_of(error)
        self._collect()

    def _collect(self) -> None:
        self.output += self._take()

    def _take(self) -> bytes:
        return take_output(self._connection)


class Handshake:
    """One handshake, driven step by step by the stream's coroutine."""

    __slots__ = ("_asked", "_fed", "_sni", "connection")

    def __init__(self, context: ServerContext | ClientContext, sni: str) -> None:
        self.connection = context.connection(sni)
        self._sni = sni
        self._fed = 0
        self._asked = False
        if isinstance(context, ClientContext) and context.offers_certificate:
            self.connection.set_info_callback(self._watch)

    def step(self) -> bool:
        """Go on with what was fed. True: established. Raises TlsFailure; output may be due in any case."""
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        except AlpnRefused:
            raise TlsFailure(_ALPN_TEXT) from None
        except SSL.Error as error:
            raise self.failure(error) from None
        return True

    def feed(self, data: bytes) -> None:
        """At most HANDSHAKE_FEED octets. Raises TlsFailure when the peer sends more than a handshake needs."""
        self._fed += len(data)
        if self._fed > HANDSHAKE_LIMIT:
            raise TlsFailure(f"handshake of more than {HANDSHAKE_LIMIT} octets")
        self.connection.bio_write(data)

    def failure(self, error: SSL.Error) -> TlsFailure:
        return failure_of(error, certificate_requested=self._asked)

    def session(self) -> TlsSession:
        """What was negotiated; call it when `step` returned True."""
        connection = self.connection
        sni = self._sni or (connection.get_servername() or b"").decode("ascii", "backslashreplace")
        return TlsSession(
            protocol=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            group=_group(connection),
            sni=sni,
            peer_chain=peer_chain(connection),
            certificate_requested=self._asked,
        )

    def _watch(self, connection: SSL.Connection, where: int, result: int) -> None:
        """The library's own account of its steps is the only public sign that our certificate was asked for."""
        if not self._asked and b"certificate request" in connection.get_state_string():
            self._asked = True


def take_output(connection: SSL.Connection) -> bytes:
    """Everything that waits to be sent to the peer."""
    try:
        piece = connection.bio_read(_OUTPUT)
    except SSL.WantReadError:
        return b""
    if len(piece) < _OUTPUT:
        return piece
    return piece + take_output(connection)


def _group(connection: SSL.Connection) -> str:
    try:
        return connection.get_group_name() or ""
    except NotImplementedError:  # built against a library without the call
        return ""


def _is_one_record(data: memoryview, size: int) -> bool:
    return size > _HEADER and data[0] == _APPLICATION_DATA and (data[3] << 8 | data[4]) == size - _HEADER


def _ends_aligned(data: memoryview, size: int, aligned: bool) -> bool:
    """Whether the records of `data` end with it. Once out of step, False until the buffer is known to be empty."""
    if not aligned:
        return False
    position = 0
    while position + _HEADER <= size:
        position += _HEADER + (data[position + 3] << 8 | data[position + 4])
    return position == size
