"""Proving what is served, and bringing back what was: on a gateway whose workers are values."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, FakeGateway, b64, new_home, pem_of
from tests.fakes.ca import TestAuthority

from gatepost.app.runtime import build_runtime
from gatepost.certs.proof import Proof
from gatepost.certs.proof_record import next_record, save_record
from gatepost.control.ops.door import Door, read_here
from gatepost.control.ops.proof import proof_status
from gatepost.control.ports import Caller, WorkerAnswer
from gatepost.core.certificate_events import CertificateRolledBack
from gatepost.core.errors import Exit, OperatorError
from gatepost.relay.proof import ProofRequests
from gatepost.relay.services import Runtime
from gatepost.store.payload import open_payload, used_profiles
from gatepost.store.secrets import LocalKeeper

AUTHORITY = TestAuthority("Example CA")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(new_home(tmp_path / "home"))
    made.call("cert.import", name="gw", file=b64(pem_of(AUTHORITY.issue(["mx.example.net"]))))
    made.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))
    return made


class Proving(FakeGateway):
    """A gateway whose one worker answers for its contexts as `relay.proof` does; nothing listens on its port."""

    def __init__(self, bench: Bench, gateway: FakeGateway) -> None:
        super().__init__(bench.key, gateway.active)
        self.announced = 0
        self.lags: dict[str, Any] | None = None  # the payload that the worker still uses
        self.down = ""

    def runtime(self) -> Runtime:
        payload = dict(self.lags or self.active)
        return build_runtime(open_payload(payload, self._key, used_profiles(payload["document"])))

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        if self.down:
            return [WorkerAnswer(0, None, self.down)]
        if kind == "proof.expect":
            self.announced += len(args["places"])
            return [WorkerAnswer(0)]
        requests = ProofRequests(self.runtime, lambda: 0.0)
        return [WorkerAnswer(0, await requests.answer(kind.removeprefix("proof."), args))]


def proving(bench: Bench) -> Proving:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw").replace("2525", str(port)))
    gateway = Proving(bench, bench.start())
    bench.gateway = gateway
    bench.operations = Door(
        bench.home, bench.store, LocalKeeper(bench.key), gateway, bench.clock, read=read_here
    )
    return gateway


def test_a_proof_tells_of_every_question_and_of_every_worker(bench: Bench) -> None:
    gateway = proving(bench)
    found = bench.call("cert.prove")
    assert found["version"] == bench.versions()
    assert (found["fulfilled"], found["listeners"], found["silent"]) == (False, 1, [])
    asked = {(row["sni"], row["keys"]) for row in found["rows"]}
    assert {("", "any"), ("", "rsa"), ("", "ecdsa"), ("mx.example.net", "any")} <= asked
    assert {row["reason"] for row in found["rows"]} == {"[Errno 111] Connection refused"}
    # The worker's own account has no difference: only the way to it has.
    assert {(one["worker"], one["reached"]) for one in found["differences"]} == {(None, False)}
    assert gateway.announced == 2 * len(found["rows"])  # each was asked once more


def test_a_worker_with_other_certificates_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.control.ops.proving.SWITCH_PATIENCE", 1)
    monkeypatch.setattr("gatepost.control.ops.proving.SETTLE_SECONDS", 0.0)
    gateway = proving(bench)
    gateway.lags = dict(gateway.active)
    replace_certificate(bench)
    found = bench.call("cert.prove")
    told = {one["reason"] for one in found["differences"] if one["worker"] == 0}
    assert told == {"another certificate"}


def test_a_worker_that_is_down_is_named_and_not_blamed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.control.ops.proving.SWITCH_PATIENCE", 1)
    monkeypatch.setattr("gatepost.control.ops.proving.SETTLE_SECONDS", 0.0)
    gateway = proving(bench)
    gateway.down = "the worker 0 is not running"
    found = bench.call("cert.prove")
    assert found["silent"] == [{"worker": 0, "reason": "the worker 0 is not running"}]
    assert {one["worker"] for one in found["differences"]} == {None}


async def as_gateway(bench: Bench, op: str, **args: Any) -> Any:
    return await bench.operations.call(op, args, Caller.gateway())


def replace_certificate(bench: Bench) -> int:
    bench.call("cert.import", name="gw", file=b64(pem_of(AUTHORITY.issue(["mx.example.net"]))), replace=True)
    return bench.versions()


def rollback(bench: Bench, version: int, to: int, *names: str) -> Any:
    args = {"version": version, "to": to, "profiles": list(names), "reason": "it broke"}
    return asyncio.run(as_gateway(bench, "cert.rollback-served", **args))


def test_the_certificates_of_an_earlier_version_come_back_and_nothing_else(bench: Bench) -> None:
    gateway = bench.start()
    good, before = bench.versions(), bench.opens("gw")
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw").replace("2525", "2526"))
    broken = replace_certificate(bench)
    assert bench.opens("gw") != before
    answer = rollback(bench, broken, good, "gw")
    assert answer["version"] == bench.versions() == broken + 1
    assert bench.opens("gw") == before
    assert bench.document()["listeners"][0]["port"] == 2526
    last = bench.call("config.history")[0]
    assert last["author"] == "gatepost"
    assert last["comment"] == f"bring back gw of version {good}: not on the wire with version {broken}"
    (event,) = [one for one in gateway.events if isinstance(one, CertificateRolledBack)]
    assert event == CertificateRolledBack(NOW, broken + 1, good, "gw: it broke")


def test_a_rollback_comes_too_late_for_a_version_that_is_gone(bench: Bench) -> None:
    bench.start()
    good = bench.versions()
    broken = replace_certificate(bench)
    last = replace_certificate(bench)
    with pytest.raises(OperatorError, match="not in force any more") as caught:
        rollback(bench, broken, good, "gw")
    assert caught.value.code == Exit.TRY_AGAIN
    for names in (["gone"], []):
        with pytest.raises(OperatorError, match="nothing to bring back"):
            rollback(bench, last, good, *names)
    with pytest.raises(OperatorError, match="not in force any more"):
        rollback(bench, last, 999, "gw")
    assert bench.versions() == last


def test_people_restore_by_name(bench: Bench) -> None:
    bench.start()
    with pytest.raises(OperatorError, match="only the gateway") as caught:
        bench.call("cert.rollback-served", version=1, to=1, profiles=["gw"], reason="")
    assert "cert restore" in caught.value.hint


def test_a_stopped_gateway_proves_nothing(bench: Bench) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.call("cert.prove")
    assert caught.value.code == Exit.NOT_RUNNING


def test_the_last_proof_is_in_the_status(bench: Bench) -> None:
    assert proof_status(bench.store) is None
    version = bench.store.latest()
    assert version is not None
    save_record(bench.store, next_record(None, version, Proof((), (), ()), NOW))
    found = proof_status(bench.store)
    assert found is not None
    assert (found["version"], found["fulfilled"], found["differences"]) == (version.number, True, [])
    bench.start()
    assert bench.call("status")["proof"] == found
