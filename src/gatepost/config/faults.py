"""What is wrong with the shape of a document, in words an administrator can use, and at which path.

The model's own messages speak of Python types; here each becomes a problem with its path
(`listeners[0].certificate`), a sentence, and a hint: the near name of an unknown key or word, the
form that is wanted. Positions are tuples of keys and indices (`Loc`) until they are shown.
"""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gatepost.config.values import Fault
from gatepost.core.errors import Problem

Loc = tuple[str | int, ...]

_SHOWN = 60


def path_text(loc: Loc) -> str:
    """`listeners[0].certificate`; the whole document is `document`."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return _printable(path) or "document"


def near_name(name: str, known: Iterable[str]) -> str:
    """The hint for a name that is not known: the nearest one, if any is near."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found is not None else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, case and kind of word break aside; None if none is near."""
    folded = {_folded(candidate): candidate for candidate in known}
    cutoff = 0.5 if len(name) <= 3 else 0.6
    found = difflib.get_close_matches(_folded(name), folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def known_keys(root: type[BaseModel], loc: Loc) -> list[str]:
    """The keys that the mapping may have in which the position lies."""
    owner, _ = field_at(root, loc)
    return [f.alias or name for name, f in owner.model_fields.items()] if owner is not None else []


def shown(value: object) -> str:
    """A value as it may stand in a problem: short, quoted, on one line."""
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
        return json.dumps(_printable(text), ensure_ascii=False)
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return "the value"


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def field_at(root: type[BaseModel], loc: Loc) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the position, and the field there (for a list's element: the list's field)."""
    model: type[BaseModel] | None = root
    owner: type[BaseModel] | None = root
    field: FieldInfo | None = None
    for step in loc:
        if isinstance(step, int):
            continue
        owner = model
        if owner is None:
            return None, None
        field = next((f for name, f in owner.model_fields.items() if (f.alias or name) == step), None)
        model = inner_type(field.annotation, BaseModel) if field is not None else None
    return owner, field


def inner_type(annotation: Any, base: type[Any]) -> Any:
    """The first class below `base` inside `tuple[X, ...]`, `X | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, base):
        return annotation
    for argument in typing.get_args(annotation):
        if (found := inner_type(argument, base)) is not None:
            return found
    return None


def causes(error: ValidationError) -> list[ErrorDetails]:
    """The model's errors without those that only follow: a list is not empty because none of its entries could be read."""
    details = error.errors(include_url=False)
    lists = {detail["loc"][:-1] for detail in details if detail["loc"] and isinstance(detail["loc"][-1], int)}
    return [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in lists]


def problem_of(root: type[BaseModel], error: ErrorDetails, loc: Loc, path: str) -> Problem:
    """One of the model's errors as a problem; `path` is how its position is shown."""
    kind = error["type"]
    _, field = field_at(root, loc)
    if kind == "extra_forbidden":
        known = known_keys(root, loc)
        return Problem(path, "unknown key", near_name(str(loc[-1]), known) or f"known are {', '.join(known)}")
    if kind == "missing":
        return Problem(path, "is missing", (field.description or "").rstrip(".") if field is not None else "")
    if kind == "value_error" and isinstance(fault := error.get("ctx", {}).get("error"), Fault):
        return Problem(path, f"{shown(error['input'])} {fault.text}", fault.hint)
    if kind in ("enum", "literal_error"):
        return _wrong_word(error, field, path)
    text, hint = _plain_words(kind, error)
    return Problem(path, text, hint)


def _wrong_word(error: ErrorDetails, field: FieldInfo | None, path: str) -> Problem:
    words: list[str] = []
    if field is not None and (enum := inner_type(field.annotation, Enum)) is not None:
        words = [str(member.value) for member in enum]
    near = near_name(error["input"], words) if isinstance(error["input"], str) else ""
    allowed = ", ".join(words)
    return Problem(path, f"{shown(error['input'])} is not one of {allowed}", near)


def _plain_words(kind: str, error: ErrorDetails) -> tuple[str, str]:
    value = shown(error["input"])
    ctx = error.get("ctx", {})
    match kind:
        case "int_type" | "int_from_float" | "int_parsing":
            return f"{value} is not a whole number", "write it without quotes" if isinstance(
                error["input"], str
            ) else ""
        case "bool_type":
            return f"{value} is not true or false", "only true and false are truth values"
        case "string_type":
            return f"{value} is not a text", "put it in quotes" if isinstance(
                error["input"], (bool, int, float)
            ) else ""
        case "string_too_short":
            return "is empty", ""
        case "string_too_long":
            return f"is longer than {ctx.get('max_length')} characters", ""
        case "too_short":
            return "is empty", "" if isinstance(error["input"], str) else "at least one entry is wanted"
        case "too_long":
            return f"has more than {ctx.get('max_length')} entries", ""
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            limit = ctx.get("ge", ctx.get("le", ctx.get("gt", ctx.get("lt"))))
            side = (
                "at least"
                if kind == "greater_than_equal"
                else "at most"
                if kind == "less_than_equal"
                else "beyond"
            )
            return f"{value} is out of range", f"{side} {limit}"
        case "tuple_type":
            return f"{value} is not a list", "begin each entry with - or write [a, b]"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{value} is not a mapping", "write keys with values, one a line or in {}"
        case _:
            return error["msg"], ""
