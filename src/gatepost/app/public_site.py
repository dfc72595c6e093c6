"""What the public port serves: the MTA-STS policies of our domains (RFC 8461 §3.3), and URLs that take TLS reports (RFC 8460 §5.4).

A policy is there for its exact host and path. Everything else is answered with 404 and nothing more, so a stranger does not learn which
domains, paths or product there are.

A report that is posted is written down and flushed before it is answered with 201; what it is worth, the job sees that reads it. Anybody may post,
so it is bounded: 30 posts an hour from one address (or one IPv6 network of 64 bits), 500 in all, 15 MiB each.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from gatepost.config.model import Document
from gatepost.core.ports import Clock
from gatepost.net.public_server import owner_of
from gatepost.policy.own_mta_sts import policy_file
from gatepost.store.tls_reports_incoming import Came, IncomingReports
from gatepost.wire.http_server import NOT_FOUND, Answer, Request
from gatepost.wire.mta_sts import POLICY_PATH
from gatepost.wire.tlsrpt import GZIP_TYPE, JSON_TYPE
from gatepost.wire.tlsrpt_received import MAX_MAIL

READING = ("GET", "HEAD")
HOUR = 3_600.0
MAX_AN_HOUR, MAX_OF_ADDRESS = 500, 30

Place = tuple[str, str]  # host and path


class ReportPost:
    """Takes the reports that are posted; one for the gateway, since its limits outlive a configuration."""

    def __init__(self, incoming: IncomingReports, clock: Clock, came: Callable[[], None]) -> None:
        self._incoming = incoming
        self._clock = clock
        self._told = came
        self._since = 0.0
        self._of_address: Counter[str] = Counter()

    def refusal(self, request: Request, peer: str) -> Answer | None:
        """Why a report is not taken now; None: it is, and counted."""
        if request.fields.get("content-type", "").partition(";")[0].strip().lower() not in (
            JSON_TYPE,
            GZIP_TYPE,
        ):
            return Answer(415)
        now = self._clock.monotonic()
        if now - self._since >= HOUR:
            self._since = now
            self._of_address.clear()
        owner = owner_of(peer)
        if self._of_address.total() >= MAX_AN_HOUR or self._of_address[owner] >= MAX_OF_ADDRESS:
            return Answer(429)
        self._of_address[owner] += 1
        return None

    async def take(self, body: bytes, peer: str) -> Answer:
        """Write a report down."""
        if not body:
            return Answer(400)
        name = f"post-{secrets.token_hex(8)}"
        try:
            came = Came("https", peer, self._clock.now())
            await asyncio.to_thread(self._incoming.put, name, came, body)
        except OSError:
            return Answer(503)
        self._told()
        return Answer(201)


class PublicSite:
    """Implements `net.public_server.Site`. `pages` are texts by host and path, `takers` the places where reports are posted."""

    def __init__(
        self,
        pages: Mapping[Place, bytes],
        takers: Collection[Place] = (),
        reports: ReportPost | None = None,
    ) -> None:
        self._pages = pages
        self._takers = frozenset(takers)
        self._reports = reports

    @classmethod
    def of(cls, document: Document, reports: ReportPost | None = None) -> PublicSite:
        """The site of a configuration."""
        pages = {(one.host, POLICY_PATH): policy_file(one) for one in document.mta_sts_policies}
        takers = [(one.comparable_host, one.path) for one in document.tls_reports_received.https]
        return cls(pages, takers, reports)

    def answer(self, request: Request, /) -> Answer:
        page = self._pages.get((request.host, request.path))
        if page is None or request.method not in READING:
            return NOT_FOUND
        return Answer(200, page, "text/plain")

    def wants(self, request: Request, peer: str, /) -> int | Answer:
        if request.method != "POST" or (request.host, request.path) not in self._takers:
            return NOT_FOUND
        if self._reports is None:
            return NOT_FOUND
        return self._reports.refusal(request, peer) or MAX_MAIL

    async def take(self, request: Request, body: bytes, peer: str, /) -> Answer:
        return await self._reports.take(body, peer) if self._reports is not None else NOT_FOUND
