"""What a ClientHello offers, read from its octets (RFC 8446 §4.1.2): for tests of what goes over the wire."""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED_GROUPS, KEY_SHARE, SERVER_NAME = 10, 51, 0
HYBRIDS = frozenset({0x11EB, 0x11EC, 0x11ED, 0x0200, 0x0201, 0x0202})  # with ML-KEM, and ML-KEM alone
X25519, P256, P384 = 0x001D, 0x0017, 0x0018


@dataclass(frozen=True)
class ClientHello:
    """`size` counts what is sent, the headers of its records too."""

    size: int
    groups: tuple[int, ...]
    shares: tuple[int, ...]
    name: str

    @property
    def post_quantum(self) -> set[int]:
        return HYBRIDS & set(self.groups)


def parse_client_hello(sent: bytes) -> ClientHello:
    """The message that stands in the records of `sent`. Raises ValueError for what is none."""
    message, at = b"", 0
    while at < len(sent):
        if sent[at] != 22:
            raise ValueError("not a handshake record")
        size = int.from_bytes(sent[at + 3 : at + 5])
        message += sent[at + 5 : at + 5 + size]
        at += 5 + size
    if at != len(sent) or message[0] != 1 or int.from_bytes(message[1:4]) != len(message) - 4:
        raise ValueError("not one whole ClientHello")
    found = _extensions(message)
    groups = found[SUPPORTED_GROUPS][2:]
    return ClientHello(
        len(sent),
        tuple(int.from_bytes(groups[i : i + 2]) for i in range(0, len(groups), 2)),
        _shares(found[KEY_SHARE][2:]) if KEY_SHARE in found else (),
        found[SERVER_NAME][5:].decode() if SERVER_NAME in found else "",
    )


def _extensions(message: bytes) -> dict[int, bytes]:
    at = 4 + 2 + 32
    at += 1 + message[at]  # the session's id
    at += 2 + int.from_bytes(message[at : at + 2])  # ciphers
    at += 1 + message[at]  # compressions
    end = at + 2 + int.from_bytes(message[at : at + 2])
    at += 2
    found = {}
    while at < end:
        kind, size = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 2 : at + 4])
        found[kind] = message[at + 4 : at + 4 + size]
        at += 4 + size
    if at != len(message):
        raise ValueError("the extensions do not end with the message")
    return found


def _shares(data: bytes) -> tuple[int, ...]:
    found, at = [], 0
    while at < len(data):
        found.append(int.from_bytes(data[at : at + 2]))
        at += 4 + int.from_bytes(data[at + 2 : at + 4])
    return tuple(found)
