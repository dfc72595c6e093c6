"""How long a dead process waits before it is started again: 1 s, doubled to 60 s, and back to 1 s after a good life."""

from __future__ import annotations

FIRST = 1.0
LONGEST = 60.0
GOOD_LIFE = 10.0  # seconds; who lived longer did not die of its start


class Backoff:
    """The waits of one process's place."""

    def __init__(self) -> None:
        self._next = FIRST

    def after(self, lived: float) -> float:
        """The wait, in seconds, after a life of `lived` seconds."""
        if lived >= GOOD_LIFE:
            self._next = FIRST
        wait, self._next = self._next, min(self._next * 2, LONGEST)
        return wait
