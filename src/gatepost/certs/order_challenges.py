"""How the names of one order are proved: the ports that answer, and the records in the DNS, for as long as it runs."""

from __future__ import annotations

import socket
from typing import Protocol


class Ports(Protocol):
    """Opens the ports on which an authority looks for an answer (`acme.http_port`, `acme.tls_port`)."""

    async def open(self, kind: str, /) -> list[socket.socket]:
        """Listening, non-blocking sockets for `http-01` or `tls-alpn-01`; the caller closes them.

        Raises OperatorError that names the port and the address that cannot be had.
        """
        ...
