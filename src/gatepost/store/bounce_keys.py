"""The keys of bounce tags: sealed, numbered 0 to 9, the newest in use, the others to know what comes back.

They are kept beside the versions of the configuration: a rollback must not bring back a key that was given up, nor lose one
that mail on its way was tagged with.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gatepost.store.config_store import ConfigStore

META = "bounce-keys"
SEALED_AS = "bounce tags/"  # the name that the envelopes are bound to; the revision is the key's number


@dataclass(frozen=True, slots=True)
class BounceKey:
    """One key. `made` is when it came into use, in seconds since the epoch."""

    number: int
    made: float
    sealed: bytes


def bounce_keys(store: ConfigStore) -> list[BounceKey]:
    """All keys, the newest first."""
    rows = orjson.loads(store.get_meta(META) or b"[]")
    return [BounceKey(int(row["number"]), float(row["made"]), b64decode(row["sealed"])) for row in rows]


def put_bounce_keys(store: ConfigStore, keys: Sequence[BounceKey]) -> None:
    """Replace them, durably; the newest first."""
    rows = [
        {"number": one.number, "made": one.made, "sealed": b64encode(one.sealed).decode("ascii")}
        for one in keys
    ]
    store.put_metas({META: orjson.dumps(rows) if rows else None})


def payload_keys(document: Mapping[str, Any], keys: Sequence[BounceKey]) -> list[dict[str, Any]]:
    """The keys as a worker's payload has them, still sealed; none where nothing is tagged."""
    if not (document.get("bounce_verification") or {}).get("domains"):
        return []
    return [{"number": one.number, "sealed": b64encode(one.sealed).decode("ascii")} for one in keys]
