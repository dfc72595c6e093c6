"""Values that become JSON with stable keys: the names of their fields."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any

from gatepost.certs.times import iso_time

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Node:
    """A part of the tree; subclasses are frozen dataclasses of plain values, other nodes, and tuples of both."""

    __slots__ = ()

    def document(self: DataclassInstance) -> dict[str, Any]:
        """The JSON form."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return value.document()  # type: ignore[misc]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def moment(at: float) -> str:
    """A time in the contract's form; empty for none (0)."""
    return iso_time(at) if at else ""
