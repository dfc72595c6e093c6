"""When the CA would like a certificate to be renewed (RFC 9773).

A CA that revokes in bulk, or spreads its load, says so in a window for each certificate, at a URL that is made of the issuer's key
identifier and the serial number (§4.1). The question is unsigned. How often it is asked is the CA's Retry-After within a
minute and a day (§4.3.2), six hours where it says nothing.
"""

from __future__ import annotations

import asyncio

from cryptography import x509

from gatepost.certs.acme.client import DEFAULT_LIMITS, AcmeClient, Limits
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.ports import HttpPort, Pause
from gatepost.core.ports import Clock
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.policy.renew import Window
from gatepost.wire.acme import read_renewal_info
from gatepost.wire.acme_requests import certificate_id, retry_after

SHORTEST, LONGEST = 60.0, 86_400.0
USUAL = 6 * 3600.0


def certificate_id_of(leaf: bytes) -> str:
    """The id of a certificate (DER), also for `replaces`; empty where it names no issuer's key, or cannot be read."""
    try:
        certificate = read_certificate(leaf)
        identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (PkiError, x509.ExtensionNotFound):
        return ""
    key = identifier.key_identifier
    return certificate_id(key, certificate.parsed.serial_number) if key else ""


async def renewal_window(
    http: HttpPort,
    directory_url: str,
    leaf: bytes,
    clock: Clock,
    *,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> Window | None:
    """The suggested window of a certificate; None where the CA has none for it.

    Raises AcmeFailed when the CA cannot be asked or its answer makes no sense: go by the fraction of life then, and
    ask again later (RFC 9773 §4.3.3).
    """
    identifier = certificate_id_of(leaf)
    client = AcmeClient(http, directory_url, clock, limits=limits, pause=pause)
    base = (await client.directory()).renewal_info
    if not base or not identifier:
        return None
    what = "the renewal information"
    try:
        answer = await client.get(f"{base.rstrip('/')}/{identifier}", what)
    except AcmeFailed as failure:
        if failure.status == 404:
            return None
        raise
    suggested = client.understood(read_renewal_info, answer, what)
    told = retry_after(answer.headers, clock.now())
    return Window(
        suggested.start,
        suggested.end,
        min(max(USUAL if told is None else told, SHORTEST), LONGEST),
        suggested.explanation,
    )
