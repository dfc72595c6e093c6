"""Fetching a revocation list from where the configuration says (R11, architecture 8).

URLs are the operator's, so they are fetched as such: plain HTTP (a list is signed and no secret) and inside addresses are allowed,
redirects are not followed. HTTPS is verified against the lists of roots in force; its certificate is not looked up in revocation lists,
since that could shut out the very list that is needed.
"""

from __future__ import annotations

from gatepost.config.authorities import RevocationSource
from gatepost.net.http import HttpFailed, OperatorHttp
from gatepost.pki.revocation import MAX_LIST


async def download(source: RevocationSource, trust_pem: bytes, *, timeout: float = 30.0) -> bytes:
    """Fetch a list from its URL, or from the second one. Raises HttpFailed with what was wrong with each."""
    http = OperatorHttp(trust_pem, timeout=timeout, max_body=MAX_LIST)
    reasons = []
    try:
        for url in (source.url, source.secondary):
            if url is None:
                continue
            try:
                answer = await http.request("GET", url)
            except HttpFailed as failed:
                reasons.append(failed.text)
                continue
            if answer.status == 200 and answer.body:
                return answer.body
            reasons.append(_refusal(answer.status))
    finally:
        await http.close()
    raise HttpFailed("; the second URL: ".join(reasons))


def _refusal(status: int) -> str:
    if status == 200:
        return "the answer is empty"
    if 300 <= status < 400:
        return f"the server answered {status}: it sends us elsewhere, which is not followed"
    return f"the server answered {status}"
