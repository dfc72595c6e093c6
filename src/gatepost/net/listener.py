"""Accepting connections on an inherited listening socket.

How it works. The supervisor binds and listens; each worker registers the same socket with its loop and takes
one connection per readiness event, so that workers share the load instead of one emptying the queue. The
new socket is non-blocking and goes to `on_connection`, which must not block and must not raise.

Limits. When descriptors or buffers run out (EMFILE, ENFILE, ENOBUFS, ENOMEM) accepting rests for a second
instead of spinning (C27); `on_problem` is told once for every such rest. A connection that its peer gave up
before it was accepted is no problem. `pause` and `resume` are the worker's own valve for too many connections.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from gatepost.net.errors import system_error_text
from gatepost.net.socket_address import SocketAddress, socket_address

BACK_OFF_SECONDS = 1.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# accept(2): errors of the connection, not of the listener; the connection is simply gone.
_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)


class Listener:
    """Accepts on `sock` from `resume` until `pause` or `stop`. It starts paused and owns the socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_connection: Callable[[socket.socket, SocketAddress], None],
        on_problem: Callable[[str], None],
        *,
        back_off: float = BACK_OFF_SECONDS,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_connection = on_connection
        self._on_problem = on_problem
        self._back_off = back_off
        self._wanted = False
        self._watching = False
        self._timer: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        # Accepted sockets inherit it on Linux: replies go out when they are written.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = socket_address(sock.getsockname())

    def resume(self) -> None:
        """Accept from now on."""
        self._wanted = True
        if self._timer is None:
            self._watch()

    def pause(self) -> None:
        """Accept nothing until `resume`; peers wait in the kernel's queue."""
        self._wanted = False
        self._unwatch()

    def stop(self) -> None:
        """Accept nothing any more and close this process's descriptor."""
        self.pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sock.close()

    def _watch(self) -> None:
        if self._wanted and not self._watching:
            self._watching = True
            self._loop.add_reader(self._sock.fileno(), self._accept_one)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._sock.fileno())

    def _accept_one(self) -> None:
        try:
            sock, raw = self._sock.accept()
        except (BlockingIOError, InterruptedError):
            return  # another worker was faster
        except OSError as error:
            if error.errno in _GONE:
                return
            if error.errno not in _EXHAUSTED:
                raise
            self._rest(error)
            return
        sock.setblocking(False)
        self._on_connection(sock, socket_address(raw))

    def _rest(self, error: OSError) -> None:
        self._unwatch()
        self._timer = self._loop.call_later(self._back_off, self._rested)
        self._on_problem(
            f"accepting on {self.address.host} port {self.address.port} rests: {system_error_text(error)}"
        )

    def _rested(self) -> None:
        self._timer = None
        self._watch()
