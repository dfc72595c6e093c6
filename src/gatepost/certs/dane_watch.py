"""Keeps an eye on published TLSA records: of keys that wait for their time, and of what is served (RFC 7671 §8, C41).

A record counts from when it was seen first, and anew when it was lost; so somebody has to look while a key waits, and whoever has
published records wants to know when they do not match what is served any more: that is mail that does not come. Where nothing was
ever seen and nothing waits, nothing is asked. Says of a host that is refused what is to be done, once a day.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from gatepost.certs.dane import Place, Shown, covering, key_records, places, shown_of, useful
from gatepost.certs.dane_time import View
from gatepost.certs.dane_view import DaneLooker
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.core.errors import ConfigurationError
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.store.config_store import ConfigStore, Content

DAY = 86_400.0
RESTING = 3600.0  # seconds between two looks at records that only have to stay
FASTEST, SLOWEST = 60.0, 900.0  # while a key waits


class DaneWatch:
    """Looks and tells; `run` says when to look again."""

    def __init__(self, store: ConfigStore, alerts: AlertPort, clock: Clock) -> None:
        self._store = store
        self._alerts = alerts
        self._clock = clock

    async def run(self) -> float:
        """One look; the seconds until the next one."""
        version = self._store.latest()
        if version is None:
            return RESTING
        try:
            document = load_plain(version.content.document)
        except ConfigurationError:
            return RESTING  # another release's
        pause = RESTING
        looker = DaneLooker(document, self._store, self._clock)
        watched = self._watched(looker, version.content, document)
        seen = await looker.look(watched)
        for place, (view, _) in seen.items():
            names, waiting = watched[place]
            if waiting:
                pause = min(pause, max(FASTEST, min(float(view.ttl), SLOWEST)))
            await self._judge(place, view, names, version.content)
        return pause

    def _watched(
        self, looker: DaneLooker, content: Content, document: Document
    ) -> dict[Place, tuple[tuple[str, ...], bool]]:
        """The places to look at: the profiles there, and whether a key of one waits."""
        found = {}
        for place, names in places(document).items():
            waiting = any(profile.waiting for profile in self._profiles(content, names))
            if waiting or looker.memory(place).published:
                found[place] = (names, waiting)
        return found

    def _profiles(self, content: Content, names: Iterable[str]) -> list[Profile]:
        found = []
        for name in names:
            stored = self._store.profile(content.profiles.get(name, 0))
            try:
                found += [Profile.from_document(stored.record)] if stored is not None else []
            except PkiError:
                continue
        return found

    async def _judge(self, place: Place, view: View, names: Iterable[str], content: Content) -> None:
        """Tell when a server shows records that do not match what is served; forget it when they do."""
        served = [one for profile in self._profiles(content, names) for one in shown_of(profile)]
        now, key = self._clock.now(), f"dane refused {place.host} {place.port}"
        wrong = _wrong(view, served, now)
        told = self._store.get_meta(key)
        if not wrong:
            if told is not None and view.answered:
                self._store.put_metas({key: None})
            return
        if told is None or not 0 <= now - float(orjson.loads(told)) < DAY:
            self._store.put_meta(key, orjson.dumps(now))
            await self._alerts.tell(_refused(view, served, wrong))


def _wrong(view: View, served: Iterable[Shown], now: float) -> tuple[str, ...]:
    """The servers whose records refuse something that is served."""
    shown = list(served)
    return tuple(
        server.text
        for server in view.answered
        if useful(server.records)
        and not all(covering(server.records, one, view.place.host, now) for one in shown)
    )


def _refused(view: View, served: Iterable[Shown], wrong: Iterable[str]) -> Alert:
    shown = list(served)
    names = ", ".join(dict.fromkeys(one.profile for one in shown))
    ttl = view.ttl or RESTING
    lines = [
        f"The TLSA records of {view.place.owner} do not match what is served there ({names}), as shown by {', '.join(wrong)}.",
        "Senders with DANE do not deliver to this host.",
        "",
        "These records match it:",
        "",
        *(f"{view.place.owner}. {ttl:.0f} IN TLSA {record.text()}" for record in key_records(shown)),
        "",
        *(f"`gatepost cert dane {one}` shows it all." for one in dict.fromkeys(s.profile for s in shown)),
    ]
    subject = f"TLSA records do not match: {view.place.host}"
    return Alert(f"dane-refused:{view.place.host}:{view.place.port}", "critical", subject, "\n".join(lines))
