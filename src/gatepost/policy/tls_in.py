"""TLS of a session that comes in: offered, demanded, or demanded of some senders (R19, R20); and the client's certificate.

The level is the mail flow policy's; the certificate is the listener's. Off: STARTTLS is not offered. Preferred: it is
offered, and without it the session goes on in clear. Required: nothing but NOOP, EHLO, STARTTLS and QUIT before TLS
(RFC 3207 §4: 530). With `tls_mandatory_for` a policy demands TLS of the envelope senders of an address list only.

With `verify_client_certificate` the client is asked for a certificate. A handshake never fails by it: the chain is judged afterwards,
`judge_client` decides, and MAIL is refused with the reason (RFC 3207 §4.1: 554; 454 where it could not be told). With preferred no
certificate is as good as a valid one, with required a valid one is needed.

How a client is known by its certificate (R22, decision 0031; there is no standard for it):
1. A key that is pinned (`spki`) is its owner. Authority, dates, names and usages of the certificate are not looked at, but a key whose
   certificate a revocation list of ours names is not accepted.
2. Else the chain must be sound under the trusted authorities, for client authentication; with `accept_server_only_certificates`
   for server authentication will do, where that is all that is wrong.
3. Without a list of identities that is enough. With one, an entry must fit whole: its `name` by the one matcher of names (`pki.names`:
   subjectAltName, the common name only where there is no dNSName), its `authority` by the common name or the subject of any
   certificate above the client's own on the verified path.
Neither the client's address nor its host name nor what it says in EHLO plays a part: the sender group has chosen the policy by these.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gatepost.core.address import Address
from gatepost.core.reasons import ReasonCode
from gatepost.core.reply import Refusal
from gatepost.core.tls import InboundTls, NameSource, PeerCertificate, ReferenceName
from gatepost.pki.findings import Code, Finding
from gatepost.pki.names import PresentedNames, match_names
from gatepost.policy.mailboxes import MailboxTable

STARTTLS_FIRST = Refusal(530, "5.7.0", "Must issue a STARTTLS command first")
NO_CERTIFICATE = "no certificate was sent"
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class KnownClient:
    """Whom a client may be: the owner of a key, or a name, an authority, or both. What is empty is not asked for."""

    authority: str = ""
    name: ReferenceName | None = None
    key: str = ""  # SHA-256 of the SubjectPublicKeyInfo, lower-case hex

    @classmethod
    def named(cls, name: str, *, is_address: bool = False, authority: str = "") -> KnownClient:
        """A client by a name in its comparable form, of any authority or of one."""
        return cls(authority, ReferenceName(name, NameSource.OPERATOR, is_address))


@dataclass(frozen=True, slots=True)
class ClientRule:
    """What a policy asks of the client's certificate. Without identities every sound one will do."""

    identities: tuple[KnownClient, ...] = ()
    server_only: bool = False


@dataclass(frozen=True, slots=True)
class InboundTlsRule:
    """What a policy says of TLS on a listener.

    `senders` is the table of `tls_mandatory_for`. Where `client` is None no certificate is looked at. `monitored` is what the policy would
    say without its monitor mode: it is evaluated beside this rule, and not enforced.
    """

    level: InboundTls
    senders: MailboxTable | None = None
    senders_name: str = ""
    client: ClientRule | None = None
    monitored: InboundTlsRule | None = None

    @property
    def asks_certificate(self) -> bool:
        """The client is asked for a certificate, if only to see what would be said of it."""
        return self.client is not None or (self.monitored is not None and self.monitored.client is not None)

    def offers_starttls(self, *, tls_active: bool) -> bool:
        """STARTTLS stands in the answer to EHLO: never inside TLS (RFC 3207 §4.2)."""
        return not tls_active and self.level is not InboundTls.OFF

    def gate(self, *, tls_active: bool) -> Refusal | None:
        """The answer to every command but NOOP, EHLO, STARTTLS and QUIT, or None: go on."""
        if tls_active or self.level is not InboundTls.REQUIRED:
            return None
        return STARTTLS_FIRST

    def sender_gate(self, sender: Address, *, tls_active: bool) -> Refusal | None:
        """The answer to MAIL from a sender of whom TLS is demanded, or None: go on."""
        if tls_active or self.senders is None or self.senders.find(sender) is None:
            return None
        return Refusal(
            STARTTLS_FIRST.code,
            STARTTLS_FIRST.enhanced,
            STARTTLS_FIRST.text,
            cause=f"TLS is mandatory for senders of {self.senders_name}",
            why=ReasonCode.SENDER_IN_CLEAR,
        )


