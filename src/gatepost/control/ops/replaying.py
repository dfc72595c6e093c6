"""A rehearsal over `records.db`, from plain values to plain values: the same in a thread of the desk, in a command, and in a child (`replay_child`).

    with Replaying(task, tell) as replaying:
        asked = replaying.wanting()          domains of which today's DNS could tell more
        account = replaying.account(found)   with what a worker found of them

A task: `records` (the path of the database), `since`, `today` (a date), `document`, `authorities` and `crls` of an activation payload (`store.payload`). It
holds no key and no verifier of a pass-phrase. The database is only read, and no snapshot of it is held while anybody waits for DNS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.certs.trust import revocation_lists, trusted_roots
from gatepost.config.load import load_plain
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.probe.rehearse import Rehearsal, Tell, answers_of
from gatepost.probe.rehearse_mail import Deliveries
from gatepost.probe.rehearse_trial import Memory, Trial
from gatepost.store.records import Reach, RecordStore, SessionRow

DAY = 86_400.0
MAX_CERTIFICATES = 20_000  # that are in memory at once

Task = Mapping[str, Any]


class Replaying:
    """One rehearsal. Blocks; used by one thread at a time. Raises RecordsFailed and NewerForm."""

    def __init__(self, task: Task, tell: Tell) -> None:
        self._since = float(task["since"])
        self._certificates: Memory[bytes] = Memory(MAX_CERTIFICATES)
        self._store = RecordStore.open_to_read(Path(task["records"]))
        try:
            self._reach, deliveries = self._read()
            self._trial = self._made(task)
        except BaseException:
            self.close()
            raise
        self._rehearsal = Rehearsal(self._trial, deliveries, tell)

    def __enter__(self) -> Replaying:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _read(self) -> tuple[Reach, Deliveries]:
        if self._store is None:
            return Reach(0, 0, 0, 0, 0.0, 0.0), Deliveries((), ())
        with self._store.snapshot():
            reach = self._store.reach()
            # A connection may be older than what it carried.
            connections = self._store.connections(self._since - DAY)
            return reach, Deliveries(connections, self._store.deliveries(self._since))

    def _made(self, task: Task) -> Trial:
        document = load_plain(dict(task["document"]))
        return Trial(
            document,
            compile_destinations(document),
            compile_routes(document),
            compile_rules(document),
            trusted_roots(task["authorities"]),
            revocation_lists(document, task),
            date.fromisoformat(task["today"]),
            self._certificate,
        )

    def _certificate(self, fingerprint: str) -> bytes | None:
        known = self._certificates.get(fingerprint)
        if known is not None or self._store is None:
            return known
        der = self._store.certificate(fingerprint)
        return self._certificates.put(fingerprint, der) if der is not None else None

    def wanting(self) -> list[str]:
        """The domains whose DNS would tell more, at most some."""
        return self._rehearsal.wanting()

    def account(self, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """The account of both sides, with today's answers where they are needed."""
        if found:
            self._trial.answers = answers_of(found)
        if self._store is None:
            account = self._rehearsal.document(())
        else:
            with self._store.snapshot():
                sessions = (row for row in self._store.sessions(self._since) if _tells(row))
                account = self._rehearsal.document(sessions, self._reach.sessions)
        looked_up = len({domain for domain, *_ in self._trial.answers})
        return {"records": _span(self._reach, self._since), **_with_times(account), "looked_up": looked_up}


def _tells(row: SessionRow) -> bool:
    """Somebody said MAIL."""
    return bool(row.facts.get("senders") or row.facts.get("refused"))


def _span(reach: Reach, since: float) -> dict[str, str]:
    first = max(reach.first, since) if reach.first else 0.0
    return {
        "from": iso_time(first) if first else "",
        "to": iso_time(reach.last) if reach.last else "",
    }


def _with_times(value: Any) -> Any:
    """Times of certificates as the contract's JSON has them."""
    if isinstance(value, dict):
        return {
            key: iso_time(item) if key == "not_after" else _with_times(item) for key, item in value.items()
        }
    return [_with_times(item) for item in value] if isinstance(value, list) else value
