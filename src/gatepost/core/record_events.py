"""The events that only records are made of: what one delivery connection came to, and certificates seen for the first time.

They have no line in the mail log; `logs/events.jsonl` has them. What is told once for each connection is not told again for the
messages that reuse it: `Delivered`, `RecipientDelayed` and `RecipientBounced` name the connection by its DCID. Only an attempt that takes an
open connection instead of making one, mostly another destination's, tells how it came to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gatepost.core.event import Event

# --- for records only ------------------------------------------------------------------------------


@dataclass(slots=True)
class OutboundSession(Event):
    """What one attempt to connect to one host came to, whether or not it was called.

    There is one for each attempt: a host that may not be used (`dcid` is 0), a failed dial, a broken greeting, TLS that failed or was
    refused, and success. A second attempt without our client certificate is a second one. `domain` is the recipients', `began` when the
    attempt at the whole destination began (one value for all its hosts), `later` the hosts behind this one as `host [address]:port`.

    `hop` has the names that led to the host, `tlsa` what was learnt of its TLSA records (`state` is `not-asked`, `unavailable`, `absent`,
    `failed` or `found`; `base`, `records`, `problem`), `sts` the MTA-STS policy (`domain`, `mode`, empty for none, `id`, `policy` as lines,
    `problem`, `problem_code`) or None where none was asked for. `esmtp`, `starttls` and `helo` are what EHLO in clear was answered. `tls` is the judgement
    (the keys of the delivery's TLS record) or None when it never came to one: then `broken` says what ended the connection. `lost`
    says what ended it behind the judgement, before any message. `tls_report` says that the attempt was made for a TLS report of our own,
    `borrowed` that no connection was made: the open one of this DCID does, judged anew for this destination.
    """

    dcid: int
    domain: str
    host: str
    address: str
    port: int
    local_address: str  # empty when no connection came up
    began: float
    hop: dict[str, Any]
    tlsa: dict[str, Any]
    sts: dict[str, Any] | None
    esmtp: bool
    starttls: bool
    helo: str
    broken: str
    lost: str
    tls: dict[str, Any] | None
    later: list[str] = field(default_factory=list)
    tls_report: bool = False
    borrowed: bool = False


@dataclass(slots=True)
class CertificateSeen(Event):
    """A certificate of a peer's chain that this worker has not told of for some hours. `der` is base64."""

    fingerprint: str
    der: str
