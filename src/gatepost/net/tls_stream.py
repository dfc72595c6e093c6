"""TLS over memory buffers: the part between a `Stream` and the library.

How it works. pyOpenSSL's `Connection` has two memory buffers: what came from the peer is written into one,
and what is to go to the peer is read from the other. A `TlsPump` feeds and drains them and knows nothing of
sockets. During the handshake the stream's coroutine drives it (`Handshake`); afterwards `decrypt` is
called from the reader callback and `encrypt` from `write`.

Why these sizes. A memory buffer never shrinks, so a single large feed would stay allocated as long as the
connection: at most 4 KiB are fed before the session is established, and whole records of 16 KiB together
(or a single one) after, each feed drained before the next. `encrypt` takes one full record at a time for
the same reason. The beginning of a record that is not whole waits here, not in the library.

Why records are counted. To learn that nothing is left, the library must be asked once more, and says so by an
exception that costs more than a small record. Their headers tell beforehand (`tls_records`).

Order. Every octet that the library puts out must reach the peer, in order: one lost read of the output buffer
ends in `bad record mac`. So whoever makes output takes all of it at once. Reading makes output only for
records that are not plain data (key updates, alerts), and those show by giving no plaintext.

Limits. A handshake of 64 KiB of input; the time is the stream's business.
"""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL

from gatepost.core.openssl_errors import classic_error
from gatepost.net import openssl_private
from gatepost.net.errors import UNEXPECTED_EOF_TEXT, TlsFailure, system_error_text
from gatepost.net.tls import AlpnRefused, ClientContext, ServerContext, TlsSession, peer_chain
from gatepost.net.tls_records import CHANGE_CIPHER_SPEC, HEADER, record_size, whole_records

HANDSHAKE_FEED = 4 * 1024
HANDSHAKE_LIMIT = 64 * 1024
FEED = 16 * 1024
RECORD = 16 * 1024  # RFC 8446 §5.1: the largest plaintext of a record
_OUTPUT = RECORD + 4096  # one record with its overhead, and small things before it
NO_RECORD_TEXT = "what came is not TLS"
_ALPN_TEXT = "the client asks for a protocol other than SMTP (ALPN)"


def failure_of(error: SSL.Error, *, certificate_requested: bool = False) -> TlsFailure:
    """A library exception as the log shows it, with its number: the first error that TLS itself reports.

    The queue begins with the cause (`decryption failed or bad record mac`) and ends with who noticed it last.
    """
    if isinstance(error, SSL.SysCallError):
        text = UNEXPECTED_EOF_TEXT if error.args[:1] == (-1,) else system_error_text(OSError(*error.args))
        return TlsFailure(text, certificate_requested=certificate_requested)
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if not queue:
        return TlsFailure("TLS protocol error", certificate_requested=certificate_requested)
    library, function, reason = next((error for error in queue if error[0] == "SSL routines"), queue[0])
    number = openssl_private.error_number(library, reason)
    return TlsFailure(
        classic_error(number, library, function, reason), number, certificate_requested=certificate_requested
    )


class TlsPump:
    """An established session. `decrypt` and `encrypt` never raise: a broken session is seen in `failure`."""

    __slots__ = ("_connection", "_tail", "closed", "failure", "output")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._tail = b""  # the beginning of a record whose end has not come yet
        self.closed = False  # the peer's close_notify was read
        self.failure: TlsFailure | None = None
        self.output = b""  # made while reading: to be sent before anything else

    def decrypt(self, data: memoryview) -> bytes:
        """The plaintext of all records that are whole now. Look at `output`, `closed` and `failure` afterwards."""
        size = len(data)
        parts: list[bytes] = []
        position = 0
        if self._tail:
            position = self._finish_tail(data, parts)
        elif size == record_size(data, 0):
            # A command or a reply, as a rule: one record.
            self._connection.bio_write(data)
            self.read(1, parts)
            return parts[0] if parts else b""
        while position < size and not self.closed and self.failure is None:
            end, count = whole_records(data, position, FEED)
            if not count:
                if record_size(data, position) < 0:
                    self._feed_faulty(data[position:], parts)
                else:
                    self._tail = bytes(data[position:])
                break
            self._connection.bio_write(data[position:end])
            self.read(count, parts)
            position = end
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read(self, count: int, parts: list[bytes]) -> None:
        """Take the plaintext of `count` records that are whole in the library's buffer."""
        recv = self._connection.recv
        try:
            for _ in range(count):
                parts.append(recv(RECORD))
        except SSL.WantReadError:
            # A record was not plain data (a key update, a ticket): the library may have something to say.
            self.output += take_output(self._connection)
        except SSL.ZeroReturnError:
            self.closed = True
            self.output += take_output(self._connection)
        except SSL.Error as error:
            self.failure = failure_of(error)
            self.output += take_output(self._connection)

    def encrypt(self, data: bytes) -> bytes:
        """The records for `data`, after all output that is due before them. Empty when the session is broken."""
        connection = self._connection
        try:
            if len(data) <= RECORD:
                connection.send(data)
                return take_output(connection)
            parts = []
            view = memoryview(data)
            for start in range(0, len(data), RECORD):
                connection.send(view[start : start + RECORD])
                parts.append(take_output(connection))
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
        return take_output(self._connection)

    def _finish_tail(self, data: memoryview, parts: list[bytes]) -> int:
        """Complete the record that was begun; returns how much of `data` went into it."""
        position = 0
        if len(self._tail) < HEADER:
            position = min(HEADER - len(self._tail), len(data))
            self._tail += data[:position]
        size = record_size(self._tail, 0)
        missing = size - len(self._tail)
        if size == 0 or len(data) - position < missing:
            self._tail += data[position:]
            return len(data)
        tail, self._tail = self._tail, b""
        if size < 0:
            self._feed_faulty(memoryview(tail), parts)
            return len(data)
        self._connection.bio_write(tail)
        if missing:
            self._connection.bio_write(data[position : position + missing])
        self.read(1, parts)
        return position + missing

    def _feed_faulty(self, data: memoryview, parts: list[bytes]) -> None:
        """Let the library say what is wrong with octets that are no record."""
        self._connection.bio_write(data[:FEED])
        self.read(FEED, parts)
        if self.failure is None:
            self.failure = TlsFailure(NO_RECORD_TEXT)


