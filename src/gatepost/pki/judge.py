"""The one judgement of a chain, for delivery, tester and doctor alike.

`judge_chain` takes what a peer sent and a list of roots and tells everything that is wrong with it, each thing
with its depth, a stable code and a text of ours. OpenSSL finds the path (`path`), the rest are explicit checks
(`checks`, `revocation`). It never raises for what a peer may send. Whoever needs trust calls
`verdict.require()`.

How it deals with untidy chains: what is sent twice, in another order, or does not belong to it is left
aside; only certificates that the host's own can reach by issuer names are used, ten in all. Where
two certificates have the same subject (a stale one beside a fresh one, two roots of one name), a few
combinations are tried, since OpenSSL tries only one. So the work is bounded, also for loops of cross-signs.

`Judge` keeps verdicts for a while: the same chain under the same roots and purpose has the same verdict until
a date in it passes, or an hour at most.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.core.tls import PeerCertificate
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, describe, read_certificate, signed_by
from gatepost.pki.checks import Purpose, check_path
from gatepost.pki.errors import MalformedCertificate, PkiError
from gatepost.pki.findings import UNANCHORED, Code, Finding, finding
from gatepost.pki.names import PresentedNames
from gatepost.pki.path import Path, find_path
from gatepost.pki.revocation import NO_CRLS, Crls

__all__ = [
    "Anchors",
    "ChainRefused",
    "ChainVerdict",
    "Code",
    "Crls",
    "Finding",
    "Judge",
    "Purpose",
    "judge_chain",
    "turning_points",
]

MAX_USED = 10  # certificates of one chain, the host's included
MAX_READ = 40  # certificates of one chain that are looked at
MAX_COMBINATIONS = 8
MAX_WINDOW = 3600.0  # seconds that a verdict is believed


class ChainRefused(PkiError):
    """The chain is not to be trusted; `finding` is the first reason."""

    def __init__(self, reason: Finding) -> None:
        super().__init__(reason.text)
        self.finding = reason


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What is to be said of a chain. `path` leads from the host's certificate to the root, and is empty without one.

    `presented` and `names` describe what was sent, also when it is not trusted.
    """

    findings: tuple[Finding, ...]
    path: tuple[bytes, ...]
    presented: tuple[PeerCertificate, ...]
    names: PresentedNames

    @property
    def worst(self) -> Finding | None:
        """The first finding that breaks the chain."""
        return next((found for found in self.findings if found.breaks), None)

    @property
    def ok(self) -> bool:
        """The chain is sound and ends in a root. For display: who acts on it calls `require`."""
        return bool(self.path) and self.worst is None

    def require(self) -> tuple[bytes, ...]:
        """The trusted path as DER. Raises ChainRefused."""
        worst = self.worst
        if worst is not None:
            raise ChainRefused(worst)
        return self.path


def judge_chain(
    chain: Sequence[bytes], anchors: Anchors, now: float, purpose: Purpose, crls: Crls = NO_CRLS
) -> ChainVerdict:
    """Judge the DER certificates that a peer sent, its own first, at `now` (seconds since the epoch)."""
    read, findings = _read(chain)
    presented = tuple(
        certificate.described() if certificate is not None else describe(der)
        for der, certificate in zip(chain[:MAX_USED], read, strict=False)
    )
    leaf = read[0] if read else None
    if leaf is None:
        return ChainVerdict(tuple(findings), (), presented, PresentedNames())
    others, left_out = _reachable(leaf, read[1:])
    path, more = _best(leaf, others, anchors, now, purpose, crls)
    findings = more + findings
    if not path and left_out:
        text = f"chain of more than {MAX_USED} certificates"
        findings.append(finding(0, Code.TOO_LONG, text, leaf))
    return ChainVerdict(tuple(findings), tuple(c.der for c in path), presented, leaf.names)


def _read(chain: Sequence[bytes]) -> tuple[list[Certificate | None], list[Finding]]:
    """The certificates as sent, None for each that cannot be read. Only the host's own breaks the chain by that."""
    if not chain:
        return [], [Finding(0, Code.NO_CERTIFICATE, "no certificate was sent")]
    read: list[Certificate | None] = []
    findings = []
    for depth, der in enumerate(chain[:MAX_READ]):
        try:
            read.append(read_certificate(der))
        except MalformedCertificate as error:
            read.append(None)
            findings.append(Finding(depth, Code.MALFORMED, error.text, breaks=depth == 0))
    return read, findings


def _reachable(leaf: Certificate, sent: Sequence[Certificate | None]) -> tuple[list[Certificate], bool]:
    """The sent certificates that issuer names lead to, nearest first, each once; and whether some were left out."""
    by_name: dict[str, list[Certificate]] = {}
    for certificate in dict.fromkeys(sent):
        if certificate is not None and certificate != leaf:
            by_name.setdefault(certificate.subject_key, []).append(certificate)
    found: list[Certificate] = []
    names = [leaf.issuer_key]
    for name in names:  # grows while it is walked; every name is taken out of the table once
        for certificate in by_name.pop(name, ()):
            found.append(certificate)
            names.append(certificate.issuer_key)
    return found[: MAX_USED - 1], len(found) > MAX_USED - 1


