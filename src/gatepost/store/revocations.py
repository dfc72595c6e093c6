"""Revocation lists in the store: the last good one of each source, and how its fetching goes.

They stand beside the versions of the configuration and not in them: a list is what an authority says now, and no rollback may bring
an old one back. Which of them count, the document decides: those whose URL it names, and those that came as a file, whose
source begins with `file:`. They are kept among the store's small values, so a list and what is known of it change together
and are durable when a call returns.

A list that was stored and of which the workers were not told yet is remembered as `told` false, in case the desk dies in between.

Limits. 24 MiB of lists that count, all together, since every worker gets them with every commit.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from gatepost.pki.revocation import ListFacts
from gatepost.store.config_store import ConfigStore

MAX_TOTAL = 24 << 20
FILE = "file:"
_LIST, _FACTS, _FETCHING, _UNTOLD = "crl:list:", "crl:facts:", "crl:fetching:", "crl:untold"


@dataclass(frozen=True, slots=True)
class KeptList:
    """A list that was read and whose signature was checked. `at` is when it came, in seconds since the epoch.

    `signer` is the digest of the key that signed it (`pki.revocation.key_digest`).
    """

    source: str
    facts: ListFacts
    signer: str
    at: float
    size: int
    der: bytes = field(default=b"", repr=False)

    @property
    def from_file(self) -> bool:
        return self.source.startswith(FILE)


@dataclass(frozen=True, slots=True)
class Fetching:
    """How it goes with one URL, in seconds since the epoch; 0 is never.

    `reached` is when the list was last had, changed or not; `failures` counts those since then; `wanted` is when an
    administrator asked for it, until it was tried.
    """

    tried: float = 0.0
    reached: float = 0.0
    failures: int = 0
    reason: str = ""
    wanted: float = 0.0


def configured_sources(document: Mapping[str, Any]) -> list[str]:
    """The URLs of a document in its written form."""
    section = document.get("certificate_authorities") or {}
    return [str(item["url"] if isinstance(item, Mapping) else item) for item in section.get("crl") or ()]


def kept_lists(store: ConfigStore) -> dict[str, KeptList]:
    """What is known of every list in the store, by source; without the lists themselves."""
    found = {}
    for key, value in store.metas(_FACTS).items():
        source = key.removeprefix(_FACTS)
        row = orjson.loads(value)
        found[source] = KeptList(source, ListFacts(**row["facts"]), row["signer"], row["at"], row["size"])
    return found


def counting_lists(store: ConfigStore, document: Mapping[str, Any]) -> list[KeptList]:
    """The lists that count under a document: those of its URLs in their order, then those from files."""
    kept = kept_lists(store)
    urls = [source for source in configured_sources(document) if source in kept]
    return [*(kept[url] for url in urls), *(one for one in kept.values() if one.from_file)]


def kept_list(store: ConfigStore, source: str) -> KeptList | None:
    """One list with its content."""
    facts, der = store.get_meta(_FACTS + source), store.get_meta(_LIST + source)
    if facts is None or der is None:
        return None
    row = orjson.loads(facts)
    return KeptList(source, ListFacts(**row["facts"]), row["signer"], row["at"], len(der), der)


def keep_list(store: ConfigStore, one: KeptList, *, told: bool) -> None:
    """Put a list in the place of its source's last one. `told` false: the workers do not have it yet."""
    facts = orjson.dumps(
        {"facts": asdict(one.facts), "signer": one.signer, "at": one.at, "size": len(one.der)}
    )
    values: dict[str, bytes | None] = {_LIST + one.source: one.der, _FACTS + one.source: facts}
    if not told:
        values[_UNTOLD] = b"1"
    store.put_metas(values)


def drop_list(store: ConfigStore, source: str, *, told: bool) -> None:
    """Forget a source, with its list and how its fetching went."""
    values: dict[str, bytes | None] = dict.fromkeys((_LIST + source, _FACTS + source, _FETCHING + source))
    if not told:
        values[_UNTOLD] = b"1"
    store.put_metas(values)


def untold(store: ConfigStore) -> bool:
    """The workers may lack a list that is in the store, or have one that is not."""
    return store.get_meta(_UNTOLD) is not None


def all_told(store: ConfigStore) -> None:
    """The workers have what is in the store."""
    store.put_metas({_UNTOLD: None})


def fetching(store: ConfigStore, source: str) -> Fetching:
    """How it goes with one URL."""
    value = store.get_meta(_FETCHING + source)
    return Fetching() if value is None else Fetching(**orjson.loads(value))


def put_fetching(store: ConfigStore, source: str, state: Fetching) -> None:
    store.put_metas({_FETCHING + source: orjson.dumps(asdict(state))})


def known_sources(store: ConfigStore) -> set[str]:
    """All sources of which anything is kept."""
    return {key.removeprefix(prefix) for prefix in (_FACTS, _FETCHING) for key in store.metas(prefix)}


def payload_lists(
    store: ConfigStore, document: Mapping[str, Any], new: Iterable[KeptList] = ()
) -> list[dict[str, str]]:
    """The lists that count, DER as base64, and who signed them; `new` ones stand in the place of those of their source."""
    replaced = {one.source: one for one in new}
    sources = [one.source for one in counting_lists(store, document)]
    allowed = {*configured_sources(document), *(s for s in replaced if s.startswith(FILE))}
    sources += [source for source in replaced if source in allowed and source not in sources]
    found = (replaced.get(source) or kept_list(store, source) for source in sources)
    return [{"der": b64encode(one.der).decode("ascii"), "signer": one.signer} for one in found if one]
