"""From names to a chain: an order made or resumed, its names proved, finalised, its certificate fetched (RFC 8555 §7.4).

How it works. The order's URL and the certificate's key are in the journal before anything else is done with the order, so
that an interruption at any step loses nothing: the next `obtain` asks the CA where the order stands and goes on from
there. An order that the CA has forgotten, given up or finished too long ago is forgotten here too, and a new one is made.
Names are proved a few at a time; each failure is told with the CA's words for that name.

The key. A resumed order keeps its key, since the CA may have the request for it already; the key that counts comes back in `Issued`.

Limits. A hundred names, half an hour for the whole, see `Limits`. Cancelling withdraws what was presented.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gatepost.certs.acme.accepting import make_request, read_chain, require_sound, top_issuer
from gatepost.certs.acme.account import Account
from gatepost.certs.acme.authorizing import Authorizer
from gatepost.certs.acme.client import DEFAULT_LIMITS, AcmeClient, Limits, Signer
from gatepost.certs.acme.errors import AcmeFailed, UnsoundCertificate, refused
from gatepost.certs.acme.ports import Challenges, HttpPort, OrderJournal, Pause, SavedOrder
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.core.ports import Clock
from gatepost.net.http import HttpAnswer
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import PrivateKey, key_pem, key_text, load_private_key, public_key_der
from gatepost.wire.acme import AcmeMalformed, read_order, require_url
from gatepost.wire.acme_objects import AcmeNameError, Identifier, Order, Problem, Status, identifier_of
from gatepost.wire.acme_requests import PEM_CHAIN, alternate_links, finalize, new_order, revoke

MAX_NAMES = 100  # what the large public CAs take
STALE_SHARE = 0.5  # of its life: a certificate of a resumed order that is older is not taken any more
_NOT_REPLACED = frozenset({"alreadyReplaced", "malformed", "unauthorized"})
_GONE = frozenset({404, 410})
_WHAT = "the order"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is wanted. `profile`: of the CA's own; `replaces`: the id of the certificate renewed (RFC 9773 §5).

    `preferred_issuer` is the common name that the chain should lead to where the CA offers several. `keep_key`: only
    `key` will do, an interrupted order with another is not resumed.
    """

    names: tuple[str, ...]
    key: PrivateKey = field(repr=False)
    profile: str = ""
    replaces: str = ""
    preferred_issuer: str = ""
    keep_key: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """A chain that was looked at, DER, leaf first, with the key that it is for, and the order's URL.

    `remarks` are sentences for the log: what did not go as wished and does no harm.
    """

    chain: tuple[bytes, ...] = field(repr=False)
    url: str
    key: PrivateKey = field(repr=False)
    remarks: tuple[str, ...] = ()