class Handshake:
    """One handshake, driven step by step by the stream's coroutine."""

    __slots__ = ("_asked", "_chain_wanted", "_fed", "_left", "_sni", "connection", "server")

    def __init__(self, context: ServerContext | ClientContext, sni: str) -> None:
        self.connection = context.connection(sni)
        self._sni = sni
        self._fed = 0
        self._left = 0  # octets of a large record that are still to come
        self._asked: list[bool] = []
        self.server = isinstance(context, ServerContext)
        self._chain_wanted = True
        if isinstance(context, ServerContext):
            self._chain_wanted = context.requests_certificate
        elif context.offers_certificate:
            self.connection.set_info_callback(_watcher(self._asked))

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

    def piece(self, data: bytes) -> int:
        """How much of `data` to feed next: whole records, or a part of a large one; at most 4 KiB; 0: wait.

        A server feeds one record at a time, or two of which the first is a change_cipher_spec: so nothing is
        left in the library when a client is done, whose next record may follow at once. A client feeds what
        has come, since a server's answer has many records, and asks for what is left.
        """
        if self._left:
            return min(self._left, len(data), HANDSHAKE_FEED)
        size = record_size(data, 0)
        if size < 0 or size > HANDSHAKE_FEED:
            return min(len(data), HANDSHAKE_FEED)
        if size == 0 or size > len(data):
            return 0
        if not self.server:
            return whole_records(data, 0, HANDSHAKE_FEED)[0]
        if data[0] == CHANGE_CIPHER_SPEC:
            following = record_size(data, size)
            if 0 < following <= min(len(data), HANDSHAKE_FEED) - size:
                return size + following
        return size

    def feed(self, data: bytes) -> None:
        """Feed one piece. Raises TlsFailure when the peer sends more than a handshake needs."""
        self._fed += len(data)
        if self._fed > HANDSHAKE_LIMIT:
            raise TlsFailure(f"handshake of more than {HANDSHAKE_LIMIT} octets")
        if self._left:
            self._left -= len(data)
        else:
            self._left = max(0, record_size(data, 0) - len(data))  # feeding a part of one record
        self.connection.bio_write(data)

    @property
    def only_tickets_left(self) -> bool:
        """Once established, a TLS 1.3 server owes nothing but tickets: they go with its next octets, in one send."""
        return self.server and self.connection.get_protocol_version() == SSL.TLS1_3_VERSION

    @property
    def certificate_requested(self) -> bool:
        """A server has asked for our certificate so far."""
        return bool(self._asked)

    def failure(self, error: SSL.Error) -> TlsFailure:
        return failure_of(error, certificate_requested=bool(self._asked))

    def session(self) -> TlsSession:
        """What was negotiated; call it when `step` returned True."""
        connection = self.connection
        sni = self._sni or (connection.get_servername() or b"").decode("ascii", "backslashreplace")
        return TlsSession(
            protocol=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            group=_group(connection),
            sni=sni,
            peer_chain=peer_chain(connection) if self._chain_wanted else (),
            certificate_requested=bool(self._asked),
        )


def _watcher(asked: list[bool]) -> Callable[[SSL.Connection, int, int], None]:
    """Notes in `asked` that our certificate was asked for: the library's account of its steps is the only public sign.

    It holds nothing else: the connection keeps it for life, and must not be kept by it.
    """

    def watch(connection: SSL.Connection, where: int, result: int) -> None:
        if not asked and b"certificate request" in connection.get_state_string():
            asked.append(True)

    return watch


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
