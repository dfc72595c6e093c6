"""One end of a connection, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """`host` is the text of the address, an IPv4-mapped one as IPv4, without a zone."""

    host: str
    port: int


def socket_address(raw: tuple[str, int] | tuple[str, int, int, int]) -> SocketAddress:
    """The address as the socket module gives it."""
    host = raw[0].partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return SocketAddress(host, raw[1])
