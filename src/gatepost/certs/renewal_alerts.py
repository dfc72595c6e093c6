"""What people are told when a renewal fails, and when it comes off after all."""

from __future__ import annotations

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.renewal import STANDS_IN, Standing, Wanted, times
from gatepost.certs.times import iso_time
from gatepost.core.ports import Alert
from gatepost.pki.profile import Profile
from gatepost.policy.alert import rank

TELL_AGAIN = 86_400.0  # seconds
GRAVE_SHARE = 0.15  # of its life: less is left of the certificate in force
WARNING, CRITICAL, INFORMATION = "warning", "critical", "information"


def failure_alert(
    wanted: Wanted,
    profile: Profile | None,
    standing: Standing,
    failure: AcmeFailed,
    now: float,
    again: float,
) -> Alert:
    """`Renewal failed`: which certificate, why, what is served meanwhile and until when, when it is tried again."""
    lines = [
        f"The automatic certificate {wanted.name} ({', '.join(wanted.names)}) was not issued:",
        "",
        failure.text,
        *(f"  {detail}" for detail in failure.details),
        "",
        _served(profile, now),
        f"It is tried again at {iso_time(again)} ({times(standing.failures)} so far).",
        "",
        f"`gatepost acme status` shows it, `gatepost acme renew {wanted.name}` tries at once.",
    ]
    return Alert(
        f"renewal:{wanted.name}", _severity(profile, now), f"Renewal failed: {wanted.name}", "\n".join(lines)
    )


def success_alert(name: str, failures: int, not_after: float) -> Alert:
    """The trouble is over."""
    text = f"The automatic certificate {name} was issued after {times(failures)}; it is valid until {iso_time(not_after)}."
    return Alert(f"renewed:{name}", INFORMATION, f"Renewal succeeded: {name}", text)


def tell_again(standing: Standing, severity: str, now: float) -> bool:
    """The first failure, one a day, and one that is graver than what was told. A moment in the future does not count."""
    if standing.failures <= 1 or not 0 <= now - standing.told < TELL_AGAIN:
        return True
    return rank(severity) > rank(standing.told_severity or INFORMATION)


def _severity(profile: Profile | None, now: float) -> str:
    """Critical when little is left of what is served, or nothing; a stand-in never was verifiable."""
    if profile is None or profile.origin in STANDS_IN:
        return WARNING
    for pair in profile.pairs:
        leaf = pair.leaf
        if leaf.not_after - now < GRAVE_SHARE * (leaf.not_after - leaf.not_before):
            return CRITICAL
    return WARNING


def _served(profile: Profile | None, now: float) -> str:
    if profile is None:
        return "No certificate of that name can be read."
    if profile.origin in STANDS_IN:
        return "Until it is issued a self-signed certificate is served, which peers cannot verify."
    end = min(pair.leaf.not_after for pair in profile.pairs)
    if end <= now:
        return f"The certificate in force has expired at {iso_time(end)}."
    return f"The certificate in force is served meanwhile; it is valid until {iso_time(end)}."
