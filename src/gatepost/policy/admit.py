"""The gates of a session that comes in: connection, sender, recipient, message.

`admit` decides about a connection by the HAT of its listener's rules (`admit_rules` compiles them), and the `check_…` functions about
what it then says.
Each answer carries its reason: an `Admission` the group and the entry that matched as the log prints
them, a `Refusal` the public text and the cause for the log. Counting (connections, recipients an hour) is the caller's; the
numbers to count to stand in the `EffectivePolicy`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gatepost.config.bounce_verification import UntaggedBounces
from gatepost.config.inbound import PolicyAction
from gatepost.config.smtp_auth import AuthLevel
from gatepost.core.address import Address, IPAddress
from gatepost.core.reply import Refusal
from gatepost.core.tls import InboundTls
from gatepost.policy.hat import (
    CouldNotTell,
    Hat,
    HatMatch,
    NameState,
    NoScore,
    PeerName,
    Score,
    plain_address,
)
from gatepost.policy.rat import Rat
from gatepost.policy.tls_in import InboundTlsRule

NO_ACCESS = "Access to this mail system is refused"
IMPLICIT_GROUP = "ALL"  # the group of senders that no row of the HAT names

TOO_MANY_RECIPIENTS = Refusal(452, "4.5.3", "Too many recipients")
TOO_MANY_THIS_HOUR = Refusal(452, "4.5.3", "Too many recipients received this hour, try again later")
TOO_MANY_MESSAGES = Refusal(
    421, "4.7.0", "Too many messages on this connection", "Too many messages on this connection", close=True
)
TOO_BIG = Refusal(552, "5.3.4", "Message size exceeds limit", cause="Message size exceeds limit")
AUTH_REQUIRED = Refusal(530, "5.7.0", "Authentication required", cause="SMTP authentication is required")
LOOP = Refusal(554, "5.4.6", "Message loop", cause="Message loop")


class Action(StrEnum):
    """What becomes of a connection, in the words of the log."""

    ACCEPT = "ACCEPT"
    RELAY = "RELAY"
    REJECT = "REJECT"
    TCPREFUSE = "TCPREFUSE"


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """A mail flow policy as one listener uses it. `NO_LIMIT` and None stand for unlimited."""

    name: str
    action: PolicyAction
    tls_rule: InboundTlsRule
    max_messages_per_connection: int = 1_000
    max_recipients_per_message: int = 1_000
    max_message_size: int = 100 * 1024**2
    max_connections_per_ip: int = 1_000
    max_recipients_per_hour: int | None = None
    banner: str = ""
    smtp_auth: AuthLevel = AuthLevel.OFF
    untagged_bounces: UntaggedBounces = UntaggedBounces.REJECT

    @property
    def tls(self) -> InboundTls:
        return self.tls_rule.level

    @property
    def strict(self) -> bool:
        """Slipping past it would be worse than a delay: it rejects or requires TLS."""
        return self.action in (PolicyAction.REJECT, PolicyAction.TCPREFUSE) or self.tls is InboundTls.REQUIRED


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that a listener waits; `session` is None for a session without end."""

    command: int
    data: int
    handshake: int
    session: int | None


@dataclass(frozen=True, slots=True)
class ListenerRules:
    """All that a session of one listener is decided by. `policies` has one policy for each group of the HAT.

    `hostname` is the name in the greeting; `reverse` says whether host names are looked up at all.
    """

    name: str
    interface: str
    address: str
    port: int
    hostname: str
    implicit_tls: bool
    certificate: str
    banner: str
    max_connections: int
    max_hops: int
    requiretls: bool
    heeds_tls_required_no: bool
    timeouts: Timeouts
    hat: Hat
    groups: tuple[str, ...]
    policies: tuple[EffectivePolicy, ...]
    rat: Rat
    reverse: bool
    delay_rejection: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of every listener, by its name."""

    listeners: Mapping[str, ListenerRules]


@dataclass(frozen=True, slots=True)
class Admission:
    """What a connection may do. `policy` is None and `refusal` the greeting when it may do nothing.

    With both it is let talk, and `refusal` is what each of its recipients is answered (delayed rejection).

    `network` is what limits of an address are counted by: the IPv4 address, or the /64 of an IPv6 address. `banner` is
    the text behind the host name in the greeting. `user` is who the client has proven to be (`policy.auth`), or empty.
    `noted` are groups that matched and let the reading go on.
    """

    action: Action
    group: str
    match: str
    network: str
    banner: str = ""
    policy: EffectivePolicy | None = None
    refusal: Refusal | None = None
    score: Score = NoScore.NOT_ENABLED
    noted: tuple[str, ...] = ()
    user: str = ""


# --- the gates ------------------------------------------------------------------------------------


def admit(
    rules: ListenerRules, address: IPAddress, name: PeerName, score: Score = NoScore.NOT_ENABLED
) -> Admission:
    """The HAT's decision about a connection. `name` is the confirmed host name, or why there is none."""
    admission = _admitted(rules, address, name, score)
    return replace(admission, score=score) if score is not NoScore.NOT_ENABLED else admission


