"""The job that posts alerts to the services under `alerts.webhooks`, signed, until each has answered with 2xx.

What is to be posted is a value of the store (`control.alert_hooks`), so a restart loses nothing. The services are served side by side, each
in the order of the alerts; after a failure a service rests for 30 s, then for twice as long, up to an hour. What waited for three days, and what is
for a URL that the configuration does not name any more, is given up. The log has each posting that went, the first failure of a
series, and what was given up, with the service's host and never its path.

Limits: 10 s for an exchange; an answer of 64 KiB; no redirect is followed. A service may get an alert twice, with the same `id`: when its
answer was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gatepost.certs.crls import trusted_pem
from gatepost.control.alert_hooks import (
    SECRET,
    SECRET_REVISION,
    Posting,
    postings,
    put_postings,
    service,
    signed_headers,
)
from gatepost.core.errors import OperatorError
from gatepost.core.events import Noted, Warned
from gatepost.core.ports import Clock, Emit
from gatepost.net.http import HttpAnswer, HttpFailed, OperatorHttp
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import Keeper, SealBroken

FIRST_REST, LONGEST_REST = 30.0, 3_600.0
MAX_AGE = 3 * 86_400.0
IDLE = 3_600.0
TIMEOUT = 10.0
MAX_ANSWER = 1 << 16

NO_SECRET = "no secret is stored to sign it (`gatepost alert secret`)"


class Http(Protocol):
    """The part of `OperatorHttp` that is needed here."""

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpAnswer: ...

    async def close(self) -> None: ...


def _operator_http(trust_pem: bytes) -> Http:
    return OperatorHttp(trust_pem, timeout=TIMEOUT, max_body=MAX_ANSWER)


class WebhookJob:
    """Implements `app.jobs.Job`. `make_http` makes a client that trusts these roots."""

    name = "webhooks"

    def __init__(
        self,
        store: ConfigStore,
        keeper: Keeper,
        emit: Emit,
        clock: Clock,
        *,
        make_http: Callable[[bytes], Http] = _operator_http,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._emit = emit
        self._clock = clock
        self._make_http = make_http

    async def run(self) -> float:
        """Post what is due; the seconds until something is due again."""
        waiting = self._without_lost()
        now = self._clock.now()
        by_service: dict[str, list[Posting]] = {}
        for one in waiting:
            by_service.setdefault(one.url, []).append(one)
        due = [queue for queue in by_service.values() if _is_due(queue[0], now)]
        if due:
            await self._post_all(due)
        now, left = self._clock.now(), {one.url: one for one in reversed(postings(self._store))}
        return max(0.0, min((one.due - now for one in left.values()), default=IDLE))

    def _without_lost(self) -> list[Posting]:
        """What waits, without what nobody wants any more."""
        found, now = postings(self._store), self._clock.now()
        if not found:
            return found
        version = self._store.latest()
        alerts = (version.content.document.get("alerts") or {}) if version is not None else {}
        urls = {hook["url"] for hook in alerts.get("webhooks") or ()}
        lost = [one for one in found if one.url not in urls or now - one.at > MAX_AGE]
        for one in lost:
            why = (
                "it waited for three days"
                if one.url in urls
                else "the configuration does not name it any more"
            )
            self._emit(Warned(now, f"Alert was not posted to {service(one.url)}: {why}: {one.subject}"))
        kept = [one for one in found if one not in lost]
        if lost:
            put_postings(self._store, kept)
        return kept

    async def _post_all(self, queues: Sequence[Sequence[Posting]]) -> None:
        secret = await self._secret()
        version = self._store.latest()
        trust = await asyncio.to_thread(trusted_pem, version.content) if version is not None else b""
        http = self._make_http(trust)
        try:
            async with asyncio.TaskGroup() as group:
                for queue in queues:
                    group.create_task(
                        self._serve(http, queue, secret), name=f"webhook {service(queue[0].url)}"
                    )
        finally:
            await http.close()

    async def _serve(self, http: Http, queue: Sequence[Posting], secret: bytes) -> None:
        """Post to one service, in order, until one fails."""
        for one in queue:
            problem = await self._post(http, one, secret)
            now = self._clock.now()
            if problem:
                rest = min(FIRST_REST * 2.0 ** min(one.tries, 20), LONGEST_REST)
                if not one.tries:
                    text = f"Alert cannot be posted to {service(one.url)}: {problem}; it waits and is tried again: {one.subject}"
                    self._emit(Warned(now, text))
                self._replace(one, replace(one, tries=one.tries + 1, due=now + rest))
                return
            self._emit(Noted(now, f"Alert was posted to {service(one.url)}: {one.subject}"))
            self._replace(one, None)

    async def _post(self, http: Http, one: Posting, secret: bytes) -> str:
        """One attempt; returns what went wrong, or nothing."""
        if not secret:
            return NO_SECRET
        body = one.body.encode()
        try:
            answer = await http.request(
                "POST", one.url, body=body, headers=signed_headers(secret, body, self._clock.now())
            )
        except HttpFailed as failed:
            return failed.text
        return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"

    def _replace(self, old: Posting, new: Posting | None) -> None:
        """In the queue as it is now: others may have come meanwhile."""
        kept = []
        for one in postings(self._store):
            if (one.id, one.url) != (old.id, old.url):
                kept.append(one)
            elif new is not None:
                kept.append(new)
        put_postings(self._store, kept)

    async def _secret(self) -> bytes:
        """The secret, or nothing where there is none or its envelope does not open."""
        sealed = self._store.get_meta(SECRET)
        if not sealed:
            return b""
        try:
            return await self._keeper.open(SECRET, SECRET_REVISION, sealed)
        except (SealBroken, OperatorError):
            return b""


def _is_due(one: Posting, now: float) -> bool:
    """A clock that was set back does not hold anything up for longer than the longest rest."""
    return not now < one.due <= now + LONGEST_REST
