"""What the desk knows of the configured name servers: which is believed about DNSSEC, and why another is not (D10).

A small value of the store, written by the job that probes them and read by `status`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson

from gatepost.store.config_store import ConfigStore

META = "name-servers"


@dataclass(frozen=True, slots=True)
class NameServerState:
    """One server: why it is not believed (empty: it is), since when that is so, when it was tried last, and how often it failed in a row."""

    server: str
    reason: str
    since: float
    tried: float
    failures: int = 0

    @property
    def believed(self) -> bool:
        return not self.reason


def name_servers(store: ConfigStore) -> tuple[NameServerState, ...]:
    """All that are tried, in the order of the configuration; none where nothing asks for DANE."""
    try:
        return tuple(NameServerState(**one) for one in orjson.loads(store.get_meta(META) or b"[]"))
    except (orjson.JSONDecodeError, TypeError):
        return ()


def put_name_servers(store: ConfigStore, states: Sequence[NameServerState]) -> None:
    """Remember them; none removes the value."""
    packed = orjson.dumps([asdict(one) for one in states]) if states else None
    store.put_metas({META: packed})
