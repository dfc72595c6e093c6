"""A message as DKIM sees it: its fields with every octet that they came with, in their order, and its body (RFC 6376 §3.4, §3.7).

What is signed is octets, and whoever reads the message afterwards must see the same fields in them. So a message that readers take in
different ways is refused here: with line ends that are not all CR LF, or with a line in its header that is no field. A file whose lines all
end in LF alone is read as if they ended in CR LF, since that is how mail is kept in files.

Limits. A header of 1 MiB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEADER = 1 << 20
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_LINE = re.compile(rb"\r\n(?![ \t])")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{1,63}", re.ASCII)
_WORDS = r"(?:[^\"<>@,;:()\\]|\"(?:[^\"\\]|\\.)*\")*"
_AUTHOR = re.compile(rf"{_WORDS}<[^<>@\s]+@([^<>@\s]+)>\s*|\s*[^<>@\s,;:()\"]+@([^<>@\s,;:()\"]+)\s*")


class MessageFault(ValueError):
    """A message that no signature can be checked on; the text says why, as a sentence's end."""


@dataclass(frozen=True, slots=True)
class RawField:
    """One field of a header. `name` is in lower case, `raw` the whole of it with its folds and its line end."""

    name: str
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, on one line and without the line end."""
        return _FOLD.sub(b"", self.raw.partition(b":")[2]).removesuffix(b"\r\n")


@dataclass(frozen=True, slots=True)
class Parts:
    """A message in its parts."""

    fields: tuple[RawField, ...]
    body: bytes

    def texts(self, name: str) -> list[str]:
        """The values of all fields of a name (in lower case), from the top; octets that are no ASCII as Latin-1."""
        return [field.value.decode("latin-1").strip() for field in self.fields if field.name == name]


def split_message(data: bytes) -> Parts:
    """Raises MessageFault."""
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    ends = data.count(b"\r\n")
    if data.count(b"\r") != ends or data.count(b"\n") != ends:
        raise MessageFault("its lines do not all end in CR LF")
    header, _, body = data.partition(b"\r\n\r\n")
    if len(header) > MAX_HEADER:
        raise MessageFault(f"its header is longer than {MAX_HEADER >> 20} MiB")
    fields = []
    for line in _LINE.split(header.removesuffix(b"\r\n")):
        found = _FIELD.match(line)
        if found is None:
            raise MessageFault("a line of its header is no field")
        fields.append(RawField(found[1].decode("ascii").lower(), line + b"\r\n"))
    return Parts(tuple(fields), body)


def author_domain(parts: Parts) -> str:
    """The domain of the one address in the one From field; empty where there is another number of either, or what is no domain."""
    values = parts.texts("from")
    if len(values) != 1:
        return ""
    found = _AUTHOR.fullmatch(values[0])
    return domain_of(found[1] or found[2]) if found is not None else ""


def domain_of(text: str) -> str:
    """A text that is a domain name, in lower case; empty for any other text, such as the name of a company."""
    text = text.strip().removesuffix(".")
    return text.lower() if len(text) <= 253 and _DOMAIN.fullmatch(text) else ""