# --- the client's certificate ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What a client showed of itself, judged by the trusted authorities and by no rule yet.

    `problem` is the first finding that breaks the chain for client authentication; `server_only` says that it would be sound with a
    server's usages. `authorities` are the common names and subjects above the client's own certificate on the verified path.
    `warning` is what does not break the chain and has to be said.
    """

    certificate: PeerCertificate | None = None  # None: none was sent
    names: PresentedNames = field(default_factory=PresentedNames)
    key: str = ""  # SHA-256 of the SubjectPublicKeyInfo; empty where it cannot be read
    problem: Finding | None = None
    server_only: bool = False
    authorities: tuple[str, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ClientOutcome:
    """Whether the client is known, and by which names; `refusal` is the answer to its MAIL, `reason` the log's words.

    Of a verified client `reason` is only what has to be said besides.
    """

    facts: ClientFacts
    names: tuple[str, ...] = ()  # empty: not verified
    reason: str = ""
    refusal: Refusal | None = None

    @property
    def verified(self) -> bool:
        return bool(self.names)

    @property
    def name(self) -> str:
        """The name that it was verified by, or empty."""
        return self.names[0] if self.names else ""

    @property
    def verification(self) -> str:
        """The log's words: `yes: NAME` or `no: why`."""
        if not self.names:
            return f"no: {self.reason}"
        more = len(self.names) - _NAMES_SHOWN
        if more > 0 and self.facts.certificate is not None:
            more += self.facts.certificate.more_names  # it was accepted by all of its names
        shown = ", ".join(self.names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"yes: {shown} ({self.reason})" if self.reason else f"yes: {shown}"


def judge_client(level: InboundTls, rule: ClientRule, facts: ClientFacts) -> ClientOutcome:
    """May this client send mail? Pure; the same facts under the same rule are always decided alike."""
    if facts.certificate is None:
        refusal = None
        if level is InboundTls.REQUIRED:
            public = "a client certificate is required"
            refusal = _refusal(public, NO_CERTIFICATE, ReasonCode.NO_CERTIFICATE, enhanced="5.7.0")
        return ClientOutcome(facts, (), NO_CERTIFICATE, refusal)
    problem = facts.problem
    revoked = problem is not None and problem.code is Code.REVOKED
    if not revoked and facts.key and any(identity.key == facts.key for identity in rule.identities):
        return ClientOutcome(facts, (f"spki:{facts.key[:16]}",), "pinned key")
    tolerated = facts.server_only and rule.server_only
    if problem is not None and not tolerated:
        return _refused_chain(facts, problem)
    names = _accepted_names(rule, facts)
    if not names:
        reason = f"not an accepted identity: {_presented(facts)} {_whose(facts)}"
        public = "client certificate not accepted: it is not of an accepted client"
        return ClientOutcome(facts, (), reason, _refusal(public, reason, ReasonCode.CLIENT_NOT_ACCEPTED))
    said = ["server-only certificate"] if problem is not None else []
    if facts.warning:
        said.append(facts.warning)
    return ClientOutcome(facts, names, ", ".join(said))


def _refused_chain(facts: ClientFacts, problem: Finding) -> ClientOutcome:
    """A chain that is not sound. "Could not tell" is for later; everything else will be the same next time."""
    who = ", ".join(part for part in (problem.subject, problem.issuer and f"issuer {problem.issuer}") if part)
    reason, why = f"{problem.text} ({who})" if who else problem.text, problem.reason.code
    if problem.code is Code.CRL_STALE:
        public = f"client certificate cannot be checked now: {problem.text}"
        return ClientOutcome(facts, (), reason, _refusal(public, reason, why, code=454, enhanced="4.7.5"))
    public = f"client certificate not accepted: {problem.text}"
    return ClientOutcome(facts, (), reason, _refusal(public, reason, why))


def _refusal(
    public: str, reason: str, why: ReasonCode, *, code: int = 554, enhanced: str = "5.7.5"
) -> Refusal:
    text = public[0].upper() + public[1:]
    return Refusal(code, enhanced, text, cause=f"client certificate not verified: {reason}", why=why)


def _accepted_names(rule: ClientRule, facts: ClientFacts) -> tuple[str, ...]:
    """The names by which a client with a sound chain is accepted: the entry's own, or all of the certificate's."""
    own = _own_names(facts)
    if not rule.identities:
        return own
    for identity in rule.identities:
        if identity.key or not (identity.name or identity.authority):
            continue
        if identity.authority and _folded(identity.authority) not in map(_folded, facts.authorities):
            continue
        if identity.name is None:
            return own
        if match_names(facts.names, [identity.name]) is not None:
            return (identity.name.name,)
    return ()


def _own_names(facts: ClientFacts) -> tuple[str, ...]:
    """The certificate's names without their kinds, its subject where it has none."""
    assert facts.certificate is not None
    texts = tuple(text.partition(":")[2] for text in facts.certificate.names)
    return texts or (facts.certificate.subject,)


def _presented(facts: ClientFacts) -> str:
    assert facts.certificate is not None
    return facts.certificate.shown_names(_NAMES_SHOWN) or "no name"


def _whose(facts: ClientFacts) -> str:
    assert facts.certificate is not None
    return f"({facts.certificate.subject}, issuer {facts.certificate.issuer})"


def _folded(text: str) -> str:
    """As RFC 5280 §7.1 compares names: without regard to case and to how many blanks there are."""
    return " ".join(text.casefold().split())
