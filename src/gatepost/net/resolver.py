"""Names and addresses for the mail's way: MX, A and AAAA, and the confirmed name of a client.

How it works. Every look-up goes through one cache of bounded size; several that want the same thing at the
same time share one question. A look-up that was begun goes on when its caller is cancelled, since its answer will be
wanted again; that of a client's name ends with the last session that waits for it. `close` ends them all.

What it trusts. The configured resolvers, for what they say; for what is proven see `DnsClient`. CNAMEs are
followed within an answer (RFC 5321 §5.1 lets an MX host or a domain be an alias; loops end after 16).

Limits. 10,000 cached answers; 200 questions on the way, as many about clients' names and as many to DNS lists, each in
their own queue; 10 s a look-up, 2 s for a client's name. TTLs are kept within 1 s to 1 h, negative ones within 5 min (RFC 2308 §5), failures are remembered for 5 s; a confirmed client
name for 60 s.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

from gatepost.core.address import IPAddress
from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.core.tlsa import UNREADABLE, Tlsa, TlsaAnswer, TlsaState, owner
from gatepost.net.dns_answer import (
    DnsAnswer,
    DnsStatus,
    HostName,
    Mx,
    NoName,
    PtrAnswer,
    Undetermined,
)
from gatepost.net.dns_client import DnsClient, NoAnswer, Response
from gatepost.net.dns_trust import DnsTrust, Validation
from gatepost.net.shared import SharedWork

T = TypeVar("T")

CACHE_SIZE = 10_000
MAX_QUESTIONS = 200
LOOKUP_SECONDS = 10.0
PTR_SECONDS = 2.0
MIN_TTL, MAX_TTL = 1.0, 3600.0
MAX_NEGATIVE_TTL = 300.0
FAILURE_TTL = 5.0
NAME_TTL = 60.0
LIST_TRIES = (0.6, 0.8)
CLOSED = "the name servers were changed meanwhile"
NAME_TRIES = (0.7, 1.3)  # the second server of two has its turn within the two seconds
MAX_PTR_NAMES = 5  # an address with hundreds of PTR records is not worth hundreds of questions

_CONFIRMED = "confirmed"  # the kind of a client's confirmed name in the cache
_OWN_COUNTS = {"TLSA": "tlsa", _CONFIRMED: "client_names"}


class Resolver:
    """One per worker. All methods answer with a value; none raises for what DNS does."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: DnsClient,
        *,
        hosts: Mapping[IPAddress, str] | None = None,
        trust: DnsTrust | None = None,
        cache_size: int = CACHE_SIZE,
        lookup_seconds: float = LOOKUP_SECONDS,
        ptr_seconds: float = PTR_SECONDS,
        name_tries: tuple[float, ...] = NAME_TRIES,
    ) -> None:
        self._loop = loop
        self._client = client
        self._hosts = dict(hosts or {})
        self._trust = trust
        self._cache_size = cache_size
        self._lookup_seconds = lookup_seconds
        self._ptr_seconds = ptr_seconds
        self._name_tries = name_tries
        self._cache: OrderedDict[tuple[str, str], tuple[float, Any]] = OrderedDict()
        self._counts = {name: CacheCounts() for name in ("dns", *_OWN_COUNTS.values())}
        self._shared = SharedWork()
        self._closed = False
        # Apart from each other: a flood of senders must not hold up deliveries.
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)
        self._name_questions = asyncio.Semaphore(MAX_QUESTIONS)
        self._list_questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def mx(self, domain: str) -> DnsAnswer[Mx]:
        """The MX records of a domain (A-labels), by preference; the null MX has an empty host."""
        return await self._answer(domain, dns.rdatatype.MX, _mx_of)

    async def addresses(self, host: str) -> DnsAnswer[IPAddress]:
        """All addresses of a host, IPv4 first. Temporary only when nothing was found and something is unknown."""
        v4, v6 = await asyncio.gather(
            self._answer(host, dns.rdatatype.A, _address_of),
            self._answer(host, dns.rdatatype.AAAA, _address_of),
        )
        return _combined(v4, v6)

    async def txt(self, name: str) -> DnsAnswer[str]:
        """The TXT records of a name, each with its strings joined; octets that are no ASCII become `\\x…`."""
        return await self._answer(name, dns.rdatatype.TXT, _text_record)

    async def tlsa(self, host: str, port: int) -> TlsaAnswer:
        """The TLSA records of a service, asked for only where the host itself is signed (RFC 7672 §2.2.2, D1 to D4)."""
        if self._trust is None or not self._trust.validating:
            return TlsaAnswer(TlsaState.UNAVAILABLE, detail="no resolver is known to validate DNSSEC")
        v4, v6 = await asyncio.gather(
            self._answer(host, dns.rdatatype.A, _address_of),
            self._answer(host, dns.rdatatype.AAAA, _address_of),
        )
        # Either family is enough: many zones cannot deny the other one properly (D3).
        signed = next((answer for answer in (v4, v6) if answer.found and answer.secure), None)
        if signed is not None:
            bases = list(dict.fromkeys((signed.canonical or host, host)))
        else:
            alias = next((answer for answer in (v4, v6) if answer.found and answer.canonical != host), None)
            if alias is None:
                # An unsigned host is never asked for TLSA records: its name servers may choke on it (D2).
                return TlsaAnswer(TlsaState.ABSENT, detail=f"the addresses of {host} are not signed")
            link = await self._answer(host, dns.rdatatype.CNAME, _name_of)
            if link.temporary:
                return TlsaAnswer(TlsaState.FAILED, detail=f"CNAME of {host}: {link.detail}")
            if not link.secure:
                return TlsaAnswer(TlsaState.ABSENT, detail=f"the addresses of {host} are not signed")
            bases = [host]  # a signed alias into an unsigned zone (D4)
        return await self._tlsa_of(bases, port)

    async def _tlsa_of(self, bases: list[str], port: int) -> TlsaAnswer:
        for base in bases:
            answer = await self._answer(owner(base, port), dns.rdatatype.TLSA, _tlsa_record)
            if answer.temporary:
                return TlsaAnswer(TlsaState.FAILED, detail=f"TLSA of {base}: {answer.detail}")
            if answer.found and answer.secure:
                return TlsaAnswer(TlsaState.FOUND, answer.values, base)
        return TlsaAnswer(TlsaState.ABSENT, detail=f"{bases[0]} has no TLSA records")

    async def ptr_confirmed(self, address: IPAddress) -> PtrAnswer:
        """The name of a client: its PTR name, provided that the name has the address (2 s, and no longer than somebody waits)."""
        if name := self._hosts.get(address):
            return HostName(name)
        key = (str(address), _CONFIRMED)
        return await self._cached(key, lambda: self._confirm_in_time(address), _name_ttl, of_client=True)

    def known_name(self, address: IPAddress) -> PtrAnswer | None:
        """What `ptr_confirmed` would say at once; None when it would have to ask."""
        if name := self._hosts.get(address):
            return HostName(name)
        entry = self._cache.get((str(address), _CONFIRMED))
        if entry is None or entry[0] <= self._loop.time():
            return None
        answer: PtrAnswer = self._hit((str(address), _CONFIRMED))
        return answer

    async def entries(self, name: str) -> DnsAnswer[IPAddress]:
        """The A records of an entry of a DNS list (RFC 5782). Not cached, since what is made of them is.

        Several servers are tried within two seconds; the caller bounds the whole, and a cancelled look-up ends.
        """
        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return DnsAnswer(DnsStatus.NXDOMAIN, ttl=MAX_NEGATIVE_TTL, detail="not a name that DNS can hold")
        try:
            async with self._list_questions:
                response = await self._client.ask(question, dns.rdatatype.A, try_seconds=LIST_TRIES)
            return _read(response, _address_of)
        except NoAnswer as failure:
            return _temporary(str(failure))

    async def want_proof(self) -> None:
        """What is signed shall be known from now on: a message requires it. The servers are tried, if nothing asked for that before."""
        if self._trust is None:
            return
        if not self._trust.started:
            self._trust.start()
            self.forget()  # nobody knew what of it was signed
        await self._trust.settled()

    @property
    def verdicts(self) -> tuple[Validation, ...]:
        """What the probe of each server came to; none where DNSSEC is not asked for, or before the first probe."""
        return self._trust.verdicts if self._trust is not None else ()

    def cache_states(self) -> dict[str, CacheState]:
        """The one cache by what it holds; the limit is that of all together."""
        sizes = Counter(_OWN_COUNTS.get(kind, "dns") for _, kind in self._cache)
        return {name: counts.state(sizes[name], self._cache_size) for name, counts in self._counts.items()}

    def forget(self) -> None:
        """Drop everything cached (a commit changed the servers, or their trust)."""
        self._cache.clear()

    async def close(self) -> None:
        """End all look-ups on the way; who waits for one is told that there is no answer: a commit has changed the servers."""
        self._closed = True
        if self._trust is not None:
            await self._trust.close()
        await self._shared.close()

    # --- cache and sharing -----------------------------------------------------------------------------

    async def _cached(
        self,
        key: tuple[str, str],
        look_up: Callable[[], Coroutine[Any, Any, T]],
        ttl: Callable[[T], float],
        *,
        of_client: bool = False,
    ) -> T:
        """What is cached, or a look-up that is shared with those who want the same for the same purpose."""
        entry = self._cache.get(key)
        if entry is not None:
            if entry[0] > self._loop.time():
                value: T = self._hit(key)
                return value
            del self._cache[key]
        self._counts[_OWN_COUNTS.get(key[1], "dns")].misses += 1
        # A delivery does not wait in the clients' queue, and what a client asked for ends with it.
        whose = (key, of_client)
        return await self._shared.join(whose, lambda: self._fill(key, look_up, ttl), keep=not of_client)

    def _hit(self, key: tuple[str, str]) -> Any:
        self._cache.move_to_end(key)
        self._counts[_OWN_COUNTS.get(key[1], "dns")].hits += 1
        return self._cache[key][1]

    async def _fill(
        self,
        key: tuple[str, str],
        look_up: Callable[[], Coroutine[Any, Any, T]],
        ttl: Callable[[T], float],
    ) -> T:
        value = await look_up()
        self._cache[key] = (self._loop.time() + ttl(value), value)
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return value

    async def _answer(
        self,
        name: str,
        kind: dns.rdatatype.RdataType,
        convert: Callable[[Any], T],
        *,
        of_client: bool = False,
    ) -> DnsAnswer[T]:
        async def look_up() -> DnsAnswer[T]:
            return await self._ask(name, kind, convert, of_client)

        def ttl(answer: DnsAnswer[T]) -> float:
            # What failed in the hurry of a greeting is no word about deliveries.
            return 0.0 if of_client and answer.temporary else answer.ttl

        return await self._cached((name, kind.name), look_up, ttl, of_client=of_client)

    async def _ask(
        self, name: str, kind: dns.rdatatype.RdataType, convert: Callable[[Any], T], of_client: bool
    ) -> DnsAnswer[T]:
        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return DnsAnswer(DnsStatus.NXDOMAIN, ttl=MAX_NEGATIVE_TTL, detail="not a name that DNS can hold")
        places, tries = (self._name_questions, self._name_tries) if of_client else (self._questions, None)
        try:
            if self._trust is not None and self._trust.started:
                await self._trust.settled()
            async with asyncio.timeout(self._lookup_seconds), places:
                response = await self._client.ask(question, kind, try_seconds=tries)
            return _read(response, convert)
        except NoAnswer as failure:
            return _temporary(str(failure))
        except TimeoutError:
            return _temporary(f"no answer within {self._lookup_seconds:g} s")
        except asyncio.CancelledError:
            if self._closed:
                return _temporary(CLOSED)
            raise

    # --- the name of a client ---------------------------------------------------------------------------

    async def _confirm_in_time(self, address: IPAddress) -> PtrAnswer:
        try:
            async with asyncio.timeout(self._ptr_seconds):
                return await self._confirm(address)
        except TimeoutError:
            return Undetermined(f"no answer within {self._ptr_seconds:g} s")
        except asyncio.CancelledError:
            if self._closed:
                return Undetermined(CLOSED)
            raise

    async def _confirm(self, address: IPAddress) -> PtrAnswer:
        reverse = dns.reversename.from_address(str(address)).to_text()
        pointers = await self._answer(reverse, dns.rdatatype.PTR, _name_of, of_client=True)
        if pointers.temporary:
            return Undetermined(pointers.detail)
        kind = dns.rdatatype.A if address.version == 4 else dns.rdatatype.AAAA
        unknown = ""
        names = [name for name in pointers.values if _is_host_name(name)][:MAX_PTR_NAMES]
        for name in names:
            forward = await self._answer(name, kind, _address_of, of_client=True)
            if address in forward.values:
                return HostName(name)
            if forward.temporary:
                unknown = forward.detail
        return Undetermined(unknown) if unknown else NoName(names[0] if names else "")


