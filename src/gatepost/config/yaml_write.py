"""A plain value to YAML that `yaml_text` reads to the same value.

The form is that of contract/gateway.yaml: short mappings and lists on one line. Whatever could be read as anything
but the same text is quoted, also what only YAML 1.1 would misread (`yes`, `no`); `off` is left bare, as the contract writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from gatepost.config.yaml_text import resolve

_PLAIN = re.compile(
    r"[A-Za-z./][A-Za-z0-9._/@-]*(?: [A-Za-z0-9._/@-]+)*|(?!0[box])[0-9][0-9A-Za-z./-]*", re.ASCII | re.I
)
_WORDS_OF_OTHERS = frozenset({"y", "n", "yes", "no", "on", "true", "false", "null"})  # of YAML 1.1
_WIDTH = 120


def write_yaml(value: dict[str, Any]) -> str:
    """A mapping of plain values as YAML that `read_yaml` reads to the same value."""
    lines: list[str] = []
    for key, item in value.items():
        block = list(_entry(_scalar(key) + ":", item, 0))
        if lines and (len(block) > 1 or lines[-1].startswith(" ")):
            lines.append("")
        lines.extend(block)
    return "\n".join(lines) + "\n" if lines else "{}\n"


def _entry(head: str, item: object, indent: int) -> Iterator[str]:
    """`head` and its value, on one line where it is short and flat."""
    pad = "  " * indent
    flow = _flow(item, _WIDTH - len(pad) - len(head) - 1)
    if flow is not None:
        yield f"{pad}{head} {flow}"
    elif isinstance(item, dict):
        yield pad + head
        for key, inner in item.items():
            yield from _entry(_scalar(key) + ":", inner, indent + 1)
    elif isinstance(item, list):
        yield pad + head
        for inner in item:
            yield from _item(inner, indent + 1)


def _item(item: object, indent: int) -> Iterator[str]:
    """One element of a list."""
    pad = "  " * indent
    flow = _flow(item, _WIDTH - len(pad) - 2)
    if flow is not None:
        yield f"{pad}- {flow}"
    elif isinstance(item, dict):
        lead = pad + "- "
        for key, inner in item.items():
            rows = list(_entry(_scalar(key) + ":", inner, indent + 1))
            rows[0] = lead + rows[0].lstrip(" ")
            lead = pad + "  "
            yield from rows
    elif isinstance(item, list):
        yield pad + "-"
        for inner in item:
            yield from _item(inner, indent + 1)


def _flow(item: object, room: int) -> str | None:
    """The one-line form; None when it is too long, or a list or mapping that holds larger things."""
    if isinstance(item, dict):
        if not all(_flat(inner) for inner in item.values()):
            return None
    elif isinstance(item, list):
        if not all(_flat(inner) for inner in item) or len(item) > room:
            return None
    else:
        return _scalar(item)
    line = write_flow(item)
    return line if len(line) <= room else None


def _flat(item: object) -> bool:
    """A scalar, or a list of scalars."""
    if isinstance(item, list):
        return not any(isinstance(inner, (dict, list)) for inner in item)
    return not isinstance(item, dict)


def write_flow(value: object) -> str:
    """Any plain value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {write_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(write_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = (
            _PLAIN.fullmatch(value)
            and value.lower() not in _WORDS_OF_OTHERS
            and isinstance(resolve(value), str)
        )
        return value if plain else json.dumps(value, ensure_ascii=False)
    return repr(value)
