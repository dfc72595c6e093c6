"""When an automatic certificate is ordered, and why; what is remembered of each (R8).

How it works. `decide` looks at the configuration, at what is in force under the name, and at a `Standing`: what became of
earlier orders. Where a self-signed certificate stands in, or the settings of a certificate have changed since it was ordered,
it is due at once; else when `policy.renew` says. A failure puts the next try off, unless the configuration was changed since,
or somebody asks for it by hand. All of it survives a restart, since a `Standing` is kept in the store.

Never a loop. A certificate that we ordered is ordered again at once only for another wish than the one that it was ordered for;
whether it is what was wished is not asked twice. Where what was issued did not stay in force (it was not on the wire, and was
taken back), the next order waits an hour, then two, up to a day. A clock that went back does not keep a certificate from being renewed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import orjson

from gatepost.config.acme import Acme, AcmeCertificate, parse_certificate_name
from gatepost.pki.certificate import Certificate
from gatepost.pki.profile import Origin, Pair, Profile
from gatepost.policy.renew import When, Window, when_to_renew

STANDS_IN = (Origin.DEMO, Origin.SELF_SIGNED)
FIRST_RESPITE, LONGEST_RESPITE = 3600.0, 86_400.0  # after a certificate that did not stay in force
DANE_LEAD = 14 * 86_400.0  # seconds before the end at which one is ordered that waits for its TLSA record
CLOCK_WENT_BACK = 60.0  # seconds before a remembered moment at which it counts as nonsense


@dataclass(frozen=True, slots=True)
class SeenWindow:
    """What the authority said of one certificate (RFC 9773); no `end`: it has no window for it. `again`: when to ask next."""

    fingerprint: str
    again: float
    start: float = 0.0
    end: float = 0.0
    explanation: str = ""

    def window(self) -> Window | None:
        return Window(self.start, self.end, 0.0, self.explanation) if self.end else None


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of one automatic certificate. Times are seconds since the epoch, 0 for never; texts may be empty.

    `wish` and `issued` belong to the last success: a digest of what was ordered, and the fingerprints of what came.
    `settings` is a digest of everything that the last failure may have been caused by. `waits` says what an issued certificate
    waits for before it is served. `asked` is when somebody wanted it now, `told` when an alert was raised last. `lost` counts
    the certificates, one after the other, that did not stay in force.
    """

    wish: str = ""
    issued: tuple[str, ...] = ()
    attempted: float = 0.0
    outcome: str = ""
    failed: bool = False
    failures: int = 0
    again: float = 0.0
    settings: str = ""
    waits: str = ""
    asked: float = 0.0
    told: float = 0.0
    told_severity: str = ""
    lost: int = 0
    windows: tuple[SeenWindow, ...] = ()
    remarks: tuple[str, ...] = ()

    def packed(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def unpacked(cls, data: bytes | None) -> Standing:
        """What `packed` wrote. What cannot be read, or is another release's, is forgotten: then all is decided anew."""
        try:
            raw: dict[str, Any] = orjson.loads(data or b"{}")
            windows = tuple(SeenWindow(**one) for one in raw.pop("windows", ()))
            known = {one.name for one in fields(cls)}
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in raw.items()
                if key in known
            }
            return cls(**{**values, "windows": windows})
        except (orjson.JSONDecodeError, TypeError, AttributeError):
            return cls()

    def seen(self, fingerprint: str) -> SeenWindow | None:
        return next((one for one in self.windows if one.fingerprint == fingerprint), None)

    def with_window(self, new: SeenWindow, served: Sequence[str]) -> Standing:
        """With what was said of a certificate; what was said of those that are not served any more is forgotten."""
        kept = tuple(
            one for one in self.windows if one.fingerprint in served and one.fingerprint != new.fingerprint
        )
        return replace(self, windows=(*kept, new))


