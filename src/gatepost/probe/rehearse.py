"""What-if: the recorded deliveries and sessions of some days under another policy.

    Rehearsal(trial, deliveries)     both sides are replayed, message by message
    .wanting()                       the destinations of which today's DNS could tell what was not looked up then
    .document(sessions)              the account

The records are read once; a second replay with `Trial.answers` takes today's answers in. Nothing here opens a socket or a database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gatepost.policy.recorded import names_of, sts_of, tlsa_of
from gatepost.probe.rehearse_account import MailAccount, SessionAccount
from gatepost.probe.rehearse_facts import Doubt
from gatepost.probe.rehearse_mail import Deliveries, Fate, Replayed
from gatepost.probe.rehearse_sessions import replay_session
from gatepost.probe.rehearse_trial import Answer, Trial
from gatepost.store.records import SessionRow

ASKABLE = (Doubt.NO_TLSA, Doubt.NO_STS, Doubt.NOT_SIGNED)
MAX_ASKED = 200  # destinations


Tell = Callable[[str, int, int], None]
"""Is told how far it is: what is gone through, how many are done, and how many there are."""

OUTGOING, INCOMING = "outgoing", "incoming"
STEP = 500


def _nobody(what: str, done: int, of: int) -> None:
    """Nobody wants to know."""


class Rehearsal:
    """One policy over the records of some days."""

    def __init__(self, trial: Trial, deliveries: Deliveries, tell: Tell = _nobody) -> None:
        self._trial = trial
        self._deliveries = deliveries
        self._tell = tell

    def wanting(self) -> list[str]:
        """The domains whose DNS would tell more, those with the most messages first."""
        wanted: Counter[str] = Counter()
        for one in self._replayed():
            if one.fate is Fate.UNKNOWN and one.doubt in ASKABLE:
                wanted[one.domain] += 1
        return [domain for domain, _ in wanted.most_common(MAX_ASKED)]

    def document(self, sessions: Iterable[SessionRow], count: int = 0) -> dict[str, Any]:
        """Both sides, as JSON values; of sessions there are `count`."""
        mail, incoming = MailAccount(self._trial), SessionAccount()
        for one in self._replayed():
            mail.add(one)
        for number, row in enumerate(sessions):
            if number % STEP == 0:
                self._tell(INCOMING, number, count)
            for mails in replay_session(self._trial, row):
                incoming.add(mails)
        return {"outbound": mail.document(), "inbound": incoming.document(), "by_today": mail.today}

    def _replayed(self) -> Iterator[Replayed]:
        count = len(self._deliveries)
        for number, one in enumerate(self._deliveries.replay(self._trial)):
            if number % STEP == 0:
                self._tell(OUTGOING, number, count)
            yield one


def answers_of(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[tuple[str, str, str, int], Answer]:
    """What a worker looked up (`app.explaining`), by domain, host, address and port."""
    answers = {}
    for domain, hops in found.items():
        for hop in hops:
            answer = Answer(
                names_of(hop["names"]),
                tlsa_of(hop["tlsa"]),
                sts_of(hop["sts"]) if hop["sts"] is not None else None,
            )
            answers[domain, hop["host"], hop["address"], hop["port"]] = answer
    return answers
