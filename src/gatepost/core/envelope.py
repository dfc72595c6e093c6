"""The envelope of a message: who sends it, to whom, and what was asked of the transport."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.address import Address


class Notify(StrEnum):
    """RFC 3461 §4.1. No value given means failure and, at our discretion, delay."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Ret(StrEnum):
    """RFC 3461 §4.3: how much of the message a failure report returns."""

    UNSET = ""
    FULL = "FULL"
    HEADERS = "HDRS"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT: the address, and its DSN parameters as the sender gave them.

    `original` is the ORCPT value as received, still in xtext (`rfc822;user+40example.org`), or empty.
    """

    address: Address
    notify: frozenset[Notify] = frozenset()
    original: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One MAIL and its RCPTs. `envelope_id` is ENVID as received, in xtext, or empty.

    `requiretls` is the parameter of RFC 8689: the message passes only to hosts that were found and named securely, over verified
    TLS, and that promise the same. `tls_optional` says that `TLS-Required: No` is heeded: what the recipient published about
    TLS does not hold this message up. Not both: `requiretls` wins, so whoever sets it leaves the other False.
    """

    sender: Address
    recipients: tuple[Recipient, ...]
    body_8bit: bool = False
    smtputf8: bool = False
    ret: Ret = Ret.UNSET
    envelope_id: str = ""
    requiretls: bool = False
    tls_optional: bool = False