def _admitted(rules: ListenerRules, address: IPAddress, name: PeerName, score: Score) -> Admission:
    if name is NameState.UNDETERMINED and not rules.reverse:
        name = NameState.NONE
    match rules.hat.match(address, name, score):
        case HatMatch(group=group, text=text, notes=notes):
            return _admission(rules, rules.policies[group], rules.groups[group], text, address, notes)
        case CouldNotTell(group=group, text=text):
            refusal = Refusal(
                451,
                "",
                f"{rules.hostname} Your host name could not be looked up, try again later",
                cause=f"the host name could not be looked up, and {rules.groups[group]} has {text}",
                close=True,
            )
            return Admission(Action.REJECT, rules.groups[group], text, network_of(address), refusal=refusal)
        case None:
            # A checked document decides about everybody; whatever slips through is refused, never let in.
            return Admission(
                Action.REJECT,
                IMPLICIT_GROUP,
                IMPLICIT_GROUP,
                network_of(address),
                refusal=_rejection(rules, ""),
            )


def _admission(
    rules: ListenerRules,
    policy: EffectivePolicy,
    group: str,
    text: str,
    address: IPAddress,
    notes: tuple[str, ...],
) -> Admission:
    network = network_of(address)
    match policy.action:
        case PolicyAction.ACCEPT:
            return Admission(
                Action.ACCEPT, group, text, network, policy.banner or rules.banner, policy, noted=notes
            )
        case PolicyAction.RELAY:
            return Admission(
                Action.RELAY, group, text, network, policy.banner or rules.banner, policy, noted=notes
            )
        case PolicyAction.TCPREFUSE:
            return Admission(Action.TCPREFUSE, group, text, network, noted=notes)
        case PolicyAction.REJECT | PolicyAction.CONTINUE:
            # `continue` has no row of its own to decide by; the check refuses it as a last word.
            if rules.delay_rejection:
                refused = Refusal(554, "5.7.1", policy.banner or NO_ACCESS)
                return Admission(
                    Action.REJECT, group, text, network, rules.banner, policy, refused, noted=notes
                )
            refusal = _rejection(rules, policy.banner)
            return Admission(Action.REJECT, group, text, network, refusal=refusal, noted=notes)


def _rejection(rules: ListenerRules, banner: str) -> Refusal:
    """The greeting of a rejected connection (RFC 5321 §3.1); greetings carry no enhanced code (RFC 2034 §4)."""
    return Refusal(554, "", f"{rules.hostname} {banner or NO_ACCESS}", close=True)


def network_of(address: IPAddress) -> str:
    """What limits of an address are counted by: an IPv4 address, or the /64 of an IPv6 address."""
    address = plain_address(address)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def still_holds(before: Admission, now: Admission) -> bool:
    """May a session go on under a new configuration? Not when the access rule, the TLS level or that of AUTH changed.

    Nor when a certificate is asked for now and was not before, or the other way round. Whom such a rule accepts may
    change: that is judged anew. Who has proven to be a user relays under every action; whether he still is one is not asked here.
    """
    if before.policy is None or now.policy is None:
        return False
    return (
        (before.action is now.action or bool(before.user))
        and before.policy.tls is now.policy.tls
        and before.policy.tls_rule.asks_certificate == now.policy.tls_rule.asks_certificate
        and before.policy.smtp_auth is now.policy.smtp_auth
    )


def check_messages(admission: Admission, begun: int) -> Refusal | None:
    """May one more message begin on a connection that has begun `begun` messages?"""
    policy = _policy(admission)
    return TOO_MANY_MESSAGES if begun >= policy.max_messages_per_connection else None


def check_sender(rules: ListenerRules, admission: Admission, sender: Address, *, tls: bool) -> Refusal | None:
    """May this sender send on this connection? `tls` says whether the session is under TLS."""
    policy = _policy(admission)
    rule = policy.tls_rule
    refusal = rule.gate(tls_active=tls) or rule.sender_gate(sender, tls_active=tls)
    if refusal is None and policy.smtp_auth is AuthLevel.REQUIRED and not admission.user:
        return AUTH_REQUIRED
    return refusal


def check_recipient(
    rules: ListenerRules, admission: Admission, recipient: Address, accepted: int
) -> Refusal | None:
    """May this recipient be added to a message that has `accepted` recipients? A relaying policy skips the RAT."""
    policy = _policy(admission)
    if admission.refusal is not None:
        return admission.refusal
    if admission.action is not Action.RELAY and (refusal := rules.rat.decide(recipient).refusal) is not None:
        return refusal
    return TOO_MANY_RECIPIENTS if accepted >= policy.max_recipients_per_message else None


def check_message(rules: ListenerRules, admission: Admission, size: int, hops: int) -> Refusal | None:
    """May a message of this size, with so many Received lines, be taken? (RFC 1870 §6.1, RFC 5321 §6.3)"""
    if size > _policy(admission).max_message_size:
        return TOO_BIG
    return LOOP if hops > rules.max_hops else None


def _policy(admission: Admission) -> EffectivePolicy:
    """The policy of a connection that may speak. A refused one never comes this far: ValueError is our bug."""
    if admission.policy is None:
        raise ValueError("a refused connection has no policy")
    return admission.policy
