"""Events as JSON lines, and back.

The bytes made here are at once the event blob of a spool commit and the lines of `logs/events.jsonl`,
so the queue and the log cannot disagree (architecture 5). One line is
`{"event":"MessageQueued","at":1700000000.0,"mid":7}`; unknown fields are ignored when read, so that a
newer log can be searched by an older tool.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import cache, lru_cache
from typing import Any

import orjson

from gatepost.core import (
    auth_events,
    certificate_events,
    delivery_events,
    events,
    monitor_events,
    received_report_events,
    record_events,
    rejection_events,
)
from gatepost.core.event import Event


@cache
def _registry() -> dict[str, tuple[type[Event], frozenset[str]]]:
    known = {}
    modules = (
        events,
        delivery_events,
        certificate_events,
        monitor_events,
        received_report_events,
        record_events,
        rejection_events,
        auth_events,
    )
    for value in (value for module in modules for value in vars(module).values()):
        if isinstance(value, type) and issubclass(value, Event) and value is not Event:
            known[value.__name__] = (value, frozenset(f.name for f in fields(value)))
    return known


def encode_events(events: Iterable[Event]) -> bytes:
    """One newline-terminated JSON line an event. Text that is not valid Unicode is escaped, never refused."""
    pieces: list[bytes] = []
    for event in events:
        pieces.append(_head(type(event).__name__))
        try:
            pieces.append(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)[1:])
        except (orjson.JSONEncodeError, UnicodeEncodeError):
            pieces.append(orjson.dumps(_escaped(event), option=orjson.OPT_APPEND_NEWLINE)[1:])
    return b"".join(pieces)


@lru_cache(maxsize=256)
def _head(kind: str) -> bytes:
    """What stands before the fields of one kind of event."""
    return b'{"event":"' + kind.encode() + b'",'


def decode_events(blob: bytes) -> list[Event]:
    """The events of a blob or of a log file's lines; a line that is damaged or of an unknown kind is left out."""
    return [event for line in blob.splitlines() if (event := decode_event(line)) is not None]


def decode_event(line: bytes) -> Event | None:
    """One line, or None when it is damaged (the torn last line after a crash) or of an unknown kind."""
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(raw, dict):
        return None
    kind = _registry().get(str(raw.pop("event", "")))
    if kind is None:
        return None
    cls, names = kind
    try:
        return cls(**{key: value for key, value in raw.items() if key in names})
    except TypeError:
        return None


def _escaped(event: Event) -> dict[str, Any]:
    """The event's fields with lone surrogates (undecodable bytes of a peer) written as escapes."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, dict):
            return {clean(key): clean(item) for key, item in value.items()}
        return value

    return {f.name: clean(getattr(event, f.name)) for f in fields(event)}
