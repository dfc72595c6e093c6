"""Services for what uses the delivery's own steps and is no delivery: nothing is logged, counted or alerted.

The journal hears nothing, identifiers are made up, counters are counted for nobody. What was told here was told to nobody, so it is
not remembered as told: a rehearsal needs the certificates of the delivery that follows. What else a worker knows (resolver, judge, MTA-STS
policies) is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gatepost.core.events import Event
from gatepost.core.ids import IdKind, IdPool
from gatepost.relay.services import Counters, Ids, Remembered, Services

_TOLD = 100  # things that are told once; forgotten with these services


class Deaf:
    """A journal (`core.ports.Journal`) to which nothing is an event."""

    def emit(self, event: Event, /) -> None:
        """Nothing of this is an event of the gateway's."""

    def hold(self, events: Sequence[Event], blob: bytes = b"", /) -> int:
        return 0

    def release(self, token: int, /) -> None:
        pass

    def discard(self, token: int, /) -> None:
        pass


def quiet(services: Services) -> Services:
    """The services with a journal that hears nothing."""
    return replace(
        services,
        journal=Deaf(),
        ids=_made_up_ids(),
        counters=Counters(),
        certificates_told=Remembered(_TOLD),
        monitored=Remembered(_TOLD),
    )


def _made_up_ids() -> Ids:
    """Numbers of no connection: nothing that is logged or kept bears them."""

    def pool(kind: IdKind) -> IdPool:
        made = IdPool(kind, lambda _: made.grant(1))
        made.top_up()
        return made

    return Ids(pool(IdKind.ICID), pool(IdKind.DCID), pool(IdKind.MID))
