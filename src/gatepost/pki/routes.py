"""All ways from a host's certificate up to a root, and the best of them.

A chain is repaired by looking for ways through what was sent, what is known from elsewhere (`Pool`) and the trusted
roots; each step is a signature that holds. A way ends at a certificate that signed itself, or where nobody knows the
issuer. `best_route` prefers one that ends in a trusted root, has nothing wrong along it, verifies, lasts longest, and
then the one that changes least; the order in which certificates were sent never matters.

What a peer may still need is not taken away: a cross-sign that is sent along, sound, and leads from the root of the best way
to an older one stays behind it (`Routes.beyond`). Verifiers that trust the newer root stop there, the others go on.

Limits: 20 certificates of a way, 32 ways, 500 steps, 300 signatures looked at, 40 certificates of one subject. So the work
is bounded for loops of cross-signs and for hundreds of certificates of one name (C34).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import MAX_REMEMBERED, Certificate, read_certificate, signed_by
from gatepost.pki.checks import Purpose, check_dates, check_intermediate, check_path
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.judge import MAX_USED, judge_chain
from gatepost.pki.revocation import Crls

MAX_LENGTH = (
    20  # certificates of a way; more than the judge allows, so that what is only too long is known as such
)
MAX_ROUTES = 32
MAX_STEPS = 500  # certificates that are looked at on all ways together
MAX_SIGNATURES = 300
MAX_SAME_NAME = 40
MAX_TRIED = 8  # ways that are put to OpenSSL


class Pool:
    """Certificates that may fill a gap, by subject. Immutable; made once for many chains."""

    __slots__ = ("_by_subject",)

    def __init__(self, certificates: Iterable[Certificate] = ()) -> None:
        self._by_subject: dict[str, tuple[Certificate, ...]] = {}
        for certificate in dict.fromkeys(certificates):
            there = self._by_subject.get(certificate.subject_key, ())
            self._by_subject[certificate.subject_key] = (*there, certificate)

    @classmethod
    def of(cls, certificates: Iterable[bytes]) -> Pool:
        """From DER; what cannot be read is left out."""
        return cls(read for der in certificates if (read := _readable(der)) is not None)

    def named(self, subject_key: str) -> tuple[Certificate, ...]:
        """Those with this folded subject."""
        return self._by_subject.get(subject_key, ())


def _readable(der: bytes) -> Certificate | None:
    try:
        return read_certificate(der)
    except MalformedCertificate:
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """One way upwards: the intermediates, nearest to the host's certificate first, and the root behind them.

    `root` is None where the issuer of the last one is unknown; `anchored` says that the root is trusted.
    """

    intermediates: tuple[Certificate, ...]
    root: Certificate | None = None
    anchored: bool = False

    @property
    def upper(self) -> tuple[Certificate, ...]:
        """Everything above the host's certificate."""
        return self.intermediates if self.root is None else (*self.intermediates, self.root)


Path = tuple[Certificate, ...]
Identity = tuple[str, bytes]


def identity(certificate: Certificate) -> Identity:
    """Subject and key: two certificates that share them are the same authority."""
    return certificate.subject_key, certificate.public_key_der


def authority_key(certificate: Certificate) -> bytes:
    """The identifier of the key that signed it (RFC 5280 §4.2.1.1), or empty. A hint, and no proof."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return b""
    return value.key_identifier or b""


def own_key(certificate: Certificate) -> bytes:
    """The identifier of its own key (RFC 5280 §4.2.1.2), or empty."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return b""


