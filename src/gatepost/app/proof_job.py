"""After every activation: is it on the wire? And back to what was, where it broke what worked (C41).

The job proves a version once (`control.ops.proving`), and again every five minutes while something is not as meant, so
that it notices when it is well again. What it learns is kept in the store (`certs.proof_record`) before anything
follows from it, so a restart repeats neither an alert nor a rollback.

A difference is told once: as events, and as one critical alert a listener under the key `served:LISTENER`. That is another
alert than that of a renewal that failed: here a new certificate is there and in force, and not on the wire. If the change
broke what worked under the version before, the job brings back those certificates, and only them, as a new version under
the gateway's own name. That version is proven in its turn, and never rolled back itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from gatepost.certs.proof import Difference
from gatepost.certs.proof_record import (
    Record,
    RollBack,
    load_record,
    next_record,
    rollback_for,
    save_record,
    text_of,
)
from gatepost.control.ops.proving import Proved, prove_now
from gatepost.control.ports import Caller, Gateway, Operations
from gatepost.core.certificate_events import CertificateNotServed, CertificatesServed
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.store.config_store import ConfigStore

LOOK_AGAIN = 300.0  # seconds while something is not as meant
SOON = 30.0  # while versions follow each other, or a worker is starting
NEVER = 1e9

Prove = Callable[[ConfigStore, Gateway], Awaitable[Proved]]


class ProofJob:
    """Implements `jobs.Job`. `prove` is how a version is proven."""

    name = "proof"

    def __init__(
        self,
        store: ConfigStore,
        gateway: Gateway,
        operations: Operations,
        clock: Clock,
        alerts: AlertPort,
        *,
        prove: Prove = prove_now,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._operations = operations
        self._clock = clock
        self._alerts = alerts
        self._prove = prove
        self._incomplete = False  # the last proof lacked a worker's account

    async def run(self) -> float:
        """Prove the version in force if it is not proven yet, or was not well."""
        before = load_record(self._store)
        known = before is not None and before.now.version == self._store.latest_number()
        if before is not None and known and before.fulfilled and not self._incomplete:
            return NEVER
        try:
            found = await self._prove(self._store, self._gateway)
        except OperatorError:
            return SOON
        self._incomplete = bool(found.silent)
        if found.silent and not found.proof.fulfilled:
            return SOON  # a worker that is just starting has not heard which connections are ours
        return await self._conclude(before, found)

    async def _conclude(self, before: Record | None, found: Proved) -> float:
        record = next_record(before, found.version, found.proof, self._clock.now())
        fresh = before is None or before.now.version != found.version.number
        if found.proof.fulfilled:
            save_record(self._store, record)
            if found.proof.expectations and (fresh or (before is not None and not before.fulfilled)):
                self._say_served(found)
            return SOON if found.silent else NEVER
        if fresh and before is not None:
            back = rollback_for(found.version, before.now, found.proof.differences, record.rollback)
            record = replace(record, rollback=back or record.rollback)
        # Until it is told and done it is not on record as such: after a restart it is told and done again.
        save_record(self._store, record)
        await self._tell(found, record)
        record = replace(record, told=frozenset(record.differences))
        save_record(self._store, record)
        if record.rollback is not None and record.due_back:
            await self._roll_back(record.rollback)
            save_record(self._store, replace(record, rollback=replace(record.rollback, done=True)))
        return LOOK_AGAIN

    async def _roll_back(self, back: RollBack) -> None:
        """Bring the certificates back; the activation of that wakes this job again."""
        names = sorted(back.profiles)
        args = {
            "version": back.broken,
            "to": back.to,
            "profiles": names,
            "reason": f"version {back.broken} broke what was on the wire as meant",
        }
        try:
            await self._operations.call("cert.rollback-served", args, Caller.gateway())
        except OperatorError as error:
            subject = f"Certificates of version {back.to} could not be brought back"
            text = (
                f"Version {back.broken} is not on the wire, and {', '.join(names)} of version {back.to} could not be "
                f"brought back: {error.message}.\n"
                "`gatepost cert prove` asks the listeners again, `gatepost cert restore` brings a certificate back."
            )
            await self._alerts.tell(Alert("rollback-served", "critical", subject, text))

    # --- telling -----------------------------------------------------------------------------

    def _say_served(self, found: Proved) -> None:
        proof = found.proof
        self._gateway.emit(
            CertificatesServed(
                self._clock.now(), found.version.number, proof.listeners, len(proof.expectations)
            )
        )

    async def _tell(self, found: Proved, record: Record) -> None:
        """What has not been told of this trouble yet."""
        by_listener: dict[str, list[Difference]] = {}
        for one in found.proof.differences:
            if text_of(one) not in record.told:
                by_listener.setdefault(one.expectation.listener, []).append(one)
        back = record.rollback if record.due_back else None
        for listener, differences in by_listener.items():
            for event in self._events(found.version.number, differences):
                self._gateway.emit(event)
            await self._alerts.tell(_alert(found.version.number, listener, differences, back))

    def _events(self, version: int, differences: Iterable[Difference]) -> list[CertificateNotServed]:
        """One for each name and reason, however many kinds of keys and workers show it."""
        events = {}
        for one in differences:
            question, expectation = one.expectation.question, one.expectation
            key = (question.sni, expectation.wanted, one.served, one.reason)
            events[key] = CertificateNotServed(
                self._clock.now(),
                version,
                expectation.listener,
                question.sni,
                expectation.wanted,
                one.served,
                one.reason,
            )
        return list(events.values())


def _alert(version: int, listener: str, differences: list[Difference], back: RollBack | None) -> Alert:
    names = ", ".join(dict.fromkeys(one.expectation.profile for one in differences))
    lines = [
        f"Version {version} of the configuration is in force, but the listener {listener} does not show what it means.",
        "",
        *dict.fromkeys(text_of(one) for one in differences),
        "",
    ]
    if back is not None:
        brought = ", ".join(sorted(back.profiles))
        lines.append(f"This worked with version {back.to}: its {brought} is brought back as a new version.")
    elif any(not one.reached for one in differences):
        lines.append("The listener could not be asked: look at its address and port, and at the log.")
    else:
        lines.append(
            "`gatepost cert prove` asks again. A restart of the gateway loads every certificate anew."
        )
    return Alert(
        f"served:{listener}",
        "critical",
        f"Certificate {names} is not on the wire of listener {listener}",
        "\n".join(lines),
    )
