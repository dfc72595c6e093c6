"""Whether anybody wants to know if DNS is signed (architecture 4, Names and DNS).

It is worth knowing for TLSA records, for a level that verifies (the name of a secure MX record authenticates then), and for messages that
require TLS (RFC 8689 §4.2.1). It costs a probe of each name server once an hour and no question more for any delivery.
"""

from __future__ import annotations

from gatepost.config.model import Document
from gatepost.policy.destinations import DestinationTable


def wants_dnssec(document: Document, destinations: DestinationTable) -> bool:
    """Name servers are tried, and the AD flag of those that validate counts."""
    if not document.dns.validate_dnssec:
        return False
    return destinations.heeds_dnssec or any(listener.requiretls for listener in document.listeners)