def _best(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchors: Anchors,
    now: float,
    purpose: Purpose,
    crls: Crls,
) -> tuple[tuple[Certificate, ...], list[Finding]]:
    """The first combination without a breaking finding, else everything that is wrong with the whole."""
    roots = anchors.select((leaf, *others))
    first: tuple[Path, list[Finding]] | None = None
    for some_others, some_roots in _combinations(others, roots):
        path = find_path(leaf, some_others, some_roots, anchors, now)
        found = list(_look_along(path, now, purpose, crls)) if path.certificates else []
        if path.certificates and not any(f.breaks for f in found):
            return path.certificates, found
        if first is None or (path.certificates and not first[0].certificates):
            first = path, found
    assert first is not None  # there is always the first combination
    if first[0].certificates:
        return first[0].certificates, first[1]
    return (), _explain(first[0], leaf, others, roots, anchors, now, purpose)


def _look_along(path: Path, now: float, purpose: Purpose, crls: Crls) -> Iterator[Finding]:
    yield from check_path(path.certificates, anchored=True, now=now, purpose=purpose)
    yield from crls.check_path(path.certificates, now)


def _combinations(
    others: Sequence[Certificate], roots: Sequence[Certificate]
) -> Iterator[tuple[Sequence[Certificate], Sequence[Certificate]]]:
    """All at once; then, where subjects are shared, one certificate for each subject, in several ways."""
    yield others, roots
    trusted = {root.der for root in roots}
    groups: dict[str, list[Certificate]] = {}
    for certificate in (*others, *(root for root in roots if root not in others)):
        groups.setdefault(certificate.subject_key, []).append(certificate)
    if all(len(group) == 1 for group in groups.values()):
        return
    for choice in islice(product(*groups.values()), MAX_COMBINATIONS):
        yield [c for c in choice if c in others], [c for c in choice if c.der in trusted]


def _explain(
    path: Path,
    leaf: Certificate,
    others: Sequence[Certificate],
    roots: Sequence[Certificate],
    anchors: Anchors,
    now: float,
    purpose: Purpose,
) -> list[Finding]:
    """OpenSSL's reason first, then what else is wrong along as much of a path as can be put together."""
    findings = [path.failure] if path.failure is not None else []
    partial = _partial_path(leaf, (*roots, *others))
    top = partial[-1]
    anchored = top in anchors
    depth = len(partial) - 1
    if not anchored and not any(f.code in UNANCHORED for f in findings):
        if top.self_signed:
            code, text = Code.UNTRUSTED_ROOT, "self-signed certificate in certificate chain"
            if depth == 0:
                code, text = Code.SELF_SIGNED, "self-signed certificate"
        else:
            code = Code.UNTRUSTED_ROOT if depth else Code.MISSING_INTERMEDIATE
            text = "unable to get local issuer certificate"
        findings.append(finding(depth, code, text, top))
    told = {(f.depth, f.code) for f in findings}
    for found in check_path(partial, anchored=anchored, now=now, purpose=purpose):
        if (found.depth, found.code) not in told:
            findings.append(found)
    return findings


def _partial_path(leaf: Certificate, known: Sequence[Certificate]) -> list[Certificate]:
    """Upwards from the host's certificate as far as signatures lead; every certificate is used once."""
    path = [leaf]
    left = [certificate for certificate in known if certificate != leaf]
    while not path[-1].self_issued:
        below = path[-1]
        above = next(
            (c for c in left if c.subject_key == below.issuer_key and signed_by(below.parsed, c.parsed)), None
        )
        if above is None:
            break
        path.append(above)
        left.remove(above)
    return path


class Judge:
    """`judge_chain` with a memory of bounded size. One for each process; not for use from several threads."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[bytes, str, Purpose, str], tuple[float, float, ChainVerdict]] = (
            OrderedDict()
        )
        self._counts = CacheCounts()

    def cache_state(self) -> CacheState:
        return self._counts.state(len(self._known), self._capacity)

    def judge_chain(
        self, chain: Sequence[bytes], anchors: Anchors, now: float, purpose: Purpose, crls: Crls = NO_CRLS
    ) -> ChainVerdict:
        """As the function of that name; a verdict is reused while no date of the chain has passed."""
        key = (_digest(chain), anchors.version, purpose, crls.state(now))
        known = self._known.get(key)
        if known is not None and known[0] <= now < known[1]:
            self._known.move_to_end(key)
            self._counts.hits += 1
            return known[2]
        self._counts.misses += 1
        verdict = judge_chain(chain, anchors, now, purpose, crls)
        self._known[key] = (*_window(chain, verdict, now), verdict)
        self._known.move_to_end(key)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return verdict

    def __len__(self) -> int:
        return len(self._known)


def turning_points(chain: Sequence[bytes], anchors: Anchors) -> tuple[float, ...]:
    """The moments, in order, at which a certificate of the chain, or a root that could matter to it, begins to be valid or has ended.

    Between two of them the chain has one verdict, as far as revocation lists do not change (`Crls.state`).
    """
    read = [certificate for certificate in _read(chain)[0] if certificate is not None]
    known = (*read, *anchors.select(read))
    return tuple(sorted({moment for one in known for moment in (one.not_before, one.not_after + 1)}))


def _digest(chain: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for der in chain:
        digest.update(len(der).to_bytes(4, "big"))
        digest.update(der)
    return digest.digest()


def _window(chain: Sequence[bytes], verdict: ChainVerdict, now: float) -> tuple[float, float]:
    """From when to when nothing in the chain begins or ends, within an hour either way."""
    start, end = now - MAX_WINDOW, now + MAX_WINDOW
    for der in {*chain[:MAX_READ], *verdict.path}:
        try:
            certificate = read_certificate(der)
        except MalformedCertificate:
            continue
        # The last second belongs to the validity, so the change comes one second later.
        for moment in (certificate.not_before, certificate.not_after + 1):
            if moment <= now:
                start = max(start, moment)
            else:
                end = min(end, moment)
    return start, end
