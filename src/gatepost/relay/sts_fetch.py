"""Fetching a domain's MTA-STS policy file: `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461 §3.3).

The host must prove itself by the authorities that verify mail servers too; a redirect is not followed, an inside address not called, and
more than 64 KiB or a minute is too much. The HTTP client is loaded with the first fetch: a worker that needs none does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gatepost.core.reasons import ReasonCode
from gatepost.net.resolver import Resolver
from gatepost.pki.anchors import Anchors
from gatepost.wire.mta_sts import MAX_POLICY, POLICY_PATH, StsFault

if TYPE_CHECKING:
    from gatepost.net.http import PublicHttp

SECONDS = 60.0


class PolicyFetcher:
    """Fetches with the resolver and the roots of the moment; `allow_inside` is for laboratories."""

    def __init__(
        self,
        resolver: Callable[[], Resolver],
        anchors: Callable[[], Anchors],
        allow_inside: Callable[[], bool],
        seconds: float = SECONDS,
    ) -> None:
        self._resolver = resolver
        self._anchors = anchors
        self._allow_inside = allow_inside
        self._seconds = seconds

    async def __call__(self, domain: str) -> bytes:
        """The octets of the file. Raises StsFault."""
        from gatepost.net.http import HttpFailed

        client = self._client()
        try:
            answer = await client.get(f"https://mta-sts.{domain}{POLICY_PATH}", max_body=MAX_POLICY)
        except HttpFailed as failure:
            code = ReasonCode.STS_WEB_TLS if failure.unproven else ReasonCode.STS_FETCH_FAILED
            raise StsFault(failure.text, code) from None
        finally:
            await client.close()
        if answer.status != 200:
            raise _unfit(f"the web server answered {answer.status}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/plain":
            raise _unfit(f"the web server gave {kind[:60] or 'no content type'}, not text/plain")
        return answer.body

    def _client(self) -> PublicHttp:
        from gatepost.net.http import PublicHttp, looked_up_by

        trust = b"".join(certificate.pem for certificate in self._anchors().certificates)
        return PublicHttp(
            looked_up_by(self._resolver()), trust, timeout=self._seconds, allow_inside=self._allow_inside()
        )


def _unfit(text: str) -> StsFault:
    """The server answered, with something else than the file."""
    return StsFault(text, ReasonCode.STS_FETCH_FAILED)