@dataclass(frozen=True, slots=True)
class Decision:
    """It is due at `at`, because of `reason`; `put_off` says that a failure is why it is not earlier."""

    at: float
    reason: str
    put_off: bool = False

    def due(self, now: float) -> bool:
        return now >= self.at


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate as it is configured, with the section that it stands in."""

    acme: Acme
    certificate: AcmeCertificate
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(parse_certificate_name(n) for n in self.certificate.names))

    @property
    def name(self) -> str:
        return self.certificate.name

    @property
    def wish(self) -> str:
        """A digest of what the certificate is to be: another wish means another certificate."""
        one = self.certificate
        parts = (self.acme.directory, *sorted(self.names), one.key, one.also or "", one.profile or "")
        return _digest(*parts, one.preferred_chain or "")

    def settings(self, secrets: str) -> str:
        """A digest of all that can make an order fail on our side. `secrets` changes with every secret that is stored."""
        section = self.acme.model_dump_json(exclude={"certificates"})
        return _digest(section, self.certificate.model_dump_json(), secrets)


def decide(
    wanted: Wanted, profile: Profile | None, standing: Standing, now: float, secrets: str = ""
) -> Decision:
    """When the certificate is to be ordered. `profile` is what is in force, None where it cannot be read."""
    found = _wished_for(wanted, profile, standing, now)
    if standing.asked:
        return Decision(min(standing.asked, now), "asked for by hand")
    found = _not_too_soon(found, profile, standing, now)
    if not (standing.failures or standing.waits) or standing.settings != wanted.settings(secrets):
        return found
    if now < standing.attempted - CLOCK_WENT_BACK or standing.again <= found.at:
        return found
    why = standing.waits or f"tried again after {times(standing.failures)}: {found.reason}"
    return Decision(standing.again, why, True)


def _not_too_soon(found: Decision, profile: Profile | None, standing: Standing, now: float) -> Decision:
    """Put off an order that would follow at once on one whose certificate is not in force any more."""
    if not standing.issued or profile is None or fingerprints(profile) == standing.issued:
        return found
    earliest = standing.attempted + min(FIRST_RESPITE * 2.0 ** min(standing.lost, 10), LONGEST_RESPITE)
    if earliest <= found.at or now < standing.attempted - CLOCK_WENT_BACK:
        return found
    return Decision(earliest, f"what was issued last did not stay in force: {found.reason}", True)


def fingerprints(profile: Profile) -> tuple[str, ...]:
    """Of everything that is served."""
    return tuple(pair.leaf.fingerprint for pair in profile.pairs)


def _wished_for(wanted: Wanted, profile: Profile | None, standing: Standing, now: float) -> Decision:
    """The same without what failures change."""
    if profile is None:
        return Decision(now, "what is in force cannot be read")
    if profile.origin in STANDS_IN:
        return Decision(now, "a self-signed certificate stands in")
    served = [pair.leaf for pair in profile.pairs]
    if fingerprints(profile) == standing.issued:
        if standing.wish != wanted.wish:
            return Decision(now, "its settings have changed since it was issued")
    elif (reason := _falls_short(wanted, served)) is not None:
        return Decision(now, reason)
    moments = [_moment(wanted, pair, standing, now) for pair in profile.pairs]
    first = min(moments, key=lambda when: when.at)
    return Decision(first.at, first.reason)


def _falls_short(wanted: Wanted, served: Sequence[Certificate]) -> str | None:
    """Why a certificate that we did not order (imported, or brought back) is not what is wished for."""
    for leaf in served:
        names = {name.lower() for name in leaf.names.dns}
        missing = [name for name in wanted.names if name not in names]
        if missing:
            return f"the certificate in force does not have {', '.join(missing[:3])}"
    if wanted.certificate.also is not None and len(served) < 2:
        return f"there is no second certificate with {wanted.certificate.also}"
    return None


def _moment(wanted: Wanted, pair: Pair, standing: Standing, now: float) -> When:
    leaf = pair.leaf
    seen = standing.seen(leaf.fingerprint)
    when = when_to_renew(
        leaf.not_before,
        leaf.not_after,
        now,
        seen.window() if seen is not None else None,
        wanted.acme.renew_at,
        obtained=pair.created or None,
        jitter=place(leaf.fingerprint),
    )
    return _with_lead(when, pair, now) if wanted.certificate.wait_for_dane else when


def _with_lead(when: When, pair: Pair, now: float) -> When:
    """Earlier, where that leaves too little time to publish a record; never in the first half of what we had of its life."""
    leaf = pair.leaf
    since = max(leaf.not_before, min(pair.created, now))
    early = max(leaf.not_after - DANE_LEAD, since + (leaf.not_after - since) / 2)
    return (
        replace(when, at=early, reason="early, since its TLSA record takes time") if early < when.at else when
    )


def last_moment(profile: Profile | None, now: float) -> float:
    """When what is served ends; `now` where there is nothing that peers could verify."""
    if profile is None or profile.origin in STANDS_IN:
        return now
    return min(pair.leaf.not_after for pair in profile.pairs)


def place(fingerprint: str) -> float:
    """A number from 0 to 1 that belongs to a certificate: its place in a window, and between two tries."""
    return int(hashlib.sha256(fingerprint.encode("ascii", "replace")).hexdigest()[:8], 16) / 0xFFFFFFFF


def times(count: int) -> str:
    return "one failure" if count == 1 else f"{count} failures"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()[:32]
