"""What the steps of the way share: the worker's long-lived services and the configuration in force.

`Services` lives as long as the worker. `Runtime` is one committed configuration, compiled; it is
immutable and replaced as a whole by a commit, so a session or a connection that holds an old one
can compare the two (architecture 3, Commit).
"""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Generic, Protocol, TypeVar

from gatepost.config.model import Document
from gatepost.config.outbound import BounceProfile
from gatepost.core.address import Address, IPAddress
from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.core.ids import IdPool
from gatepost.core.ports import Clock, Journal
from gatepost.core.reply import Refusal
from gatepost.core.tls import ClientHello, PeerCertificate
from gatepost.net.reactor import Reactor
from gatepost.net.resolver import Resolver
from gatepost.net.tls import ClientContext, ServerContext
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import describe
from gatepost.pki.judge import Judge
from gatepost.pki.revocation import Crls
from gatepost.policy.admit import Admission, ListenerRules, Rules
from gatepost.policy.auth import AuthRules, SmtpUsers
from gatepost.policy.bounce_tags import TagRules
from gatepost.policy.reputation import NO_SCORES, ScoreRules
from gatepost.policy.route import Routes
from gatepost.policy.tls_out import DestinationTable
from gatepost.relay.authenticate import Checks
from gatepost.relay.reputation import SenderScores
from gatepost.relay.sts import StsPolicies
from gatepost.store.limits import LimitTable
from gatepost.store.spool import Spool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Runtime:
    """One committed configuration as the relay uses it.

    `sources` are the local addresses to deliver from, by address family (4, 6); a family that is missing
    leaves the choice to the kernel. `hello_names` maps local addresses to the host names of their
    interfaces (R28: EHLO says the delivery interface's name); `hello_name` is for any other address.
    `client_contexts` maps a certificate profile (or the empty name) and the form of the ClientHello to a context. `asking_contexts` are for sessions
    whose policy asks the client for a certificate, on listeners that have such a policy.
    """

    version: int
    document: Document
    rules: Rules
    destinations: DestinationTable
    routes: Routes
    profiles: Mapping[str, BounceProfile]
    server_contexts: Mapping[str, ServerContext]
    client_contexts: Mapping[tuple[str, ClientHello], ClientContext]
    client_certificate: str
    anchors: Anchors
    crls: Crls
    hostname: str
    hello_name: str
    hello_names: Mapping[str, str]
    sources: Mapping[int, IPAddress]
    own_names: frozenset[str]
    own_addresses: frozenset[IPAddress]
    asking_contexts: Mapping[str, ServerContext] = field(default_factory=dict)
    scores: ScoreRules = NO_SCORES
    auth: AuthRules = field(default_factory=AuthRules)
    users: SmtpUsers = field(default_factory=SmtpUsers)
    tags: TagRules | None = None
    report_mailboxes: frozenset[tuple[str, str]] = frozenset()  # whose TLS reports are taken

    def hello(self, local: str) -> str:
        """The name that we greet a server with from this local address."""
        return self.hello_names.get(local, self.hello_name)

    def profile(self, name: str) -> BounceProfile:
        """The bounce profile of a destination rule; the check made sure that it exists."""
        return self.profiles[name]


@dataclass(slots=True)
class Counters:
    """What `gatepost status` shows of one worker; plain integers, sampled by the desk."""

    connections_in: int = 0
    connections_in_now: int = 0
    connections_out: int = 0
    connections_out_now: int = 0
    messages_accepted: int = 0
    recipients_accepted: int = 0
    recipients_refused: int = 0
    recipients_delivered: int = 0
    recipients_bounced: int = 0
    recipients_delayed: int = 0
    auth_succeeded: int = 0
    auth_failed: int = 0
    auth_locked: int = 0
    tls_in: int = 0
    tls_in_failed: int = 0
    tls_out: int = 0
    tls_out_failed: int = 0
    monitor_out_pass: int = 0
    monitor_out_refuse: int = 0
    monitor_out_untold: int = 0
    monitor_in_pass: int = 0
    monitor_in_refuse: int = 0


class Remembered(Generic[T]):
    """A few values by key, the oldest forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._counts = CacheCounts()

    def get(self, key: Hashable) -> T | None:
        value = self._values.get(key)
        if value is None:
            self._counts.misses += 1
        else:
            self._counts.hits += 1
        return value

    def cache_state(self) -> CacheState:
        return self._counts.state(len(self._values), self._limit)

    def put(self, key: Hashable, value: T) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)


@dataclass(slots=True)
class Ids:
    icid: IdPool
    dcid: IdPool
    mid: IdPool


class AsksAhead(Protocol):
    """Asks the host that would get the mail about a recipient (`relay.call_ahead`, which needs what is here)."""

    async def refusal(
        self, services: Services, recipient: Address, host: str, network: str
    ) -> Refusal | None: ...

    def cache_state(self) -> CacheState: ...


@dataclass(slots=True)
class Services:
    """The worker's services. `runtime` is replaced by a commit; nobody keeps it across a message."""

    clock: Clock
    journal: Journal
    spool: Spool
    limits: LimitTable
    ids: Ids
    resolver: Resolver
    reactor: Reactor
    judge: Judge
    sts: StsPolicies
    runtime: Runtime
    on_bug: Callable[[str, BaseException], str]
    counters: Counters = field(default_factory=Counters)
    unwelcome_certificates: Remembered[float] = field(default_factory=lambda: Remembered(1000))
    certificates_seen: Remembered[PeerCertificate] = field(default_factory=lambda: Remembered(1000))
    certificates_told: Remembered[float] = field(default_factory=lambda: Remembered(4000))  # monotonic
    admissions: Remembered[tuple[ListenerRules, Admission]] = field(
        default_factory=lambda: Remembered(10_000)
    )
    call_aheads: AsksAhead | None = None
    scores: SenderScores = field(default_factory=SenderScores)
    monitored: Remembered[bool] = field(default_factory=lambda: Remembered(10_000))
    checks: Checks = field(default_factory=Checks)
    rng: random.Random = field(default_factory=random.SystemRandom)

    def described(self, der: bytes) -> PeerCertificate:
        """The short form of a peer's certificate, read once while it is remembered."""
        key = hashlib.sha256(der).digest()
        known = self.certificates_seen.get(key)
        if known is None:
            known = describe(der)
            self.certificates_seen.put(key, known)
        return known

    def today(self) -> date:
        """The day in UTC: destination entries end with a day."""
        return datetime.fromtimestamp(self.clock.now(), UTC).date()