# --- reading answers --------------------------------------------------------------------------------------


def _temporary(detail: str) -> DnsAnswer[Any]:
    return DnsAnswer(DnsStatus.TEMPORARY, ttl=FAILURE_TTL, detail=detail)


def _read(response: Response, convert: Callable[[Any], T]) -> DnsAnswer[T]:
    message = response.message
    try:
        chain = message.resolve_chaining()
    except (dns.exception.DNSException, dns.message.NotQueryResponse):
        return _temporary("malformed answer")
    if response.damaged:
        return DnsAnswer(
            DnsStatus.FOUND,
            (*(convert(record) for record in chain.answer or ()), *[_UNREADABLE] * response.damaged),
            response.secure,
            MIN_TTL,
        )
    if chain.answer is None:
        missing = message.rcode() == dns.rcode.NXDOMAIN
        return DnsAnswer(
            DnsStatus.NXDOMAIN if missing else DnsStatus.NO_DATA,
            secure=response.secure,
            ttl=min(max(float(chain.minimum_ttl), MIN_TTL), MAX_NEGATIVE_TTL),
        )
    values = sorted({convert(record) for record in chain.answer}, key=_order)
    return DnsAnswer(
        DnsStatus.FOUND,
        tuple(values),
        response.secure,
        min(max(float(chain.minimum_ttl), MIN_TTL), MAX_TTL),
        canonical=_text_of(chain.canonical_name),
    )