class Routes:
    """The search for one host's certificate. `served` is what was sent behind it."""

    def __init__(
        self, leaf: Certificate, served: Iterable[Certificate], pool: Pool, anchors: Anchors, now: float
    ) -> None:
        self.leaf = leaf
        self.served = {certificate: None for certificate in served if certificate != leaf}
        self.anchors = anchors
        self._sent = Pool(self.served)
        self._pool = pool
        self._now = now
        self._signed: dict[tuple[bytes, bytes], bool] = {}
        self._left = MAX_SIGNATURES
        self._issuers: dict[bytes, list[Certificate]] = {}

    def all(self) -> list[Route]:
        """Every way that was found, the shortest first, at most 32."""
        if self.is_root(self.leaf):
            return [Route((), self.leaf, self.leaf in self.anchors)]
        found: list[Route] = []
        paths = deque[Path]([(self.leaf,)])
        last: Path = (self.leaf,)
        for _ in range(MAX_STEPS):
            if not paths or len(found) >= MAX_ROUTES:
                break
            last = paths.popleft()
            ends, onward = self._step(last)
            found += ends
            paths += onward
        return found[:MAX_ROUTES] or [Route(last[1:])]

    def _step(self, path: Path) -> tuple[list[Route], list[Path]]:
        """From the last certificate of a path: the ways that end here, and the paths that go on; neither in a circle."""
        met = {identity(certificate) for certificate in path}
        issuers = self.issuers(path[-1])
        if not issuers:
            return [Route(path[1:])], []
        ends = [Route(path[1:], root, root in self.anchors) for root in issuers if self.is_root(root)]
        others = (issuer for issuer in issuers if not self.is_root(issuer) and identity(issuer) not in met)
        return ends, [(*path, issuer) for issuer in others if len(path) < MAX_LENGTH]

    def issuers(self, certificate: Certificate) -> list[Certificate]:
        """The known certificates whose key signed this one, those that end a way or are of use now first."""
        made = self._issuers.get(certificate.der)
        if made is None:
            made = self._issuers[certificate.der] = [
                issuer for issuer in self._named(certificate) if self.is_signed(certificate, issuer)
            ]
        return made

    def _named(self, certificate: Certificate) -> list[Certificate]:
        """What has the issuer's name, the likeliest first."""
        name = certificate.issuer_key
        some = (*self._sent.named(name), *self.anchors.named(name), *self._pool.named(name))
        others = [other for other in dict.fromkeys(some) if other != self.leaf]
        if len(others) > 1:
            key = authority_key(certificate)
            others.sort(key=lambda other: (own_key(other) != key, *self._usefulness(other)))
        return others[:MAX_SAME_NAME]

    def _usefulness(self, certificate: Certificate) -> tuple[bool, bool, bool, float, bytes]:
        return (
            not (certificate.self_issued and certificate in self.anchors),
            any(check_dates(0, certificate, self._now)),
            certificate not in self.served,
            -certificate.not_after,
            certificate.der,
        )

    def is_root(self, certificate: Certificate) -> bool:
        """It signed itself."""
        return certificate.self_issued and self.is_signed(certificate, certificate)

    def is_signed(self, certificate: Certificate, issuer: Certificate) -> bool:
        """The issuer's key made the signature; each pair is looked at once."""
        pair = (certificate.der, issuer.public_key_der)
        known = self._signed.get(pair)
        if known is None:
            known = self._left > 0 and self._look(certificate, issuer)
            self._left -= 1
            self._signed[pair] = known
        return known

    def _look(self, certificate: Certificate, issuer: Certificate) -> bool:
        if certificate == self.leaf or max(len(certificate.der), len(issuer.der)) > MAX_REMEMBERED:
            return signed_by(certificate.parsed, issuer.parsed)
        return _between_authorities(certificate, issuer)

    def beyond(self, route: Route, purpose: Purpose) -> tuple[Certificate, ...]:
        """The sent cross-signs of the route's root that lead to another one, for peers that trust only that."""
        if route.root is None:
            return ()
        passed = {identity(certificate) for certificate in (self.leaf, *route.upper)}
        room = MAX_USED - 1 - len(route.intermediates)
        own = identity(route.root)
        crosses = sorted(self._sent.named(own[0]), key=self._usefulness)
        tails = deque[Path]((cross,) for cross in crosses if identity(cross) == own)
        seen: set[Certificate] = set()
        while tails:
            tail = tails.popleft()
            last = tail[-1]
            if len(tail) > room or last in seen or not self._bridges(last, purpose):
                continue
            seen.add(last)
            onward = [issuer for issuer in self.issuers(last) if identity(issuer) not in passed]
            sent = [issuer for issuer in onward if issuer in self.served and not self.is_root(issuer)]
            leads_on = bool(onward) or not self.issuers(last)
            if leads_on and (not sent or any(self.is_root(issuer) for issuer in onward)):
                return tail
            tails += ((*tail, issuer) for issuer in sent)
        return ()

    def _bridges(self, certificate: Certificate, purpose: Purpose) -> bool:
        """It is no root and nothing is wrong with it."""
        faults = check_intermediate(1, certificate, self._now, purpose)
        return not self.is_root(certificate) and not any(found.breaks for found in faults)


@lru_cache(maxsize=512)
def _between_authorities(certificate: Certificate, issuer: Certificate) -> bool:
    """Intermediates and roots are the same for many hosts."""
    return signed_by(certificate.parsed, issuer.parsed)


def best_route(routes: Routes, now: float, purpose: Purpose, crls: Crls) -> tuple[Route, list[Route]]:
    """The way to send, and all that were found, the best first."""
    found = routes.all()
    if len(found) > 1:
        found.sort(key=lambda route: _rank(route, routes, now, purpose, crls))
    trusted = [route for route in found if route.anchored][:MAX_TRIED]
    if len(trusted) > 1:
        for route in trusted:
            if _verifies(routes, route, now, purpose, crls):
                return route, found
    return found[0], found


def _verifies(routes: Routes, route: Route, now: float, purpose: Purpose, crls: Crls) -> bool:
    chain = [certificate.der for certificate in (routes.leaf, *route.intermediates)]
    return judge_chain(chain, routes.anchors, now, purpose, crls).ok


def _rank(
    route: Route, routes: Routes, now: float, purpose: Purpose, crls: Crls
) -> tuple[bool, bool, int, float, int, int, float, list[bytes]]:
    """Less is better; what stands behind a tie never depends on the order of sending."""
    path = (routes.leaf, *route.upper)
    breaking = sum(f.breaks for f in check_path(path, anchored=route.anchored, now=now, purpose=purpose))
    breaking += sum(f.breaks for f in crls.check_path(path, now))
    lasts = min(certificate.not_after for certificate in path)
    foreign = sum(certificate not in routes.served for certificate in route.intermediates)
    length = len(route.intermediates)
    newest = -sum(certificate.not_after for certificate in route.intermediates)
    return (
        not route.anchored,
        route.root is None,
        breaking,
        -lasts,
        foreign,
        length if route.root is not None else -length,
        newest,
        _ders(route.intermediates),
    )


def _ders(certificates: Sequence[Certificate]) -> list[bytes]:
    return [certificate.der for certificate in certificates]
