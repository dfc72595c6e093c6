"""One CA, spoken to: nonces, signed requests, refusals, and waiting for an object to change (RFC 8555 §6, §7.5.1).

How it works. Every request takes a nonce from a small pool, which is filled from the answers; when it is empty, one is asked
for. A request that is refused as `badNonce` is signed again with the nonce of the refusal, up to `nonce_tries` times (§6.5). A
question that changes nothing (GET, HEAD, POST-as-GET) is repeated a few times when no answer or an answer of a broken
server comes; a request that changes something is not, since nobody knows whether it was done. `429` and `503` with a short
Retry-After are waited for on the spot; a long one goes to the caller in `AcmeFailed.retry_after`.

Limits. See `Limits`: every loop has an end, every wait a longest; all can be cancelled. Time is the clock's and the pause's.
One client is for one operation: it keeps the directory that it read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gatepost.certs.acme.errors import AcmeFailed, refused
from gatepost.certs.acme.ports import HttpPort, Pause
from gatepost.core.ports import Clock
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.wire.acme import AcmeMalformed, read_directory, read_problem, require_url
from gatepost.wire.acme_objects import Directory, shown
from gatepost.wire.acme_requests import nonce_of, retry_after, signed_request
from gatepost.wire.jose import CONTENT_TYPE, SigningKey

T = TypeVar("T")

MAX_NONCES = 16
_BUSY = frozenset({429, 503})
_BROKEN = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Limits:
    """How often and how long. Times in seconds."""

    nonce_tries: int = 16  # half of all nonces refused still lets 65,535 of 65,536 requests pass
    tries: int = 3  # of a question, and of a request that was put off
    first_wait: float = 1.0  # before a question is repeated; doubles
    short_wait: float = 30.0  # the longest Retry-After that is waited for on the spot
    first_poll: float = 1.0
    longest_poll: float = 20.0
    poll_seconds: float = 300.0  # for one object to change
    total_seconds: float = 1800.0  # for a whole order
    withdraw_seconds: float = 60.0  # for cleaning up behind one name
    parallel: int = 4  # names proved at the same time


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: a key, with the URL of its account once there is one."""

    key: SigningKey = field(repr=False)
    account_url: str = ""


