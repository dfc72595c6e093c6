"""The little of DER that a look into a file needs, before or beside the real parser: elements with definite lengths.

Reading checks that every element ends inside its parent and nothing else; writing makes the shortest form.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.pki.errors import PkiError

SEQUENCE, INTEGER, OCTETS, OID, NULL, CONTENT = 0x30, 0x02, 0x04, 0x06, 0x05, 0xA0


class MalformedDer(PkiError):
    """Not DER, or cut off. The text is for a log; whoever asked knows better what it was to be."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag (low tag numbers only), what it holds, and all of it."""

    tag: int
    body: bytes
    raw: bytes

    def inside(self, tag: int, count: int | None = None) -> list[Element]:
        """The elements that this one, with this tag, holds; exactly `count` where given."""
        if self.tag != tag:
            raise MalformedDer("another element was expected")
        return elements(self.body, count)


def elements(data: bytes, count: int | None = None) -> list[Element]:
    """All elements of `data`, one behind the other; exactly `count` where given. Raises MalformedDer."""
    found, start = [], 0
    while start < len(data):
        body, end = extent(data, start)
        if end > len(data):
            raise MalformedDer("an element is cut off")
        found.append(Element(data[start], data[body:end], data[start:end]))
        start = end
    if count is not None and len(found) != count:
        raise MalformedDer("another number of elements was expected")
    return found


def extent(data: bytes, start: int = 0) -> tuple[int, int]:
    """Where the content of the element at `start` begins and where it should end, even when the data end before."""
    if start + 2 > len(data) or data[start] & 0x1F == 0x1F or data[start + 1] == 0x80:
        raise MalformedDer("not an element of DER")
    length, body = data[start + 1], start + 2
    if length > 0x80:
        size = length & 0x7F
        if size > 4 or body + size > len(data):
            raise MalformedDer("not an element of DER")
        length = int.from_bytes(data[body : body + size], "big")
        body += size
    return body, body + length


def tlv(tag: int, content: bytes) -> bytes:
    """One element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of whole elements."""
    return tlv(SEQUENCE, b"".join(parts))


def integer(value: int) -> bytes:
    """An INTEGER that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))
