"""What the public port serves: the MTA-STS policies of our domains, each for its exact host and path (RFC 8461 §3.3).

Everything else is answered with 404 and nothing more, so a stranger does not learn which domains, paths or product there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.config.model import Document
from gatepost.policy.own_mta_sts import policy_file
from gatepost.wire.http_server import NOT_FOUND, Answer, Request
from gatepost.wire.mta_sts import POLICY_PATH

READING = ("GET", "HEAD")


class PublicSite:
    """Implements `net.public_server.Site`. `pages` are texts by host and path."""

    def __init__(self, pages: Mapping[tuple[str, str], bytes]) -> None:
        self._pages = pages

    @classmethod
    def of(cls, document: Document) -> PublicSite:
        """The site of a configuration."""
        return cls({(one.host, POLICY_PATH): policy_file(one) for one in document.mta_sts_policies})

    def answer(self, request: Request, /) -> Answer:
        page = self._pages.get((request.host, request.path))
        if page is None or request.method not in READING:
            return NOT_FOUND
        return Answer(200, page, "text/plain")

    def wants(self, request: Request, peer: str, /) -> int | Answer:
        return NOT_FOUND

    async def take(self, request: Request, body: bytes, peer: str, /) -> Answer:
        return NOT_FOUND
