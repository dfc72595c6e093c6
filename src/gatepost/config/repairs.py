"""A faulty place of a document is repaired in a copy, so that the rest of the document can be checked too.

An unknown key is dropped, an optional one takes its default, a required one a stand-in that stands as an example in its
field. What a check then says may rest on that repair alone: a policy whose `tls` is misspelt is not one without TLS. So
`alternatives` gives every repaired place other values that its field takes, the same for all places at once, and only what is found
whatever stands there is worth saying. Names cannot be guessed: findings about them say what they rest on (`Finding.about`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gatepost.config.faults import Loc, field_at, inner_type, known_keys, nearest
from gatepost.config.findings import ANY
from gatepost.config.locations import step_into, written_loc
from gatepost.config.model import Document

_ABSENT = object()
_SAMPLES: tuple[Any, ...] = (
    False,
    True,
    1,
    2**16 - 1,
    "1s",
    "30d",
    "1B",
    "1GB",
    "unlimited",
    "never",
    0.5,
    "other.example.net",
    "other@example.net",
    "203.0.113.9",
    "127.0.0.9",
    "2100-01-01",
    "0" * 64,
    "/other",
    "https://other.example.net/",
)
"""One value of most kinds that there are; a field takes those that it takes."""
_ENOUGH = 3


def copied(value: Any) -> Any:
    """A copy of a plain value that can be repaired."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


class Repairs:
    """The places of one document that were repaired, and what they mean for what is found afterwards."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._places: set[Loc] = set()
        self._values: dict[tuple[type[BaseModel] | None, str | int, bool], list[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def repair(self, loc: Loc, kind: str) -> None:
        """Make the place valid, or at least no worse: drop it, or put its field's stand-in there."""
        _repair(self.document, loc, kind)
        self._places.add(loc)
        if kind == "extra_forbidden":
            # The key that was probably meant is absent only because of the slip.
            meant = nearest(str(loc[-1]), known_keys(Document, loc))
            self._places.update([(*loc[:-1], meant)] if meant is not None else [])

    def bear(self, loc: Loc) -> bool:
        """The place was repaired, or it lies inside one that was; `ANY` in it stands for every entry of a list."""
        if ANY in loc:
            return any(_leads_to(place, loc) for place in self._places)
        return any(loc[:length] in self._places for length in range(1, len(loc) + 1))

    def alternatives(self) -> Iterator[dict[str, Any]]:
        """The document again and again, with other values in the repaired places. It is changed in place."""
        places = [(loc, self._candidates(loc)) for loc in sorted(self._places, key=len)]
        for number in range(max((len(values) for _, values in places), default=0)):
            for loc, values in places:
                if values:
                    _put(self.document, loc, values[number % len(values)])
            yield self.document

    def _candidates(self, loc: Loc) -> list[Any]:
        owner, field = field_at(Document, loc)
        if field is None:
            return []
        names = [step for step in loc if isinstance(step, str)]
        element = isinstance(loc[-1], int)
        key = (owner, names[-1], element)
        if key not in self._values:
            self._values[key] = list(_values_of(field, element=element))
        return self._values[key]


def _leads_to(place: Loc, pattern: Loc) -> bool:
    return len(place) <= len(pattern) and all(
        step == wanted or (wanted == ANY and isinstance(step, int))
        for step, wanted in zip(place, pattern, strict=False)
    )


def _values_of(field: FieldInfo, *, element: bool) -> Iterator[Any]:
    """What else the field could say, as far as that can be known from its type."""
    takes: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    if not field.is_required() and not element:
        yield _ABSENT
    fitting = [*_fitting(takes, _words(field)), *itertools.islice(_fitting(takes, _SAMPLES), _ENOUGH)]
    yield from (one[0] if element else one for one in fitting)
    if not element and inner_type(field.annotation, BaseModel) is not None and _valid(takes, {}):
        yield {}


def _fitting(takes: TypeAdapter[Any], values: Iterable[Any]) -> Iterator[Any]:
    """Those that the field takes, by themselves or as the one entry of a list."""
    return (one for value in values for one in (value, [value]) if _valid(takes, one))


def _words(field: FieldInfo) -> Iterable[Any]:
    enum = inner_type(field.annotation, Enum)
    return [member.value for member in enum] if enum is not None else []


def _valid(takes: TypeAdapter[Any], value: Any) -> bool:
    try:
        takes.validate_python(value)
    except ValidationError:
        return False
    return True


def _place(data: dict[str, Any], loc: Loc) -> tuple[Any, str | int]:
    """The container of a place, and its key there."""
    *way, last = written_loc(loc, data)
    parent: Any = data
    for step in way:
        parent = step_into(parent, step)
    return parent, last


def _put(data: dict[str, Any], loc: Loc, value: Any) -> None:
    parent, last = _place(data, loc)
    if isinstance(parent, list) and isinstance(last, int) and value is not _ABSENT:
        parent[last] = value
    elif isinstance(parent, dict):
        if value is not _ABSENT:
            parent[last] = value
        elif last in parent:
            del parent[last]


def _repair(data: dict[str, Any], loc: Loc, kind: str) -> None:
    parent, last = _place(data, loc)
    _, field = field_at(Document, loc)
    example = field.examples[0] if field is not None and field.examples else PydanticUndefined
    if isinstance(parent, list) and isinstance(last, int):
        elements = example if isinstance(example, list) else [{}]
        parent[last] = elements[0]
    elif isinstance(parent, dict):
        if kind == "extra_forbidden" or field is None or not field.is_required():
            parent[last] = {} if isinstance(loc[-1], int) else None
            if kind == "extra_forbidden" or not isinstance(loc[-1], int):
                del parent[last]
        else:
            parent[last] = {} if example is PydanticUndefined else example