class AcmeClient:
    """Speaks to the CA whose directory is at `directory_url`. Methods raise AcmeFailed."""

    def __init__(
        self,
        http: HttpPort,
        directory_url: str,
        clock: Clock,
        *,
        limits: Limits = DEFAULT_LIMITS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.directory_url = directory_url
        self._http = http
        self._pause = pause
        self._nonces: list[str] = []
        self._directory: Directory | None = None

    async def directory(self) -> Directory:
        """Where everything is; read once."""
        if self._directory is None:
            answer = await self.get(self.directory_url, "the directory")
            self._directory = self.understood(read_directory, answer, "the directory")
        return self._directory

    async def get(self, url: str, what: str) -> HttpAnswer:
        """An unsigned question, answered with 200. Its refusal is raised with the status as kind where none is said."""
        answer = await self._question("GET", url, what)
        if answer.status != 200:
            raise self._refusal(answer, what)
        return answer

    async def ask(self, url: str, signer: Signer, what: str, *, accept: str = "") -> HttpAnswer:
        """A POST-as-GET: a signed question that changes nothing (RFC 8555 §6.3)."""
        return await self.post(url, None, signer, what, accept=accept)

    async def post(
        self, url: str, payload: Mapping[str, Any] | None, signer: Signer, what: str, *, accept: str = ""
    ) -> HttpAnswer:
        """A signed request; the answer has a status below 300. `what` names it in errors: `the new order`."""
        headers = {"Content-Type": CONTENT_TYPE} | ({"Accept": accept} if accept else {})
        rejected, put_off = 0, 0
        while True:
            body = signed_request(signer.key, url, await self._nonce(), payload, signer.account_url)
            answer = await self._exchange("POST", url, what, body, headers, harmless=payload is None)
            if answer.status < 300:
                return answer
            if read_problem(answer.body, answer.status).kind == "badNonce":
                rejected += 1
                if rejected >= self.limits.nonce_tries:
                    raise AcmeFailed(
                        f"the CA refused {what}: {rejected} nonces of its own, one after the other"
                    )
                # What else is in the pool is as old as the one that was refused.
                self._nonces = self._nonces[-1:] if nonce_of(answer.headers) else []
                continue
            put_off += 1
            wait = self._short_wait(answer, harmless=payload is None)
            if wait is None or put_off >= self.limits.tries:
                raise self._refusal(answer, what)
            await self._pause(wait)

    async def poll(
        self,
        url: str,
        signer: Signer,
        read: Callable[[bytes, str], T],
        done: Callable[[T], bool],
        what: str,
    ) -> T:
        """Ask for an object until it is as wanted; as often as the CA says, within bounds (RFC 8555 §7.5.1)."""
        limits = self.limits
        end = self.clock.monotonic() + limits.poll_seconds
        wait = limits.first_poll
        while True:
            answer = await self.ask(url, signer, what)
            value = self.understood(read, answer, what)
            if done(value):
                return value
            told = retry_after(answer.headers, self.clock.now()) or 0.0
            pause = min(max(wait, told), limits.longest_poll)
            if self.clock.monotonic() + pause > end:
                raise AcmeFailed(
                    f"{what} was not decided within {limits.poll_seconds:.0f} s", retry_after=told or None
                )
            await self._pause(pause)
            wait = min(wait * 1.5, limits.longest_poll)

    def understood(self, read: Callable[[bytes, str], T], answer: HttpAnswer, what: str) -> T:
        """The answer's body as a value."""
        try:
            return read(answer.body, self.directory_url)
        except AcmeMalformed as error:
            raise AcmeFailed(f"the CA's answer to {what} cannot be understood: {error}") from None

    def location(self, answer: HttpAnswer, what: str) -> str:
        """The URL of what was made (RFC 8555 §7.3, §7.4)."""
        try:
            return require_url(answer.headers.get("location", ""), self.directory_url, "the `Location`")
        except AcmeMalformed as error:
            raise AcmeFailed(f"the CA's answer to {what} cannot be understood: {error}") from None

    # --- below ------------------------------------------------------------------------------------------

    async def _nonce(self) -> str:
        if self._nonces:
            return self._nonces.pop()
        directory = await self.directory()
        answer = await self._question("HEAD", directory.new_nonce, "a nonce")
        if answer.status not in (200, 204) or not self._nonces:
            raise AcmeFailed(f"the CA gives no nonce: status {answer.status}")
        return self._nonces.pop()

    async def _question(self, method: str, url: str, what: str) -> HttpAnswer:
        """GET or HEAD, repeated while the CA asks for a short time or is broken."""
        for _ in range(self.limits.tries - 1):
            answer = await self._exchange(method, url, what, b"", {}, harmless=True)
            wait = self._short_wait(answer, harmless=True)
            if wait is None:
                return answer
            await self._pause(wait)
        return await self._exchange(method, url, what, b"", {}, harmless=True)

    async def _exchange(
        self, method: str, url: str, what: str, body: bytes, headers: Mapping[str, str], *, harmless: bool
    ) -> HttpAnswer:
        """One exchange; a harmless one is repeated when there is no answer. Had the nonce been used, `post` sees to it."""
        wait = self.limits.first_wait
        tries = self.limits.tries if harmless else 1
        for number in range(1, tries + 1):
            try:
                answer = await self._http.request(method, url, body=body, headers=headers)
            except HttpFailed as failure:
                if number == tries:
                    raise AcmeFailed(f"{_host(url)} did not answer {what}: {failure.text}") from None
                await self._pause(wait)
                wait *= 2
                continue
            if nonce := nonce_of(answer.headers):
                self._nonces = [*self._nonces, nonce][-MAX_NONCES:]
            return answer
        raise AssertionError("unreachable: the last try returns or raises")

    def _short_wait(self, answer: HttpAnswer, *, harmless: bool) -> float | None:
        """How long to wait before the same is asked again; None: not at all."""
        told = retry_after(answer.headers, self.clock.now())
        if answer.status in _BUSY and told is not None:
            return max(told, self.limits.first_wait) if told <= self.limits.short_wait else None
        return self.limits.first_wait if harmless and answer.status in _BROKEN else None

    def _refusal(self, answer: HttpAnswer, what: str) -> AcmeFailed:
        if 300 <= answer.status < 400:
            where = shown(answer.headers.get("location", ""), 200)
            return AcmeFailed(
                f"the CA redirects {what} to `{where}`: set the directory's own URL", permanent=True
            )
        return refused(
            what, read_problem(answer.body, answer.status), retry_after(answer.headers, self.clock.now())
        )


def _host(url: str) -> str:
    """Host and port of a URL, for messages."""
    return shown(urlsplit(url).netloc, 255)
