"""Where TLS records end, read from their headers (RFC 8446 §5.1: type, version, length).

The headers of TLS are never encrypted. Knowing how many records are whole tells how often the library must be
asked for plaintext: asking once too often costs an exception, which is more than a small record
itself. Nothing is decided here about what the records hold; a header that cannot be one is left to
the library, which says what is wrong with it.
"""

from __future__ import annotations

HEADER = 5
MAX_RECORD = HEADER + 16 * 1024 + 2048  # RFC 5246 §6.2.3 allows more than RFC 8446 §5.2
CHANGE_CIPHER_SPEC = 20
_FIRST, _LAST = CHANGE_CIPHER_SPEC, 24  # the types of records, to heartbeat


def record_size(data: memoryview | bytes, position: int) -> int:
    """Header included. 0: the header is not whole yet. -1: no record begins like this."""
    if len(data) - position < HEADER:
        return 0 if position >= len(data) or _FIRST <= data[position] <= _LAST else -1
    size = HEADER + (data[position + 3] << 8 | data[position + 4])
    return size if size <= MAX_RECORD and _FIRST <= data[position] <= _LAST else -1


def whole_records(data: memoryview | bytes, position: int, limit: int) -> tuple[int, int]:
    """`(end, count)` of the whole records from `position` on: as many as fit into `limit` octets, at least one.

    `(position, 0)` when not even one is whole, or what is there is no record.
    """
    available = len(data)
    end, count = position, 0
    while True:
        size = record_size(data, end)
        following = end + size
        if size <= 0 or following > available or (count and following - position > limit):
            return end, count
        end, count = following, count + 1
