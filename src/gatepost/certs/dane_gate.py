"""What holds an automatic certificate back until its TLSA record has been visible long enough (`wait_for_dane`; RFC 7671 §8.1).

How it works. The certificate is issued and sealed, and not served. Whenever the renewals come by, the places where it would be shown are
looked at. While peers with DANE accept what is served and would not accept the new one from every cache, it waits. The record
to publish is told by an alert at once, and again every day when time gets short.

Never past the end. A moment before the old certificate expires the new one is served, record or not, with an alert: senders that match
`3 1 1` do not look at dates, but all others do, and they are more. Where nothing is published, or nothing published matches what is
served, nothing waits. What was told is in the store under `dane told NAME`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gatepost.certs.dane import SUGGESTED_TTL, key_records, places_of, shown_of
from gatepost.certs.dane_time import TTLS, Readiness, Verdict, hardest, readiness
from gatepost.certs.dane_view import DaneLooker
from gatepost.certs.renewal import STANDS_IN, Wanted
from gatepost.certs.renewing import Hold
from gatepost.certs.times import iso_time
from gatepost.config.load import load_plain
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.policy.alert import rank
from gatepost.store.config_store import ConfigStore, Content

DAY = 86_400.0
MAX_MARGIN, MARGIN_SHARE = (
    6 * 3600.0,
    0.02,
)  # before the end, of the life: then it is served whatever the DNS says
MAX_SHORT, SHORT_SHARE = 7 * DAY, 0.25  # time is short
FASTEST, SLOWEST = 60.0, 900.0  # seconds between two looks
NO_END = float("inf")


@dataclass(frozen=True, slots=True)
class _Told:
    at: float = 0.0
    severity: str = ""


class DaneGate:
    """Implements `certs.renewing.Gate`."""

    def __init__(self, store: ConfigStore, alerts: AlertPort, clock: Clock) -> None:
        self._store = store
        self._alerts = alerts
        self._clock = clock

    async def hold(self, wanted: Wanted, profile: Profile, /) -> Hold | None:
        """Why the issued `profile` is not to be served yet, if there is a reason."""
        version = self._store.latest()
        if not wanted.certificate.wait_for_dane or version is None:
            return None
        before = self._served(version.content, wanted.name)
        found = await self._readiness(version.content, before, profile) if before is not None else None
        if before is None or found is None or found.free or not _worth_waiting(before, found):
            self._store.put_metas({_key(wanted.name): None})
            return None
        now = self._clock.now()
        last = _last_moment(before)
        if now >= last:
            await self._alerts.tell(_forced(wanted.name, before, found))
            self._store.put_metas({_key(wanted.name): None})
            return None
        await self._tell(wanted.name, before, profile, found, now)
        return Hold(found.reason, max(1.0, min(_pause(found, now), last - now)))

    def _served(self, content: Content, name: str) -> Profile | None:
        stored = self._store.profile(content.profiles.get(name, 0))
        try:
            return Profile.from_document(stored.record) if stored is not None else None
        except PkiError:
            return None

    async def _readiness(self, content: Content, before: Profile, after: Profile) -> Readiness | None:
        document = load_plain(content.document)
        wanted = places_of(document, after.name)
        seen = await DaneLooker(document, self._store, self._clock).look(wanted)
        served, new, now = shown_of(before), shown_of(after), self._clock.now()
        return hardest(readiness(view, memory, served, new, now) for view, memory in seen.values())

    # --- telling -------------------------------------------------------------------------------

    async def _tell(self, name: str, before: Profile, after: Profile, found: Readiness, now: float) -> None:
        """Once when something is to be done, then once a day when time is short, and when it becomes graver."""
        if found.verdict is Verdict.WAITS:
            return
        short = now >= _last_moment(before) - min(MAX_SHORT, SHORT_SHARE * _life(before))
        severity = "critical" if _too_late(before, found, now) else "warning"
        told = self._told(name)
        graver = rank(severity) > rank(told.severity or "information")
        if told.at and not graver and not (short and not 0 <= now - told.at < DAY):
            return
        self._store.put_meta(_key(name), orjson.dumps({"at": now, "severity": severity}))
        await self._alerts.tell(_missing(name, before, after, found, severity))

    def _told(self, name: str) -> _Told:
        try:
            raw: dict[str, Any] = orjson.loads(self._store.get_meta(_key(name)) or b"{}")
            return _Told(float(raw["at"]), str(raw["severity"])) if raw else _Told()
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return _Told()


def _key(name: str) -> str:
    return f"dane told {name}"


def _worth_waiting(before: Profile, found: Readiness) -> bool:
    """Peers accept what is served, or it cannot be told; a self-signed one stands in for nothing that cannot be told."""
    return found.protects or (found.verdict is Verdict.UNKNOWN and before.origin not in STANDS_IN)


def _life(before: Profile) -> float:
    return min(pair.leaf.not_after - pair.leaf.not_before for pair in before.pairs)


def _last_moment(before: Profile) -> float:
    """When the new certificate is served at the latest; a stand-in lasts for ever."""
    if before.origin in STANDS_IN:
        return NO_END
    end = min(pair.leaf.not_after for pair in before.pairs)
    return end - min(MAX_MARGIN, MARGIN_SHARE * _life(before))


def _too_late(before: Profile, found: Readiness, now: float) -> bool:
    """Published now, the record would hardly be visible for two TTLs by the end."""
    day = min(DAY, 0.1 * _life(before))
    return now + TTLS * (found.ttl or SUGGESTED_TTL) + day >= _last_moment(before)


def _pause(found: Readiness, now: float) -> float:
    """Seconds until the next look: a record that is lost meanwhile begins anew, and that has to be seen."""
    between = min(max(float(found.ttl), FASTEST), SLOWEST)
    return min(found.at - now + 1.0, between) if found.verdict is Verdict.WAITS else between


def _missing(name: str, before: Profile, after: Profile, found: Readiness, severity: str) -> Alert:
    end = min(pair.leaf.not_after for pair in before.pairs)
    ttl = min(found.ttl or SUGGESTED_TTL, SUGGESTED_TTL)
    lines = [
        f"A new certificate for {name} was issued, and is not served yet: {found.reason}.",
        "",
        "Publish these records beside the present ones:",
        "",
        *(f"{found.place.owner}. {ttl} IN TLSA {record.text()}" for record in key_records(shown_of(after))),
        "",
        f"It is served by itself two TTLs after they are on every name server ({TTLS} x {found.ttl or ttl} s).",
    ]
    if before.origin not in STANDS_IN:
        lines.append(
            f"The certificate in force is valid until {iso_time(end)}. At {iso_time(_last_moment(before))} the new one is served "
            "in any case, and senders with DANE refuse it until they see its record."
        )
    lines += [
        "",
        f"`gatepost cert dane {name}` shows what every name server says. To serve it at once, set wait_for_dane: false under "
        "acme.certificates.",
    ]
    return Alert(f"dane:{name}", severity, f"TLSA record to publish: {name}", "\n".join(lines))


def _forced(name: str, before: Profile, found: Readiness) -> Alert:
    end = min(pair.leaf.not_after for pair in before.pairs)
    text = (
        f"The certificate {name} ends at {iso_time(end)}, so the new one is served now, although {found.reason}.\n\n"
        "Senders with DANE may refuse this host until its record is published and in their caches: "
        f"`gatepost cert dane {name}` prints it."
    )
    return Alert(f"dane:{name}", "critical", f"Served without its TLSA record: {name}", text)
