"""What the mail of a TLS report has to prove whom it is from: its signatures, and the domains that it names (RFC 8460 §3, §5.3).

`signed_mail` reads a hostile message, in a process made for that; what comes of it is small, and plain enough to be handed on and kept until
the keys are known. The domain of `From` is the sender's, that of `TLS-Report-Submitter` the submitter's; some senders put the name of their
company there, which is no domain and says nothing that could be proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatepost.wire.dkim_message import MessageFault, author_domain, domain_of, split_message
from gatepost.wire.dkim_verify import Claim, claims, read_claim

MAX_SUBMITTERS = 10


@dataclass(frozen=True, slots=True)
class SignedMail:
    """`author` is the domain of From, empty where it names not one address; `submitters` are the domains in the fields of that name.
    `problem` says why no signature can be checked on the message at all."""

    claims: tuple[Claim, ...] = ()
    author: str = ""
    submitters: tuple[str, ...] = ()
    problem: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "claims": [claim.plain() for claim in self.claims],
            "author": self.author,
            "submitters": list(self.submitters),
            "problem": self.problem,
        }


def read_signed_mail(plain: Mapping[str, Any]) -> SignedMail:
    """What `SignedMail.plain` wrote."""
    return SignedMail(
        tuple(read_claim(one) for one in plain["claims"]),
        plain["author"],
        tuple(plain["submitters"]),
        plain["problem"],
    )


def signed_mail(data: bytes, now: float) -> SignedMail:
    """The proofs in a message that came at `now`."""
    try:
        parts = split_message(data)
    except MessageFault as fault:
        return SignedMail(problem=str(fault))
    named = parts.texts("tls-report-submitter")[:MAX_SUBMITTERS]
    submitters = dict.fromkeys(domain for text in named if (domain := domain_of(text)))
    return SignedMail(tuple(claims(parts, now)), author_domain(parts), tuple(submitters))
