"""When a certificate's end is near: a share of its life, so that six days and ten years both work.

Soon is the last third of a life, at most 30 days. Only a short-lived certificate (seven days, the limit of the CA/Browser
Forum's baseline requirements) is left alone until then: whoever renews anything longer by hand wants two weeks for it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from gatepost.pki.certificate import Certificate
from gatepost.pki.findings import Code
from gatepost.pki.notes import Note, note

DAY = 86_400.0
SHORT_LIFE = 7 * DAY
LEAST_NOTICE, MOST_NOTICE = 14 * DAY, 30 * DAY


def notice(life: float) -> float:
    """How many seconds before its end a certificate of this life is said to expire soon."""
    third = life / 3
    if life <= SHORT_LIFE:
        return third
    return min(max(third, LEAST_NOTICE), MOST_NOTICE)


def expires_soon(certificate: Certificate, now: float) -> bool:
    """It is valid still, and its end is near."""
    left = certificate.not_after - now
    return 0 <= left < notice(certificate.not_after - certificate.not_before)


def lifetime_notes(leaf: Certificate, upper: Sequence[Certificate], now: float) -> Iterator[Note]:
    """What ends soon. An authority's certificate is worth a word only when it ends before the host's."""
    if expires_soon(leaf, now):
        yield note(Code.EXPIRES_SOON, "warning", f"expires {_left(leaf, now)}", leaf.subject)
    for certificate in upper:
        if certificate.not_after < leaf.not_after and expires_soon(certificate, now):
            text = (
                f"{certificate.subject}, above the certificate, expires {_left(certificate, now)}, before it"
            )
            repair = "get the authority's current intermediate, or renew the certificate"
            yield note(Code.EXPIRES_SOON, "warning", text, certificate.subject, repair=repair)


def _left(certificate: Certificate, now: float) -> str:
    days = int((certificate.not_after - now) // DAY)
    return f"in {days} day{'s' if days != 1 else ''}" if days else "within a day"


def day(moment: float) -> str:
    """A date as `2027-01-15`; the moments of a certificate always have one."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).date().isoformat()
