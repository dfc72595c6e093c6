"""One automatic certificate ordered: the account first, then a certificate for each kind of key, together one profile.

How it works. The account's key is in the vault before the authority hears of it, and each order is in its journal before
anything is done with it, so that whatever interrupts us, the next try goes on from there: a certificate that was issued and
not stored is fetched again, not ordered again. With a second kind of key both certificates come, or none is used.

An account that the authority does not know any more (a test authority that was started anew) is registered again with the same key,
once; one that was closed gets a new key at the next try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gatepost.certs.acme.account import Account, AccountKey, ExternalAccount
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.issuing import Issued, OrderRequest
from gatepost.certs.acme.ports import Challenges, OrderJournal
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.certs.acme_secrets import Secret
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.renewal import Standing, Wanted
from gatepost.config.acme import Acme, AcmeKey
from gatepost.core.ports import Clock
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, PrivateKey, generate, key_pem, key_text, load_private_key
from gatepost.pki.profile import Origin, Pair, Profile
from gatepost.policy.renew import Window
from gatepost.wire.acme_objects import Directory

SLOTS = ("main", "beside")
_TEXTS = {
    AcmeKey.P256: "EC secp256r1",
    AcmeKey.P384: "EC secp384r1",
    AcmeKey.RSA2048: "RSA 2048",
    AcmeKey.RSA3072: "RSA 3072",
    AcmeKey.RSA4096: "RSA 4096",
}


class Authority(Protocol):
    """An authority that speaks ACME, as the renewals use it. Every method may raise AcmeFailed."""

    async def directory(self, url: str, /) -> Directory: ...

    async def find(self, directory: str, key: AccountKey, /) -> Account | None:
        """The account of a key; None where the authority has none."""
        ...

    async def register(
        self,
        directory: str,
        key: AccountKey,
        /,
        *,
        contact: tuple[str, ...],
        terms_agreed: bool,
        external: ExternalAccount | None,
    ) -> Account: ...

    async def obtain(
        self, request: OrderRequest, account: Account, challenges: Challenges, journal: OrderJournal, /
    ) -> Issued: ...

    async def window(self, directory: str, leaf: bytes, /) -> Window | None:
        """When the authority wants a certificate (DER) to be renewed (RFC 9773)."""
        ...


OpenCurrent = Callable[[], Awaitable[Profile | None]]
"""The profile in force with its keys, for a renewal with the same key; None where it cannot be opened."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of it: a profile to be put in force, and sentences for the log."""

    profile: Profile
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ordering:
    """Orders one certificate after the other from one authority."""

    authority: Authority
    vault: AcmeVault
    clock: Clock

    async def order(
        self,
        wanted: Wanted,
        standing: Standing,
        challenges: Challenges,
        current: Profile | None,
        opened: OpenCurrent,
    ) -> Ordered:
        """A new profile for a certificate. Raises AcmeFailed; what was reached is in the journals then."""
        known = None if wanted.certificate.new_key else await opened()
        pairs: list[Pair] = []
        remarks: list[str] = []
        kinds = [wanted.certificate.key, *([wanted.certificate.also] if wanted.certificate.also else [])]
        for slot, kind in zip(SLOTS, kinds, strict=False):
            kept, replaced = _kept_key(known, kind), _same_family(current, kind)
            request = OrderRequest(
                wanted.names,
                kept if kept is not None else await asyncio.to_thread(generate, KeyKind(kind.value)),
                profile=wanted.certificate.profile or "",
                replaces=_id_of(replaced, standing),
                preferred_issuer=wanted.certificate.preferred_chain or "",
                keep_key=not wanted.certificate.new_key,
            )
            issued = await self._obtain(
                wanted.acme, request, challenges, self.vault.journal(wanted.name, slot)
            )
            chain = issued.chain
            pairs.append(Pair(chain[0], chain[1:], key_pem(issued.key), Origin.AUTOMATIC, self.clock.now()))
            remarks += issued.remarks
        return Ordered(_profile(wanted.name, pairs), tuple(remarks))

    async def forget(self, name: str) -> None:
        """The orders of a certificate are over: it is stored."""
        for slot in SLOTS:
            await self.vault.journal(name, slot).forget()

    async def _obtain(
        self, acme: Acme, request: OrderRequest, challenges: Challenges, journal: OrderJournal
    ) -> Issued:
        account = await self.account(acme)
        try:
            return await self.authority.obtain(request, account, challenges, journal)
        except AcmeFailed as failure:
            if failure.kind != "accountDoesNotExist":
                raise
        key = await self.vault.account_key(acme.directory)
        if key is not None:
            await self.vault.put_account(acme.directory, key, "", "")
        return await self.authority.obtain(request, await self.account(acme), challenges, journal)

    async def account(self, acme: Acme) -> Account:
        """The account at the authority of the configuration; registered, or brought up to date, where that is needed."""
        directory, contact = acme.directory, acme.contact or ""
        known = await self.vault.account(directory)
        if known is not None and self.vault.account_facts(directory).get("contact") == contact:
            return known
        key = await self.vault.account_key(directory)
        if key is None:
            key = await asyncio.to_thread(AccountKey.generate)
            await self.vault.put_account(directory, key, "", "")
        try:
            account = await self.authority.register(
                directory,
                key,
                contact=(contact,) if contact else (),
                terms_agreed=acme.terms_agreed,
                external=await self._external(acme),
            )
        except AcmeFailed as failure:
            if failure.kind == "accountClosed":
                self.vault.forget_account(directory)
            raise
        await self.vault.put_account(directory, key, account.url, contact)
        return account

    async def _external(self, acme: Acme) -> ExternalAccount | None:
        if acme.eab is None:
            return None
        secret = await self.vault.secret(Secret.EAB)
        if secret is None:
            raise AcmeFailed(
                "the key of the external account is not stored: `gatepost acme secret eab` stores it",
                permanent=True,
            )
        return ExternalAccount.from_text(acme.eab.key_id, secret.reveal().decode("ascii", "replace"))


def _profile(name: str, pairs: list[Pair]) -> Profile:
    """One profile of one certificate, or of two. Raises AcmeFailed where keys and certificates do not belong together."""
    main, *rest = pairs
    profile = Profile(
        name,
        main.certificate,
        main.intermediates,
        main.key,
        origin=main.origin,
        created=main.created,
        beside=rest[0] if rest else None,
    )
    try:
        profile.require_keys()
    except PkiError as error:
        raise AcmeFailed(error.text) from None
    return profile


def _same_family(profile: Profile | None, kind: AcmeKey) -> Pair | None:
    """The served certificate with the same kind of algorithm, which the new one is to replace."""
    for pair in profile.pairs if profile is not None else ():
        if ("RSA" in _public_text(pair)) == (kind.family == "RSA"):
            return pair
    return None


def _public_text(pair: Pair) -> str:
    return type(pair.leaf.parsed.public_key()).__name__


def _id_of(pair: Pair | None, standing: Standing) -> str:
    """The id for `replaces` (RFC 9773 §5); empty for a certificate that we did not order."""
    if pair is None or pair.leaf.fingerprint not in standing.issued:
        return ""
    return certificate_id_of(pair.certificate)


def _kept_key(profile: Profile | None, kind: AcmeKey) -> PrivateKey | None:
    """The key of that very kind that is in use, for a renewal with the same key."""
    for pair in profile.pairs if profile is not None else ():
        if pair.key and pair.origin is not Origin.SELF_SIGNED:
            try:
                key = load_private_key(pair.key.reveal())
            except PkiError:
                continue
            if key_text(key) == _TEXTS[kind]:
                return key
    return None