def _order(value: object) -> tuple[int, str]:
    return (value.preference, value.host) if isinstance(value, Mx) else (0, str(value))


def _combined(v4: DnsAnswer[IPAddress], v6: DnsAnswer[IPAddress]) -> DnsAnswer[IPAddress]:
    values = v4.values + v6.values
    both = (v4, v6)
    secure = all(answer.secure for answer in both if answer.found or not values)
    ttl = min(v4.ttl, v6.ttl)
    if values:
        return DnsAnswer(DnsStatus.FOUND, values, secure, ttl)
    for status in (DnsStatus.TEMPORARY, DnsStatus.NXDOMAIN):
        for answer in both:
            if answer.status is status:
                return DnsAnswer(status, (), secure, ttl, answer.detail)
    return DnsAnswer(DnsStatus.NO_DATA, (), secure, ttl)


def _name_ttl(answer: PtrAnswer) -> float:
    """A name is shared for a minute; what could not be told is asked again soon."""
    return FAILURE_TTL if isinstance(answer, Undetermined) else NAME_TTL


def _text_of(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()


def _mx_of(record: Any) -> Mx:
    return Mx(record.preference, _text_of(record.exchange))


def _text_record(record: Any) -> str:
    return b"".join(record.strings).decode("ascii", "backslashreplace")


_UNREADABLE: Any = UNREADABLE  # only TLSA records may be damaged in an answer that counts


def _tlsa_record(record: Any) -> Tlsa:
    return Tlsa(record.usage, record.selector, record.mtype, bytes(record.cert))


def _address_of(record: Any) -> IPAddress:
    return ipaddress.ip_address(record.address)


def _name_of(record: Any) -> str:
    return _text_of(record.target)


def _is_host_name(name: str) -> bool:
    """Letters, digits, hyphens, underscores and dots: a PTR record may hold any octets."""
    return (
        name.isascii() and bool(name) and all(character.isalnum() or character in "-_." for character in name)
    )
