"""Lists of tags, as DKIM writes its signatures and the records of its keys: `name=value; name=value` (RFC 6376 §3.2).

The grammar is taken at its word, for what two readers read differently is how a signature comes to mean what nobody signed: a name twice,
an empty place between two semicolons, or an octet that no value may hold makes the whole list unreadable. Names are compared as they are
written. A semicolon at the end is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_TAGS = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e \t]*")
_BLANKS = " \t"


class TagFault(ValueError):
    """A text that is no list of tags; the text says why, as the end of a sentence."""


def read_tags(text: str) -> Mapping[str, str]:
    """Names and values, without the blanks around them. `text` has no folds any more. Raises TagFault."""
    parts = text.split(";")
    if not parts[-1].strip(_BLANKS):
        parts.pop()
    if len(parts) > MAX_TAGS:
        raise TagFault(f"it has more than {MAX_TAGS} tags")
    tags: dict[str, str] = {}
    for part in parts:
        raw, equals, value = part.partition("=")
        name = raw.strip(_BLANKS)
        if not equals or not _NAME.fullmatch(name):
            raise TagFault("it is no list of tags")
        if name in tags:
            raise TagFault(f"the tag {name[:20]}= stands there twice")
        if not _VALUE.fullmatch(value):
            raise TagFault(f"the tag {name[:20]}= holds what no tag may hold")
        tags[name] = value.strip(_BLANKS)
    return tags


def without_blanks(value: str) -> str:
    """A value that may be folded anywhere, such as base64 (RFC 6376 §2.10), as one word."""
    return value.replace(" ", "").replace("\t", "")


def words(value: str) -> tuple[str, ...]:
    """A value that is a list with colons, each word without the blanks around it."""
    return tuple(word.strip(_BLANKS) for word in value.split(":"))
