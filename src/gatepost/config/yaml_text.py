"""YAML to a plain value: the subset that the configuration is written in.

YAML 1.2 with its core schema (YAML 1.2.2 §10.3): only `true` and `false` are truth values, so unquoted `off`, `no`
and `yes` are words; dates are words too. There are no tags, anchors, aliases or second documents, and no key is
given twice: each of these is a way to make a file mean something else than it shows, or to make it explode. The reader
works on the parser's events with a stack of its own, so depth and size are bounded before anything is built.
"""

from __future__ import annotations

import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gatepost.config.faults import Loc, path_text
from gatepost.core.errors import ConfigurationError, Problem

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 20
MAX_PROBLEMS = 100

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]{1,20}", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", re.ASCII
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})


def read_yaml(text: bytes | str) -> object:
    """The one document of a text as dicts, lists and scalars. Raises ConfigurationError with every fault found."""
    source = _decode(text)
    builder = _Builder()
    try:
        for event in YAML(typ="safe", pure=True).parse(source):
            builder.take(event)
    except ReaderError as error:
        line = source.count("\n", 0, error.position) + 1
        builder.problem(f"line {line}", "a character that YAML does not allow")
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark is not None else "file"
        builder.problem(
            where, f"not YAML: {error.problem or error.context or 'syntax error'}", error.context or ""
        )
    except YAMLError as error:
        builder.problem("file", f"not YAML: {error}")
    except (ValueError, OverflowError):
        # The scanner lets `\U00110000`, which is no character, through to chr().
        builder.problem(f"line {builder.line}", "not YAML: an escape that is no character")
    if builder.problems:
        raise ConfigurationError(tuple(builder.problems))
    return builder.root


def _decode(text: bytes | str) -> str:
    if len(text) > MAX_BYTES:
        raise ConfigurationError((Problem("file", "is larger than 16 MiB"),))
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ConfigurationError((Problem(f"line {line}", "not UTF-8", "save the file as UTF-8"),)) from None


class _Frame:
    """A list or mapping that is being read; `key` is the mapping's key that waits for its value."""

    __slots__ = ("key", "keys", "value", "wants_key")

    def __init__(self, value: dict[str, Any] | list[Any]) -> None:
        self.value = value
        self.wants_key = isinstance(value, dict)
        self.key = ""
        self.keys = 0  # keys without a usable name so far


class _TooDeep(YAMLError):
    """Ends the reading of a text that is nested too deeply."""


class _Builder:
    """Builds plain values from parser events and gathers what is not allowed."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.root: object = None
        self.line = 1
        self._stack: list[_Frame] = []
        self._documents = 0

    def problem(self, path: str, text: str, hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(path, text, hint))

    def take(self, event: Event) -> None:
        """One event of the parser."""
        if event.start_mark is not None:
            self.line = event.start_mark.line + 1
        if isinstance(event, ScalarEvent):
            self._refuse_extras(event)
            self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            self._open(event, {})
        elif isinstance(event, SequenceStartEvent):
            self._open(event, [])
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._stack.pop()
        elif isinstance(event, AliasEvent):
            self._fault("an alias is not taken", "write the value out")
            self._put(None)
        elif isinstance(event, DocumentStartEvent):
            self._document(event)

    def _document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents == 2:
            self.problem(f"line {self.line}", "a second document begins", "one file holds one configuration")
        if event.version is not None and tuple(event.version) != (1, 2):
            self.problem(
                f"line {self.line}", "another version of YAML than 1.2 is asked for", "leave %YAML out"
            )
        if event.tags:
            self.problem(f"line {self.line}", "tags are not taken", "leave %TAG out")

    def _open(self, event: MappingStartEvent | SequenceStartEvent, value: dict[str, Any] | list[Any]) -> None:
        self._refuse_extras(event)
        if len(self._stack) >= MAX_DEPTH:
            raise _TooDeep(f"nested more than {MAX_DEPTH} deep in line {self.line}")
        if self._stack and self._stack[-1].wants_key:
            self._key(None)
        else:
            self._put(value)
        self._stack.append(_Frame(value))

    def _scalar(self, event: ScalarEvent) -> None:
        if self._stack and self._stack[-1].wants_key:
            self._key(event.value)
            return
        self._put(resolve(event.value) if event.implicit[0] else event.value)

    def _key(self, text: str | None) -> None:
        frame = self._stack[-1]
        assert isinstance(frame.value, dict)
        if text is None:
            self._fault("a key is not a word")
            frame.keys += 1
            text = f"\0{frame.keys}"
        elif text in frame.value:
            self.problem(path_text((*self._loc(), text)), "is given twice", f"again in line {self.line}")
        frame.key = text
        frame.wants_key = False
        if text not in frame.value:
            frame.value[text] = None

    def _put(self, value: object) -> None:
        if not self._stack:
            if self._documents < 2:
                self.root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        else:
            frame.value[frame.key] = value
            frame.wants_key = True

    def _refuse_extras(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self._fault("an anchor is not taken", "write the value out where it is used")
        if event.tag is not None:
            self._fault("a tag is not taken", "leave the word with ! out")

    def _fault(self, text: str, hint: str = "") -> None:
        self.problem(f"line {self.line}", text, hint)

    def _loc(self) -> Loc:
        """Where the innermost open list or mapping stands."""
        loc: list[str | int] = []
        for frame in self._stack[:-1]:
            loc.append(len(frame.value) - 1 if isinstance(frame.value, list) else frame.key)
        return tuple(loc)


def resolve(text: str) -> object:
    """A plain scalar by the core schema."""
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
