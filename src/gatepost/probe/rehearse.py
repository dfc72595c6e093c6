"""What-if: the recorded deliveries and sessions of some days under another policy.

    Rehearsal(trial, deliveries)     both sides are replayed, message by message
    .wanting()                       the destinations of which today's DNS could tell what was not looked up then
    .document(sessions)              the account

The records are read once; a second replay with `Trial.answers` takes today's answers in. Nothing here opens a socket or a database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gatepost.policy.recorded import names_of, sts_of, tlsa_of
from gatepost.probe.rehearse_account import MailAccount, SessionAccount
from gatepost.probe.rehearse_facts import Answer, Doubt, Trial
from gatepost.probe.rehearse_mail import Deliveries, Fate
from gatepost.probe.rehearse_sessions import replay_session
from gatepost.store.records import SessionRow

ASKABLE = (Doubt.NO_TLSA, Doubt.NO_STS, Doubt.NOT_SIGNED)
MAX_ASKED = 200  # destinations


class Rehearsal:
    """One policy over the records of some days."""

    def __init__(self, trial: Trial, deliveries: Deliveries) -> None:
        self._trial = trial
        self._deliveries = deliveries

    def wanting(self) -> list[str]:
        """The domains whose DNS would tell more, those with the most messages first."""
        wanted: Counter[str] = Counter()
        for one in self._deliveries.replay(self._trial):
            if one.fate is Fate.UNKNOWN and one.doubt in ASKABLE:
                wanted[one.domain] += 1
        return [domain for domain, _ in wanted.most_common(MAX_ASKED)]

    def document(self, sessions: Iterable[SessionRow]) -> dict[str, Any]:
        """Both sides, as JSON values."""
        mail, incoming = MailAccount(self._trial), SessionAccount()
        for one in self._deliveries.replay(self._trial):
            mail.add(one)
        for row in sessions:
            for mails in replay_session(self._trial, row):
                incoming.add(mails)
        return {"outbound": mail.document(), "inbound": incoming.document(), "by_today": mail.today}


def answers_of(found: dict[str, Any]) -> dict[tuple[str, str, str, int], Answer]:
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
