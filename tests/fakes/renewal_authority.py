"""An authority behind the port of the renewals (`certs.ordering.Authority`): it issues, refuses, is down, or stops half way.

It keeps orders like a real one: what was finished and not stored is given again, for the journal's sake. Time is the clock's.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes.ca import TestAuthority

from gatepost.certs.acme.account import Account, AccountKey, ExternalAccount
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.issuing import Issued, OrderRequest
from gatepost.certs.acme.ports import Challenges, OrderJournal, SavedOrder
from gatepost.core.ports import Clock
from gatepost.pki.certificate import read_certificate
from gatepost.pki.keys import key_pem, load_private_key
from gatepost.policy.renew import Window
from gatepost.wire.acme_objects import Directory

DAY = 86_400.0


class CutOff(Exception):
    """The process ends here, as far as the test is concerned."""


@dataclass
class Registration:
    contact: tuple[str, ...]
    external: ExternalAccount | None
    url: str


@dataclass
class FakeAuthority:
    """`life` is that of a certificate in seconds, `backdated` how far before now it begins."""

    clock: Clock
    life: float = 90 * DAY
    backdated: float = 3600.0
    down: bool = False
    refuses: AcmeFailed | None = None
    cut_off_at: str = ""  # "order" (made, not finished) or "stored" (finished, not told)
    window_of: Callable[[str], Window | None] = lambda fingerprint: None
    on_order: Callable[[OrderRequest], None] = lambda request: None
    terms: str = ""
    accounts: dict[str, Registration] = field(default_factory=dict)
    orders: list[OrderRequest] = field(default_factory=list)
    finished: dict[str, Issued] = field(default_factory=dict)
    resumed: int = 0
    asked_windows: list[str] = field(default_factory=list)
    trusted: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        at = datetime.datetime.fromtimestamp(int(self.clock.now()), datetime.UTC)
        self.root = TestAuthority("Fake Root", at=at)
        self.ca = self.root.intermediate("Fake CA")

    @asynccontextmanager
    async def connect(self, trust_pem: bytes) -> AsyncIterator[FakeAuthority]:
        self.trusted.append(trust_pem)
        yield self

    def _answer(self) -> None:
        if self.down:
            raise AcmeFailed("acme.example did not answer the directory: connection refused")

    async def directory(self, url: str, /) -> Directory:
        self._answer()
        return Directory(url, f"{url}/nonce", f"{url}/account", f"{url}/order", terms=self.terms)

    async def find(self, directory: str, key: AccountKey, /) -> Account | None:
        self._answer()
        found = self.accounts.get(key.thumbprint)
        return Account(directory, key.pem, found.url) if found is not None else None

    async def register(
        self,
        directory: str,
        key: AccountKey,
        /,
        *,
        contact: tuple[str, ...],
        terms_agreed: bool,
        external: ExternalAccount | None,
    ) -> Account:
        self._answer()
        if self.terms and not terms_agreed:
            raise AcmeFailed("the CA has terms", permanent=True)
        url = f"{directory}/account/{len(self.accounts) + 1}"
        known = self.accounts.get(key.thumbprint)
        self.accounts[key.thumbprint] = Registration(contact, external, known.url if known else url)
        return Account(directory, key.pem, self.accounts[key.thumbprint].url)

    async def obtain(
        self, request: OrderRequest, account: Account, challenges: Challenges, journal: OrderJournal, /
    ) -> Issued:
        self._answer()
        if AccountKey.from_pem(account.key_pem).thumbprint not in self.accounts:
            raise AcmeFailed("no such account", kind="accountDoesNotExist")
        self.on_order(request)
        if self.refuses is not None:
            raise self.refuses
        saved = await journal.load()
        if saved is not None and set(saved.names) == set(request.names):
            self.resumed += 1
        else:
            self.orders.append(request)
            url = f"https://acme.example/order/{len(self.orders)}"
            saved = SavedOrder(
                url,
                account.directory,
                account.url,
                request.names,
                request.profile,
                key_pem(request.key),
                self.clock.now(),
            )
            await journal.save(saved)
        if self.cut_off_at == "order":
            raise CutOff
        if saved.url not in self.finished:
            self.finished[saved.url] = self._issue(request, saved)
        if self.cut_off_at == "stored":
            raise CutOff
        return self.finished[saved.url]

    def _issue(self, request: OrderRequest, saved: SavedOrder) -> Issued:
        start = datetime.datetime.fromtimestamp(int(self.clock.now() - self.backdated), datetime.UTC)
        key = load_private_key(saved.key_pem.reveal())
        made = self.ca.issue(
            list(request.names),
            key=key,  # type: ignore[arg-type]
            start=start,
            end=start + datetime.timedelta(seconds=self.life),
        )
        return Issued(made.chain_der, saved.url, key)

    async def window(self, directory: str, leaf: bytes, /) -> Window | None:
        self._answer()
        fingerprint = read_certificate(leaf).fingerprint
        self.asked_windows.append(fingerprint)
        return self.window_of(fingerprint)
