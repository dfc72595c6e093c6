"""Whether a change of what a profile serves leaves senders with DANE where they are (RFC 7671 §8.1, RFC 7672 §8).

`judge` looks at every place where the profile is shown and says which of them speaks against the change, if one does. Nobody is
bothered who publishes nothing: without records, and where the DNS does not answer and no records were seen before, nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.certs.dane import Place, places_of, shown_of
from gatepost.certs.dane_time import TTLS, Memory, Readiness, Verdict, View, hardest, readiness
from gatepost.certs.dane_view import DaneLooker
from gatepost.certs.times import iso_time
from gatepost.config.model import Document
from gatepost.core.ports import Clock
from gatepost.pki.profile import Profile
from gatepost.store.config_store import ConfigStore

SECONDS = 8.0  # a change waits for it, and every other change behind it


@dataclass(frozen=True, slots=True)
class Judgement:
    """The place that decides, and whether it stands in the way."""

    readiness: Readiness

    @property
    def refuses(self) -> bool:
        found = self.readiness
        return not found.free and (found.verdict is not Verdict.UNKNOWN or found.protects)

    @property
    def hint(self) -> str:
        """What to do about it."""
        found = self.readiness
        if found.verdict is Verdict.WAITS:
            return f"do it from {iso_time(found.at + 1)} on, or with --force at once"
        if found.verdict is Verdict.MISSING:
            wait = f"{TTLS * found.ttl} s" if found.ttl else "two TTLs"
            return (
                f"publish what `gatepost cert dane NAME` prints beside the present records, and do it {wait} after it is on "
                "every server; --force does it at once"
            )
        return "see what `gatepost cert dane NAME` says; --force does it all the same"


async def judge(
    document: Document, store: ConfigStore, clock: Clock, before: Profile, after: Profile
) -> Judgement | None:
    """Judge serving `after` instead of `before`; None where nothing of it changes or nobody is shown it."""
    served, new = shown_of(before), shown_of(after)
    wanted = places_of(document, before.name)
    if not wanted or all(one in served for one in new):
        return None
    seen = await DaneLooker(document, store, clock, seconds=SECONDS).look(wanted)
    return _judged(seen, before, after, clock.now())


def _judged(
    seen: dict[Place, tuple[View, Memory]], before: Profile, after: Profile, now: float
) -> Judgement | None:
    served, new = shown_of(before), shown_of(after)
    decides = hardest(readiness(view, memory, served, new, now) for view, memory in seen.values())
    return Judgement(decides) if decides is not None else None
