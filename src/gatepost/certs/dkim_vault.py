"""The keys that sign the gateway's own mail, in the store: sealed, each under its domain and selector.

They stand beside the versions of the configuration, like the other secrets of the store: no rollback changes them. The private half is
sealed by the keeper and never shown; what may be shown (kind, public half, when it was made) stands beside it.

They are not part of an export. A key belongs to one gateway: another one gets a key of its own under another selector, so that either can
be withdrawn without the other.

Limits. 5 keys of a domain, 200 in all. A key whose envelope does not open (the master key was lost) does not sign.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from dataclasses import dataclass

import orjson

from gatepost.core.errors import OperatorError
from gatepost.core.ports import Clock
from gatepost.pki.dkim import DkimKind, load_key, new_key, public_half, signing
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import Keeper, SealBroken
from gatepost.wire.dkim import Algorithm, Signer
from gatepost.wire.dkim_record import record_name, record_text

MAX_OF_A_DOMAIN, MAX_KEYS = 5, 200
_FACTS = "dkim key:"
_REVISION = 0


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One key, without its private half. `made` is seconds since the epoch; `reports_only`: its record says so (`s=tlsrpt`)."""

    domain: str
    selector: str
    kind: DkimKind
    public: bytes
    made: float
    reports_only: bool = False

    @property
    def record_name(self) -> str:
        return record_name(self.domain, self.selector)

    @property
    def record(self) -> str:
        """The text to publish there."""
        return record_text(self.kind.record_type, self.public, reports_only=self.reports_only)


def dkim_keys(store: ConfigStore, domain: str = "") -> list[DkimKey]:
    """The keys of a domain, or of all, by domain and age."""
    prefix = f"{_FACTS}{domain}:" if domain else _FACTS
    found = [_of_facts(value) for value in store.metas(prefix).values()]
    return sorted(found, key=lambda key: (key.domain, key.made, key.selector))


class DkimVault:
    """Makes, opens and forgets them."""

    def __init__(self, store: ConfigStore, keeper: Keeper, clock: Clock) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock

    async def make(
        self, domain: str, selector: str, kind: DkimKind, *, reports_only: bool = False
    ) -> DkimKey:
        """A new key. Raises OperatorError where there is one of that name, or too many."""
        keys = dkim_keys(self._store)
        of_domain = [key for key in keys if key.domain == domain]
        if any(key.selector == selector for key in of_domain):
            raise OperatorError(
                f"{domain} has a key with the selector {selector}",
                "choose another selector with --selector, or delete that key first",
            )
        if len(of_domain) >= MAX_OF_A_DOMAIN or len(keys) >= MAX_KEYS:
            raise OperatorError(
                f"there are too many keys: {len(of_domain)} of {domain}, {len(keys)} in all",
                "delete those that are not published any more",
            )
        pem = await asyncio.to_thread(new_key, kind)
        public = public_half(load_key(pem))
        made = DkimKey(domain, selector, kind, public, self._clock.now(), reports_only)
        sealed = await self._keeper.seal(_sealed_name(domain, selector), _REVISION, pem.reveal())
        self._store.put_metas(
            {_sealed_name(domain, selector): sealed, _facts_name(domain, selector): _facts(made)}
        )
        return made

    def keys(self, domain: str) -> list[DkimKey]:
        """The keys of a domain, whether they open or not."""
        return dkim_keys(self._store, domain)

    def forget(self, key: DkimKey) -> None:
        """The key is gone for good."""
        names = (_sealed_name(key.domain, key.selector), _facts_name(key.domain, key.selector))
        self._store.put_metas(dict.fromkeys(names))

    async def signers(self, domain: str) -> tuple[Signer, ...]:
        """A signer for each key of a domain whose envelope opens."""
        found = []
        for key in dkim_keys(self._store, domain):
            sealed = self._store.get_meta(_sealed_name(domain, key.selector))
            if not sealed:
                continue
            try:
                pem = await self._keeper.open(_sealed_name(domain, key.selector), _REVISION, sealed)
                private = load_key(SecretBytes(pem))
            except (SealBroken, OperatorError, PkiError):
                continue
            algorithm = Algorithm.RSA_SHA256 if key.kind is DkimKind.RSA2048 else Algorithm.ED25519_SHA256
            found.append(Signer(domain, key.selector, algorithm, signing(private)))
        return tuple(found)


def _sealed_name(domain: str, selector: str) -> str:
    return f"dkim {domain} {selector}/"


def _facts_name(domain: str, selector: str) -> str:
    return f"{_FACTS}{domain}:{selector}"


def _facts(key: DkimKey) -> bytes:
    return orjson.dumps(
        {
            "domain": key.domain,
            "selector": key.selector,
            "kind": key.kind.value,
            "public": b64encode(key.public).decode("ascii"),
            "made": key.made,
            "reports_only": key.reports_only,
        }
    )


def _of_facts(value: bytes) -> DkimKey:
    raw = orjson.loads(value)
    public = b64decode(raw["public"])
    return DkimKey(
        raw["domain"], raw["selector"], DkimKind(raw["kind"]), public, raw["made"], raw["reports_only"]
    )
