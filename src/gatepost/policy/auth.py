"""Who a client is by SMTP AUTH, what that lets it do, and how often it may fail.

Whoever has proven who he is relays: his recipients do not pass the RAT, whatever the policy's action (`authenticated`). The rest of the policy
(TLS, sizes, limits, the client's certificate) stays as it is. Nobody is let in by a failure: without success an `Admission` does not change.

Failures are counted by address and by user, over an hour (`AuthRules`); who has used up either may not even try. The two counters
are keyed by `address_key` and `user_key`: an IPv6 /64 is one address, and a name counts however it is written. The counting itself is the caller's.

`SmtpUsers` are the local users as a worker knows them: verifiers, never pass-phrases. A name that it does not know, or that is switched off,
gets the verifier of nobody: the same work, the same messages, and no success (C30).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gatepost.config.model import Document
from gatepost.config.smtp_auth import AuthMechanism
from gatepost.config.values import limit_value
from gatepost.policy.admit import Action, Admission
from gatepost.wire.scram import ScramVerifier

LOCAL = "local"  # the profile that the log names: the gateway's own users
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0  # seconds before the answer to a failed attempt


@dataclass(frozen=True, slots=True)
class AuthRules:
    """How clients may say who they are, and failures an hour that are borne; None is unlimited."""

    mechanisms: tuple[str, ...] = tuple(mechanism.value for mechanism in AuthMechanism)
    per_address: int | None = 20
    per_user: int | None = 10
    per_session: int = 3


def compile_auth(document: Document) -> AuthRules:
    """The rules of a document."""
    section = document.smtp_auth
    return AuthRules(
        tuple(mechanism.value for mechanism in section.mechanisms),
        limit_value(section.max_failures_per_address),
        limit_value(section.max_failures_per_user),
        section.max_failures_per_session,
    )


@dataclass(frozen=True, slots=True)
class SmtpUsers:
    """The enabled users of role `smtp`, by name. `secret` makes the verifiers of nobody, the same in all workers."""

    verifiers: Mapping[str, ScramVerifier] = field(default_factory=dict, repr=False)
    secret: bytes = field(default=b"", repr=False)

    def verifier(self, user: str) -> ScramVerifier:
        """What a pass-phrase or a proof is compared with."""
        known = self.verifiers.get(user)
        return known if known is not None else ScramVerifier.nobody(self.secret, user)

    def __contains__(self, user: str) -> bool:
        return user in self.verifiers


def authenticated(admission: Admission, user: str) -> Admission:
    """What a connection may do whose client has proven to be `user`."""
    return replace(admission, action=Action.RELAY, user=user)


def address_key(network: str) -> str:
    """What failures of an address are counted under; `network` is `Admission.network`. No listener's name begins so."""
    return f"\0auth address/{network}"


def user_key(user: str) -> str:
    """What failures for a user are counted under, however the name is written."""
    return f"\0auth user/{unicodedata.normalize('NFKC', user).casefold()}"


def delay_after(failures: int) -> float:
    """Seconds before the answer to a failed attempt, the `failures`th of its address within an hour."""
    return min(FIRST_DELAY * 2.0 ** max(failures - 1, 0), LONGEST_DELAY) if failures < 16 else LONGEST_DELAY
