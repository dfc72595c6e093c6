"""TLS on the way of a message, as values: what was wanted, what was seen, what it amounts to.

`TlsPlan` is made by `policy.tls_out.plan_tls` before a connection, `TlsFacts` is what `relay` and
`net` observed, and `policy.tls_out.judge_tls` turns the two into a `TlsOutcome`. Nothing else in the
product decides whether mail may pass on a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.reasons import Reason
from gatepost.core.reply import Reply
from gatepost.core.tlsa import Tlsa


class TlsLevel(StrEnum):
    """The outgoing levels of rows R23 to R27h, in the written form of the contract."""

    NONE = "none"
    PREFERRED = "preferred"
    REQUIRED = "required"
    PREFERRED_VERIFY = "preferred-verify"
    REQUIRED_VERIFY = "required-verify"
    REQUIRED_VERIFY_HOSTED = "required-verify-hosted"

    @property
    def tries(self) -> bool:
        """STARTTLS is sent when it is offered."""
        return self is not TlsLevel.NONE

    @property
    def mandatory(self) -> bool:
        """Nothing passes without TLS."""
        return self in (TlsLevel.REQUIRED, TlsLevel.REQUIRED_VERIFY, TlsLevel.REQUIRED_VERIFY_HOSTED)

    @property
    def verifies(self) -> bool:
        """The certificate is judged, and the log says with what result."""
        return self in (
            TlsLevel.PREFERRED_VERIFY,
            TlsLevel.REQUIRED_VERIFY,
            TlsLevel.REQUIRED_VERIFY_HOSTED,
        )

    @property
    def verification_mandatory(self) -> bool:
        """Nothing passes with a certificate that is not verified."""
        return self in (TlsLevel.REQUIRED_VERIFY, TlsLevel.REQUIRED_VERIFY_HOSTED)


class ClientHello(StrEnum):
    """How large the first message of our handshakes may be."""

    DEFAULT = (
        "default"  # post-quantum groups are offered, their key shares sent where the server asks for one
    )
    SMALL = "small"  # classic groups only: it stays within one TCP segment, the second one too


class InboundTls(StrEnum):
    """TLS of a mail flow policy (R19)."""

    OFF = "off"
    PREFERRED = "preferred"
    REQUIRED = "required"


class NameSource(StrEnum):
    """Why a reference name is believed. Only the first three authenticate (architecture 4, Names)."""

    OPERATOR = "operator"
    DNSSEC = "dnssec"
    MTA_STS = "mta-sts"
    INSECURE_DNS = "insecure-dns"


@dataclass(frozen=True, slots=True)
class ReferenceName:
    """A name, or the text of an IP address, that the peer's certificate may be valid for."""

    name: str
    source: NameSource
    is_address: bool = False


@dataclass(frozen=True, slots=True)
class DanePlan:
    """What the TLSA records of the host ask of a connection (RFC 7672): TLS at least.

    `records` are the usable ones, of which the certificate has to match one; without any nothing is checked (D5). `names` are for
    records of an issuer (DANE-TA). `domain_proven` says that the way from the recipient domain to the host was signed too, or
    written by the operator: only then does a match speak for the domain (D8).
    """

    base: str
    records: tuple[Tlsa, ...] = ()
    names: tuple[ReferenceName, ...] = ()
    domain_proven: bool = False


@dataclass(frozen=True, slots=True)
class StsPlan:
    """What the MTA-STS policy of the next-hop domain asks of a connection to one of its hosts (RFC 8461 §5).

    `enforced` False is testing: the judgement is told, and nothing depends on it. `listed` says that the policy names the host.
    """

    domain: str
    host: ReferenceName
    enforced: bool
    listed: bool


@dataclass(frozen=True, slots=True)
class TlsWishes:
    """What a message itself asks of TLS (RFC 8689): REQUIRETLS, or that `TLS-Required: No` is heeded. Not both.

    `in_clear` is only for the gateway's own notice that an alert could not be delivered over TLS.
    """

    requiretls: bool = False
    tls_optional: bool = False
    in_clear: bool = False


