"""Whether a TLS report is proven to be of whom it says, and whether it counts (RFC 8460 §3, §5.3).

A report's submitter is verified when a DKIM signature of its mail is good, and of the domain in From and of the domain that
`TLS-Report-Submitter` names, where that is a domain. The signature may also be of a parent of these: who holds a parent decides what
stands below it, and could publish a key there. The other way round it does not count, since what is below may have been given to
somebody else. That is stricter than the alignment of DMARC, and needs no list of the domains under which people register.

Receivers have to ignore reports in mail without such a signature (RFC 8460 §3): they are kept and shown, marked, and raise no alert unless the
operator says so. What is posted over HTTPS has no signature by the RFC; who opens that way in lets it count.

Time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.wire.dkim_verify import DkimResult, Judged
from gatepost.wire.tlsrpt_signed import SignedMail

DAY = 86_400.0
FIRST_PAUSE = 300.0
LONGEST_PAUSE = 4 * 3_600.0
_TOLD_FIRST = (
    DkimResult.PASS,
    DkimResult.TEMPORARY,
    DkimResult.FAIL,
    DkimResult.PERMANENT,
    DkimResult.NONE,
)
_UNSIGNED = {
    "https": "reports over HTTPS carry no signature",
    "file": "the file is not the mail that it came in, which would have a signature",
}


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of whom a report is from. `domain` is the one that signed, whether or not that makes the submitter `verified`."""

    verified: bool
    result: DkimResult
    domain: str
    reason: str


def unsigned(way: str) -> Trust:
    """Of what came without a mail around it, `way` as in `store.tls_reports_incoming.Came`."""
    reason = _UNSIGNED.get(way, "there is no mail that a signature could stand in")
    return Trust(False, DkimResult.NONE, "", reason)


def trust(mail: SignedMail, judged: Sequence[Judged]) -> Trust:
    """By what the signatures of its mail came to, in the order of `mail.claims`."""
    if mail.problem:
        reason = f"no signature can be checked on the mail: {mail.problem}"
        return Trust(False, DkimResult.PERMANENT, "", reason)
    if not judged:
        return Trust(False, DkimResult.NONE, "", "the mail has no DKIM signature")
    best = min(judged, key=lambda one: _rank(one, mail))
    if best.result is DkimResult.PASS and not is_of(best.domain, mail):
        return Trust(False, best.result, best.domain, _stranger(best.domain, mail))
    return Trust(best.result is DkimResult.PASS, best.result, best.domain, best.reason)


def _rank(one: Judged, mail: SignedMail) -> int:
    """Which of several is told, the lowest: what proves it, or still may; then what is good at least; then those that could have."""
    mine, order = is_of(one.domain, mail), _TOLD_FIRST.index(one.result)
    if mine and one.result in (DkimResult.PASS, DkimResult.TEMPORARY):
        return order
    if one.result is DkimResult.PASS:
        return len(_TOLD_FIRST)
    return order + len(_TOLD_FIRST) * (2 if mine else 3)


def is_of(domain: str, mail: SignedMail) -> bool:
    """Whether a signature of the domain would prove whom the mail is from."""
    named = (mail.author, *mail.submitters)
    return bool(domain) and all(_equal_or_below(one, domain) for one in named)


def _equal_or_below(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)


def _stranger(domain: str, mail: SignedMail) -> str:
    """Why a good signature proves nothing of the submitter."""
    if not mail.author:
        return f"signed by {domain}, but From does not name one address"
    which, named = "From is", mail.author
    if _equal_or_below(mail.author, domain):
        which = "its submitter is"
        named = next(one for one in mail.submitters if not _equal_or_below(one, domain))
    return f"signed by {domain}, but {which} {named}"


def counts(*, verified: bool, way: str, verified_only: bool) -> bool:
    """Whether a report raises alerts."""
    return verified or way == "https" or not verified_only


def next_look_up(since: float, now: float) -> float | None:
    """When a key that could not be looked up is to be asked for again; None when that was tried for a day. `since` is the report's coming."""
    age = now - since
    if not 0 <= age < DAY:
        return None
    return now + min(max(FIRST_PAUSE, age), LONGEST_PAUSE)
