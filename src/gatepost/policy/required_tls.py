"""Destinations to which required TLS fails: what is known of each, when it works again, and what is said (R30).

A domain fails from its first failed connection at a mandatory level on. It works again when TLS came up with every address that
failed. An address that has not failed for an hour while others worked does not count any more: it may have left the DNS, or nobody tries
it while a better one takes the mail. What neither failed nor worked for a week is forgotten, without a word: its mail is gone.

Limits: 1,000 domains, the one that failed longest ago goes first; 16 addresses of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from gatepost.core.ports import Alert

MAX_DOMAINS = 1_000
MAX_ADDRESSES = 16
OTHERS_WORK = 3_600.0
FORGOTTEN = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed connection, as its event told it."""

    at: float
    domain: str
    address: str
    wanted: str
    reason: str


@dataclass(slots=True)
class Failing:
    """A domain that fails: since when, how often, the last failure, and when each address failed last."""

    since: float
    last: float
    count: int
    address: str
    wanted: str
    reason: str
    addresses: dict[str, float] = field(default_factory=dict)


class FailingDomains:
    """All domains that fail now. Fed with failures and successes in the order of the log."""

    def __init__(self, known: Mapping[str, Failing] | None = None) -> None:
        self._domains = dict(known or {})

    def __bool__(self) -> bool:
        return bool(self._domains)

    def __contains__(self, domain: str) -> bool:
        return domain in self._domains

    def get(self, domain: str) -> Failing | None:
        """What is known of a domain that fails."""
        return self._domains.get(domain)

    def failed(self, failure: Failure) -> Failing:
        """A connection failed; returns what is known of its domain now."""
        known = self._domains.pop(failure.domain, None)
        if known is None:
            known = Failing(failure.at, failure.at, 0, "", "", "")
            if len(self._domains) >= MAX_DOMAINS:
                del self._domains[next(iter(self._domains))]
        self._domains[failure.domain] = known
        known.last = max(known.last, failure.at)
        known.count += 1
        known.address, known.wanted, known.reason = failure.address, failure.wanted, failure.reason
        known.addresses.pop(failure.address, None)
        known.addresses[failure.address] = failure.at
        if len(known.addresses) > MAX_ADDRESSES:
            del known.addresses[next(iter(known.addresses))]
        return known

    def worked(self, domain: str, address: str, at: float) -> Failing | None:
        """TLS came up with an address of the domain; returns what was known of the domain if it works again by that."""
        known = self._domains.get(domain)
        if known is None:
            return None
        if address in known.addresses and at >= known.addresses[address]:
            del known.addresses[address]
        if any(at - failed < OTHERS_WORK for failed in known.addresses.values()):
            return None
        return self._domains.pop(domain)

    def forget(self, now: float) -> None:
        """Drop what has not failed for a week."""
        for domain in [name for name, known in self._domains.items() if now - known.last > FORGOTTEN]:
            del self._domains[domain]

    def plain(self) -> dict[str, Any]:
        """What `of_plain` reads."""
        return {domain: asdict(known) for domain, known in self._domains.items()}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Mapping[str, Any]]) -> FailingDomains:
        """Raises TypeError for what `plain` did not write."""
        return cls({str(domain): Failing(**known) for domain, known in plain.items()})


# --- what is said --------------------------------------------------------------------------------------


def alert_key(domain: str) -> str:
    return f"required-tls:{domain}"


def trouble(domain: str, known: Failing, times: int) -> Alert:
    """The alert of R30: the destination domain, and the reason in the words of the log."""
    failed = "once" if known.count == 1 else f"{known.count:,} times"
    lines = (
        f"Mail to {domain} may only go over TLS ({known.wanted}), and that could not be had.",
        "",
        f"  Destination:  {domain}",
        f"  Reason:  {known.reason}",
        f"  Host:  {known.address}",
        f"  Failed:  {failed} since {_utc(known.since)}",
        "",
        "Nothing went in clear on this connection. The mail is kept and tried again, with the domain's other hosts too,",
        "until its bounce profile gives it up.",
        f"`gatepost log find --address @{domain} --tls failed` shows the attempts.",
    )
    return Alert(alert_key(domain), "warning", f"Required TLS failed: {domain}", "\n".join(lines), times)


def cleared(domain: str, known: Failing, at: float, achieved: str) -> Alert:
    """The alert that it works again."""
    failed = "once" if known.count == 1 else f"{known.count:,} times"
    lines = (
        f"A connection for mail to {domain} has TLS as it is required, since {_utc(at)}.",
        "",
        f"  Destination:  {domain}",
        f"  Now:  {achieved}",
        f"  Before:  {known.reason} ({known.address})",
        f"  Failed:  {failed} from {_utc(known.since)} to {_utc(known.last)}",
    )
    text = "\n".join(lines)
    return Alert(alert_key(domain), "information", f"Required TLS works again: {domain}", text, clears=True)


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