NO_WISHES = TlsWishes()


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """What one delivery connection must be like, and which rule asked for it.

    `rule` is the configuration path of the rule (`destination_controls.destinations[0]`), `names` the
    reference names in the order in which they are tried, `sni` the name to send or empty,
    `clear_allowed` is False once a handshake failed after the 220 in this attempt (R24).
    `certificate` names the profile of the client certificate to offer, or is empty. `skip_starttls` says that
    STARTTLS is not sent although it may be offered: an entry's `preferred_clear_after` is used up. `forbidden` says why nothing
    at all may be sent to this host now (its TLSA records could not be looked up, for example), and is None as a rule. `client_hello` is what the
    operator says of the peer's stomach; nothing makes it small by itself. `monitored` is the
    plan of a rule in monitor mode: it is judged beside this one, and nothing depends on what it says.

    `requiretls` is the plan of a message that requires TLS (RFC 8689): `proving` are then the TLSA records that prove the host, or
    `host_names` its names that were learnt securely, one of which the certificate has to carry; `returned` says why the host can
    never take the message, if so.
    `relaxed` is the plan without what the recipient published, for a message with `TLS-Required: No`: it decides where this one refuses.
    """

    level: TlsLevel
    domain: str
    rule: str
    names: tuple[ReferenceName, ...] = ()
    sni: str = ""
    clear_allowed: bool = True
    certificate: str = ""
    alert_on_failure: bool = False
    skip_starttls: bool = False
    dane: DanePlan | None = None
    sts: StsPlan | None = None
    forbidden: Reason | None = None
    client_hello: ClientHello = ClientHello.DEFAULT
    monitored: TlsPlan | None = None
    requiretls: bool = False
    host_names: tuple[ReferenceName, ...] = ()
    returned: Reason | None = None
    relaxed: TlsPlan | None = None
    proving: DanePlan | None = None

    @property
    def mandatory(self) -> bool:
        """Nothing passes without TLS: the level says so, what the recipient published, or the message itself."""
        return self.level.mandatory or self.dane is not None or self.sts_enforced or self.requiretls

    @property
    def tls_optional(self) -> bool:
        """`TLS-Required: No` is heeded."""
        return self.relaxed is not None

    @property
    def deciding(self) -> TlsPlan:
        """The plan that has the last word: what the operator asks, where the message waives the rest."""
        return self if self.relaxed is None else self.relaxed

    @property
    def uncalled(self) -> Reason | None:
        """Why the host is not even called, if so."""
        return self.returned or self.deciding.forbidden

    @property
    def sts_enforced(self) -> bool:
        """An MTA-STS policy is enforced, and no usable TLSA records stand in its place."""
        return self.sts is not None and self.sts.enforced

    @property
    def judges_chain(self) -> bool:
        """The chain is judged by the authorities' lists."""
        return self.level.verifies or self.sts is not None or (self.requiretls and self.records is None)

    @property
    def records(self) -> DanePlan | None:
        """The usable TLSA records that the certificate is held against, if any."""
        dane = self.dane or self.proving
        return dane if dane is not None and dane.records else None

    @property
    def speaks_of_trust(self) -> bool:
        """The log tells whether the certificate was verified."""
        return self.level.verifies or self.sts_enforced or self.records is not None or self.requiretls


class TlsStage(StrEnum):
    """How far TLS got on a connection; the first three are the guide's reasons of R29."""

    NO_ESMTP = "no-esmtp"
    NOT_OFFERED = "not-offered"
    REFUSED = "refused"
    HANDSHAKE_FAILED = "handshake-failed"
    ESTABLISHED = "established"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What is kept of one certificate that a peer presented."""

    subject: str
    issuer: str
    fingerprint: str  # SHA-256 of the DER, lower-case hex
    not_after: float  # seconds since the epoch
    names: tuple[str, ...] = ()  # `DNS:mx.example`, `IP:192.0.2.1`, or `CN:…` where there is no SAN
    more_names: int = 0  # that are not kept in `names`

    def shown_names(self, limit: int) -> str:
        """The first names, and how many there are besides; empty where there is none."""
        more = max(0, len(self.names) - limit) + self.more_names
        return ", ".join(self.names[:limit]) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class NameMatch:
    """The reference name that matched, and the name in the certificate that it matched."""

    reference: ReferenceName
    presented: str


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What was observed on one connection: no judgement yet.

    `chain_problem` is None when the chain ends in an anchor and is sound, else the first finding (`certificate has expired`).
    `reply` is the answer to STARTTLS when it was refused.
    """

    stage: TlsStage
    reply: Reply | None = None
    error: str = ""
    protocol: str = ""  # `TLSv1.3`
    cipher: str = ""
    group: str = ""  # empty where the library cannot say
    chain: tuple[PeerCertificate, ...] = ()
    chain_judged: bool = False
    chain_problem: Reason | None = None
    chain_problem_subject: str = ""  # subject of the certificate that has the problem
    chain_problem_issuer: str = ""
    chain_warning: str = ""  # what does not break a sound chain, but has to be said of it
    match: NameMatch | None = None
    names_tried: tuple[ReferenceName, ...] = ()
    dane_match: str = ""  # the record that matched: `DANE-EE 3 1 1`
    dane_problem: Reason | None = None  # why none of the records matched
    sts_match: bool = False  # the certificate carries the MX host's name, as MTA-STS wants it
    monitored: TlsFacts | None = (
        None  # the same connection as the monitored plan looks at it; None: no difference
    )
    host_match: NameMatch | None = None  # the host's name that it carries, as REQUIRETLS wants it


class TlsVerdict(StrEnum):
    """What may pass on the connection."""

    CLEAR = "clear"  # go on without TLS
    ENCRYPTED = "encrypted"  # go on; nothing was verified, or verification failed where that is allowed
    VERIFIED = "verified"  # go on; the certificate was verified
    REFUSED = "refused"  # nothing may be sent; try the next host, later again


@dataclass(frozen=True, slots=True)
class TlsOutcome:
    """The judgement of one connection: `reason` says why, in the words of the log, and `why` the same for programs.

    `note` is what a policy in testing would have refused, or what `TLS-Required: No` let pass, in such words; `noted` is the reason of
    that refusal.
    """

    verdict: TlsVerdict
    plan: TlsPlan
    facts: TlsFacts
    reason: str = ""
    why: Reason | None = None
    note: str = ""
    noted: Reason | None = None
    monitored: TlsOutcome | None = None  # what the plan of a rule in monitor mode says of the connection
    permanent: bool = False  # refused, and for this message the host will not do later either

    @property
    def may_pass(self) -> bool:
        return self.verdict is not TlsVerdict.REFUSED
