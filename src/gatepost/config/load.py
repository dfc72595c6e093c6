"""The written forms of the configuration: YAML and JSON to a document, and a document to YAML and JSON.

Reading raises `ConfigurationError` with every fault of the shape at once; faults of reference are `check`'s, and
`examine` finds both together. Writing leaves out what the document does not set, so that a default stays a
default; `dump` and `load` are inverse to each other.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import orjson
from pydantic import ValidationError

from gatepost.config.faults import causes, problem_of
from gatepost.config.locations import shown_path
from gatepost.config.model import Document
from gatepost.config.yaml_text import MAX_BYTES, MAX_DEPTH, read_yaml
from gatepost.config.yaml_write import write_yaml
from gatepost.core.errors import ConfigurationError, Problem

_OPENING = re.compile(r"[\[{\]}]|\"(?:[^\"\\]|\\.)*\"?", re.DOTALL)


def load_yaml(text: bytes | str) -> Document:
    """The document of a YAML text. Raises ConfigurationError with all faults of syntax or shape."""
    return load_plain(read_yaml(text))


def load_json(text: bytes | str) -> Document:
    """The document of a JSON text (RFC 8259, no key twice). Raises ConfigurationError likewise."""
    return load_plain(read_json(text))


def load_plain(data: object) -> Document:
    """The document of dicts, lists and scalars. Raises ConfigurationError with all faults of shape."""
    if data is None:
        raise ConfigurationError((Problem("document", "is empty", "write at least one section"),))
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        problems = []
        for detail in causes(error):
            loc = detail["loc"]
            problems.append(problem_of(Document, detail, loc, shown_path(loc, data)))
        raise ConfigurationError(tuple(problems)) from None


def to_plain(document: Document, *, complete: bool = False) -> dict[str, Any]:
    """The document as dicts, lists and scalars in written form; `complete` adds the defaults."""
    return document.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_unset=not complete, warnings="error"
    )


def dump_yaml(document: Document, *, complete: bool = False) -> str:
    """YAML that loads to an equal document."""
    return write_yaml(to_plain(document, complete=complete))


def dump_json(document: Document, *, complete: bool = False) -> str:
    """JSON that loads to an equal document."""
    return orjson.dumps(to_plain(document, complete=complete), option=orjson.OPT_INDENT_2).decode() + "\n"


def read_json(text: bytes | str) -> object:
    """A JSON text as a plain value. Raises ConfigurationError with the line of a fault."""
    if len(text) > MAX_BYTES:
        raise ConfigurationError((Problem("file", "is larger than 16 MiB"),))
    try:
        source = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise ConfigurationError((Problem("file", "not UTF-8", "save the file as UTF-8"),)) from None
    _limit_depth(source)
    try:
        return json.loads(source, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigurationError((Problem(f"line {error.lineno}", f"not JSON: {error.msg}"),)) from None
    except ValueError:
        # A number of more than 4,300 digits, which Python refuses to convert.
        raise ConfigurationError((Problem("file", "not JSON: a number is too long"),)) from None


def _limit_depth(source: str) -> None:
    depth = 0
    for found in _OPENING.finditer(source):
        character = found[0]
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                line = source.count("\n", 0, found.start()) + 1
                raise ConfigurationError((Problem(f"line {line}", f"nested more than {MAX_DEPTH} deep"),))
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ConfigurationError((Problem(key if key.isprintable() else "file", "is given twice"),))
        value[key] = item
    return value


def _no_constant(word: str) -> NoReturn:
    raise ConfigurationError((Problem("file", f"not JSON: {word} is no number"),))
