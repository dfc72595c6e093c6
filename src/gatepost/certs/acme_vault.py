"""What automatic certificates keep in the store beside the configuration: accounts, secrets, orders on their way, standings.

Small values of the store, none of them part of a version. Keys are sealed by the keeper under names that end in `/`; what
became of each certificate (`renewal.Standing`) is kept as it is, since there is nothing secret in it.

    acme account DIRECTORY/    key and URL of the account at one authority
    acme eab/, acme tsig/      what `gatepost acme secret` stored
    acme order NAME SLOT/      an order on its way, with the certificate's key
    acme ready NAME/           a certificate that was issued and is not in force yet, with its keys
    acme standing NAME         what became of it

A value whose envelope does not open (the master key was lost) counts as absent where another can be made, and is told where an
administrator has to give it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gatepost.certs.acme.account import Account, AccountKey
from gatepost.certs.acme.ports import SavedOrder
from gatepost.certs.acme_secrets import Secret
from gatepost.certs.renewal import Standing
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Clock
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Profile
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import Keeper, SealBroken

_MARK = "acme secrets"
_NO_REVISION = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """A profile that was issued, with its keys, the digest of what was wished for (`renewal.Wanted.wish`), and remarks."""

    profile: Profile
    wish: str
    remarks: tuple[str, ...] = ()


class AcmeVault:
    """All of it, over one store."""

    def __init__(self, store: ConfigStore, keeper: Keeper, clock: Clock) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock

    # --- standings ---------------------------------------------------------------------------

    def standing(self, name: str) -> Standing:
        return Standing.unpacked(self._store.get_meta(f"acme standing {name}"))

    def put_standing(self, name: str, standing: Standing) -> None:
        self._store.put_meta(f"acme standing {name}", standing.packed())

    # --- secrets -----------------------------------------------------------------------------

    async def secret(self, kind: Secret) -> SecretBytes | None:
        """A secret, None where there is none or its envelope does not open."""
        return await self.opened(kind.place)

    async def put_secret(self, kind: Secret, value: SecretBytes) -> None:
        """Store a secret, or forget it when it is empty."""
        mark = str(self._clock.now()).encode("ascii")
        await self.seal(kind.place, value.reveal(), {_MARK: mark})

    def secrets_mark(self) -> str:
        """Another text whenever a secret was stored."""
        return (self._store.get_meta(_MARK) or b"").decode("ascii", "replace")

    # --- the account -------------------------------------------------------------------------

    async def account_key(self, directory: str) -> AccountKey | None:
        """The key of the account at an authority."""
        found = await self._account(directory)
        try:
            return AccountKey.from_pem(SecretBytes(str(found["key"]).encode("ascii"))) if found else None
        except PkiError:
            return None

    async def account(self, directory: str) -> Account | None:
        """The account at an authority; None where it was never registered with its key."""
        found = await self._account(directory)
        if not found or not found["url"]:
            return None
        return Account(directory, SecretBytes(str(found["key"]).encode("ascii")), str(found["url"]))

    def account_facts(self, directory: str) -> dict[str, Any]:
        """What may be shown of the account without its key: `url`, `thumbprint`, `contact`; empty where there is none."""
        raw = self._store.get_meta(f"acme account facts {directory}")
        found: dict[str, Any] = orjson.loads(raw) if raw else {}
        return found

    async def put_account(self, directory: str, key: AccountKey, url: str, contact: str) -> None:
        """Keep an account, or before it is registered (without URL) its key alone, so that an interrupted registration
        does not leave an account behind that nobody has the key of."""
        value = {"key": key.pem.reveal().decode("ascii"), "url": url}
        facts = {"url": url, "thumbprint": key.thumbprint, "contact": contact}
        beside = {f"acme account facts {directory}": orjson.dumps(facts)}
        await self.seal(f"acme account {directory}/", orjson.dumps(value), beside)

    def forget_account(self, directory: str) -> None:
        """Give up a key that the authority does not take any more."""
        self._store.put_metas({f"acme account {directory}/": None, f"acme account facts {directory}": None})

    async def _account(self, directory: str) -> dict[str, Any]:
        return _loaded(await self.opened(f"acme account {directory}/"))

    # --- orders and what came of them ----------------------------------------------------------

    def journal(self, name: str, slot: str) -> SealedJournal:
        """The journal of one order; `slot` is `main` or `beside`."""
        return SealedJournal(self, f"acme order {name} {slot}/")

    async def ready(self, name: str) -> Ready | None:
        """What was issued and is not in force yet."""
        found = _loaded(await self.opened(f"acme ready {name}/"))
        try:
            if not found:
                return None
            return Ready(Profile.from_document(found["profile"]), found["wish"], tuple(found["remarks"]))
        except PkiError:
            return None

    async def put_ready(self, name: str, ready: Ready | None) -> None:
        value = b""
        if ready is not None:
            profile = ready.profile.with_key_document()
            value = orjson.dumps({"profile": profile, "wish": ready.wish, "remarks": ready.remarks})
        await self.seal(f"acme ready {name}/", value)

    # --- envelopes ---------------------------------------------------------------------------

    async def seal(self, name: str, value: bytes, beside: Mapping[str, bytes | None] | None = None) -> None:
        """Keep a value sealed, or forget it when it is empty; `beside` is stored with it, in clear."""
        sealed = await self._keeper.seal(name, _NO_REVISION, value) if value else None
        self._store.put_metas({name: sealed, **(beside or {})})

    async def opened(self, name: str) -> SecretBytes | None:
        """A sealed value; None where there is none or its envelope does not open."""
        sealed = self._store.get_meta(name)
        if not sealed:
            return None
        try:
            return SecretBytes(await self._keeper.open(name, _NO_REVISION, sealed))
        except (SealBroken, OperatorError):
            return None


class SealedJournal:
    """Implements `certs.acme.ports.OrderJournal`."""

    def __init__(self, vault: AcmeVault, name: str) -> None:
        self._vault = vault
        self._name = name

    async def load(self) -> SavedOrder | None:
        found = _loaded(await self._vault.opened(self._name))
        if not found:
            return None
        return SavedOrder(
            found["url"],
            found["directory"],
            found["account_url"],
            tuple(found["names"]),
            found["profile"],
            SecretBytes(str(found["key"]).encode("ascii")),
            found["made"],
        )

    async def save(self, order: SavedOrder, /) -> None:
        value = {
            "url": order.url,
            "directory": order.directory,
            "account_url": order.account_url,
            "names": order.names,
            "profile": order.profile,
            "key": order.key_pem.reveal().decode("ascii"),
            "made": order.made,
        }
        await self._vault.seal(self._name, orjson.dumps(value))

    async def forget(self) -> None:
        await self._vault.seal(self._name, b"")


def _loaded(found: SecretBytes | None) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(found.reveal()) if found else {}
    return value