async def obtain(
    request: OrderRequest,
    account: Account,
    http: HttpPort,
    challenges: Challenges,
    journal: OrderJournal,
    clock: Clock,
    *,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> Issued:
    """A certificate for the names. Raises AcmeFailed. The caller stores it, then tells the journal to forget the order."""
    identifiers = _identifiers(request.names)
    try:
        signer = account.signer()
    except PkiError as error:
        raise AcmeFailed(f"the key of the account cannot be used: {error.text}", permanent=True) from None
    client = AcmeClient(http, account.directory, clock, limits=limits, pause=pause)
    issue = _Issue(request, identifiers, account, client, signer, challenges, journal)
    try:
        async with asyncio.timeout(limits.total_seconds):
            return await issue.run()
    except TimeoutError:
        raise AcmeFailed(f"no certificate within {limits.total_seconds / 60:.0f} minutes") from None


async def revoke_certificate(
    certificate: bytes,
    account: Account,
    http: HttpPort,
    clock: Clock,
    *,
    reason: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> None:
    """Revoke a certificate (DER) that this account ordered (RFC 8555 §7.6); 1: key compromise, 4: superseded. Raises AcmeFailed."""
    client = AcmeClient(http, account.directory, clock, limits=limits, pause=pause)
    url = (await client.directory()).revoke_certificate
    if not url:
        raise AcmeFailed("the CA does not revoke by request", permanent=True)
    try:
        await client.post(url, revoke(certificate, reason), account.signer(), "the revocation")
    except AcmeFailed as failure:
        if failure.kind != "alreadyRevoked":
            raise


class _Issue:
    """One run of `obtain`."""

    def __init__(
        self,
        request: OrderRequest,
        identifiers: tuple[Identifier, ...],
        account: Account,
        client: AcmeClient,
        signer: Signer,
        challenges: Challenges,
        journal: OrderJournal,
    ) -> None:
        self.request = request
        self.identifiers = identifiers
        self.account = account
        self.client = client
        self.signer = signer
        self.challenges = challenges
        self.journal = journal
        self.key = request.key
        self.remarks: list[str] = []

    async def run(self) -> Issued:
        resumed = await self._resume()
        if resumed is not None and resumed[1].status is Status.VALID:
            issued = await self._left_over(*resumed)
            if issued is not None:
                return issued
            resumed = None
        url, order = resumed or await self._new()
        if order.status is Status.PENDING:
            await self._prove(order)
            order = await self._until(url, lambda found: found.status is not Status.PENDING)
        if order.status is Status.READY:
            order = await self._finalize(url, order)
        if order.status is Status.PROCESSING:
            order = await self._until(url, lambda found: found.status is not Status.PROCESSING)
        if order.status is not Status.VALID:
            raise self._given_up(order)
        return await self._fetch(url, order)

    # --- the order -------------------------------------------------------------------------------------

    async def _resume(self) -> tuple[str, Order] | None:
        """The order of the journal, if it is the same order and still worth going on with."""
        saved = await self.journal.load()
        if saved is None:
            return None
        key = self._saved_key(saved)
        order = await self._still_there(saved) if key is not None else None
        if key is None or order is None:
            await self.journal.forget()
            return None
        self.key = key
        return saved.url, order

    def _saved_key(self, saved: SavedOrder) -> PrivateKey | None:
        """The order's key when everything about it is as it is wanted now, else None."""
        mine = (self.account.directory, self.account.url, self._names, self.request.profile)
        if mine != (saved.directory, saved.account_url, saved.names, saved.profile):
            return None
        try:
            require_url(saved.url, self.account.directory)
            key = load_private_key(saved.key_pem.reveal())
        except (AcmeMalformed, PkiError):
            return None
        same = public_key_der(key) == public_key_der(self.request.key)
        alike = key_text(key) == key_text(self.request.key) and not self.request.keep_key
        return key if same or alike else None

    async def _still_there(self, saved: SavedOrder) -> Order | None:
        try:
            order = self._read(await self.client.ask(saved.url, self.signer, _WHAT))
        except AcmeFailed as failure:
            if failure.kind in ("malformed", "unauthorized") or failure.status in _GONE:
                return None
            raise
        over = order.status not in (Status.PENDING, Status.READY, Status.PROCESSING, Status.VALID)
        late = order.expires is not None and order.expires <= self.client.clock.now()
        if over or (late and order.status is not Status.VALID):
            return None
        return order if set(order.identifiers) == set(self.identifiers) else None

    async def _left_over(self, url: str, order: Order) -> Issued | None:
        """The certificate of an order that was finished and never stored; None, and forgotten, where it is of no use."""
        try:
            issued = await self._fetch(url, order)
            if self._worth_taking(issued.chain[0]):
                return issued
        except AcmeFailed as failure:
            if not isinstance(failure, UnsoundCertificate) and failure.status not in _GONE:
                raise
        await self.journal.forget()
        self.key = self.request.key
        return None

    async def _new(self) -> tuple[str, Order]:
        directory = await self.client.directory()
        profile, replaces = self.request.profile, self.request.replaces if directory.renewal_info else ""
        if profile and profile not in directory.profile_names:
            offered = ", ".join(directory.profile_names) or "none"
            raise AcmeFailed(
                f"the CA has no profile `{profile}`; it has: {offered}", permanent=True, kind="invalidProfile"
            )
        try:
            url, order = await self._make(directory.new_order, profile, replaces)
        except AcmeFailed as failure:
            if not replaces or failure.kind not in _NOT_REPLACED:
                raise
            # RFC 9773 §5: the CA may not link the two; the new certificate is what counts.
            self.remarks.append(f"ordered anew instead of as a replacement: {failure.text}")
            url, order = await self._make(directory.new_order, profile, "")
        saved = SavedOrder(
            url,
            self.account.directory,
            self.account.url,
            self._names,
            profile,
            key_pem(self.key),
            self.client.clock.now(),
        )
        await self.journal.save(saved)
        return url, order

    async def _make(self, new_order_url: str, profile: str, replaces: str) -> tuple[str, Order]:
        payload = new_order(self.identifiers, profile=profile, replaces=replaces)
        answer = await self.client.post(new_order_url, payload, self.signer, "the new order")
        order = self._read(answer)
        if set(order.identifiers) != set(self.identifiers):
            raise AcmeFailed("the CA made an order for other names than those asked for")
        return self.client.location(answer, "the new order"), order

    async def _prove(self, order: Order) -> None:
        """All names, a few at a time; each goes to its end, so that a failure is told for every name that has one."""
        authorizer = Authorizer(self.client, self.signer, self.challenges, self.remarks)
        places = asyncio.Semaphore(self.client.limits.parallel)

        async def one(url: str) -> AcmeFailed | None:
            async with places:
                return await authorizer.prove(url)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(url)) for url in order.authorizations]
        failures = [failure for task in tasks if (failure := task.result()) is not None]
        if failures:
            raise _together(failures)

    async def _finalize(self, url: str, order: Order) -> Order:
        csr = make_request(self.identifiers, self.key)
        try:
            answer = await self.client.post(order.finalize, finalize(csr), self.signer, "the signing request")
        except AcmeFailed as failure:
            if failure.kind != "orderNotReady":
                raise
            # RFC 8555 §7.4: perhaps an earlier request was taken and its answer lost.
            return await self._until(url, lambda found: found.status is not Status.READY)
        return self._read(answer)

    async def _until(self, url: str, done: Callable[[Order], bool]) -> Order:
        return await self.client.poll(url, self.signer, read_order, done, _WHAT)

    def _given_up(self, order: Order) -> AcmeFailed:
        problem = order.problem or Problem("", f"the order is {order.status.value}")
        return refused("the certificate", problem)

    # --- the certificate -------------------------------------------------------------------------------

    async def _fetch(self, url: str, order: Order) -> Issued:
        """The chain that the CA prefers, or the one that the configuration does."""
        what = "the certificate"
        answer = await self.client.ask(order.certificate, self.signer, what, accept=PEM_CHAIN)
        chain = read_chain(answer.body)
        wanted = self.request.preferred_issuer
        if wanted and top_issuer(chain) != wanted:
            chain = await self._alternate(wanted, alternate_links(answer.headers)) or chain
        remarks = require_sound(chain, self.key, self.identifiers, self.client.clock.now())
        return Issued(chain, url, self.key, (*self.remarks, *remarks))

    async def _alternate(self, wanted: str, links: Sequence[str]) -> tuple[bytes, ...] | None:
        """The first other chain that leads to `wanted`. None is no failure: the usual chain works too."""
        for link in links:
            try:
                require_url(link, self.account.directory, "another chain")
                answer = await self.client.ask(link, self.signer, "another chain", accept=PEM_CHAIN)
                chain = read_chain(answer.body)
                require_sound(chain, self.key, self.identifiers, self.client.clock.now())
            except (AcmeFailed, AcmeMalformed) as failure:
                self.remarks.append(f"another chain is not looked at: {failure}")
                continue
            if top_issuer(chain) == wanted:
                return chain
        self.remarks.append(f"no chain leads to `{wanted}`: the CA's own choice is taken")
        return None

    def _worth_taking(self, leaf: bytes) -> bool:
        """Not the certificate that is to be replaced, and most of its life ahead."""
        if self.request.replaces and certificate_id_of(leaf) == self.request.replaces:
            return False
        certificate = read_certificate(leaf)
        life = certificate.not_after - certificate.not_before
        return certificate.not_after - self.client.clock.now() > life * STALE_SHARE

    def _read(self, answer: HttpAnswer) -> Order:
        return self.client.understood(read_order, answer, _WHAT)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(identifier.value for identifier in self.identifiers)


def _identifiers(names: Sequence[str]) -> tuple[Identifier, ...]:
    """Each name once, in the order given. Raises AcmeFailed for what no certificate can be ordered for."""
    try:
        found = tuple(dict.fromkeys(identifier_of(name) for name in names))
    except AcmeNameError as error:
        raise AcmeFailed(str(error), permanent=True) from None
    if not 0 < len(found) <= MAX_NAMES:
        raise AcmeFailed(
            f"a certificate is ordered for 1 to {MAX_NAMES} names, not {len(found)}", permanent=True
        )
    return found


def _together(failures: Sequence[AcmeFailed]) -> AcmeFailed:
    """One failure of several names: permanent only when all are, patient as the most patient."""
    if len(failures) == 1:
        return failures[0]
    waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
    return AcmeFailed(
        f"{len(failures)} names could not be proved",
        retry_after=max(waits, default=None),
        permanent=all(failure.permanent for failure in failures),
        details=tuple(failure.whole for failure in failures),
        kind=failures[0].kind if len({failure.kind for failure in failures}) == 1 else "",
    )
