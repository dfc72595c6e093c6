"""explain: on a stopped gateway the configuration's branch, on a running one a worker's answer; who may wait, and what the audit says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64

from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Noted

STRICT = CONTRACT_LIKE.replace("tls: preferred, bounce_profile", "tls: required, bounce_profile")
CALL = {"connections": [{"source": "127.0.0.1", "broken": ""}]}
FORBIDDEN = {"connections": [{"source": "", "broken": ""}]}


class Worker:
    """Answers what a worker would, and keeps what it was asked."""

    def __init__(self, *calls: dict[str, Any] | None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.calls = calls
        self.down = ""

    def answer(self, kind: str, args: Any) -> Any:
        assert kind == "explain"
        self.asked.append(dict(args))
        hosts = [{"addresses": [{"call": call} for call in self.calls]}]
        return {"delivery": {"hosts": hosts, "result": {"result": "delay"}}}


def running(bench: Bench, *calls: dict[str, Any] | None) -> Worker:
    worker = Worker(*calls)
    bench.start().workers[:] = [worker]  # type: ignore[list-item]
    return worker


def levels(found: Any) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in found["rules"]["entry"]["settings"]}


def test_on_a_stopped_gateway_the_configuration_is_explained(bench: Bench) -> None:
    bench.apply(STRICT)
    found = bench.call("explain", domain="Ann@Partner.Example")
    assert (found["domain"], found["version"], found["live"], found["delivery"]) == (
        "partner.example",
        2,
        False,
        None,
    )
    assert levels(found)["tls"] == "required"
    assert found["rules"]["route"]["kind"] == "dns"
    assert "not running" in found["notes"][0]


def test_a_candidate_is_explained_too_and_only_its_authors(bench: Bench) -> None:
    bench.apply(STRICT, pending=True)
    assert levels(bench.call("explain", domain="a.example"))["tls"] == "preferred"
    found = bench.call("explain", domain="a.example", pending=True)
    assert (found["pending"], levels(found)["tls"]) == (True, "required")
    other = bench.call("explain", domain="a.example", pending=True, uid=1001)
    assert (other["pending"], levels(other)["tls"]) == (False, "preferred")


def test_calling_needs_a_running_gateway(bench: Bench) -> None:
    with pytest.raises(OperatorError, match=r"--live.*DNSSEC need the running gateway") as caught:
        bench.call("explain.live", domain="a.example")
    assert caught.value.code is Exit.NOT_RUNNING


@pytest.mark.parametrize(
    "text", ["", "a@b@c..d", "a..b", "[192.0.2.999]", "a@", "x y.example", "\udc80.example", "@"]
)
def test_what_is_no_recipient_is_refused(bench: Bench, text: str) -> None:
    with pytest.raises(OperatorError, match="is no recipient") as caught:
        bench.call("explain", domain=text)
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("user@[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
    ],
)
def test_a_recipient_is_read_as_rcpt_reads_it(bench: Bench, text: str, domain: str) -> None:
    assert bench.call("explain", domain=text)["domain"] == domain


def test_one_worker_is_asked_and_looking_leaves_no_line(bench: Bench) -> None:
    worker = running(bench)
    bench.call("explain", domain="a.example")
    bench.call("explain", domain="a.example", requiretls=True)
    assert worker.asked == [
        {"domain": "a.example", "live": False, "requiretls": requiretls} for requiretls in (False, True)
    ]
    assert bench.gateway is not None
    assert bench.gateway.events == []


def test_calls_are_audited_with_whom_and_what_came_of_it(bench: Bench) -> None:
    worker = running(bench, CALL, None, FORBIDDEN, CALL)
    found = bench.call("explain.live", domain="a.example")
    assert worker.asked == [{"domain": "a.example", "live": True, "requiretls": False}]
    assert found["said"] == "a.example: delay, 2 addresses called"
    assert bench.gateway is not None
    (line,) = bench.gateway.events
    assert isinstance(line, Noted)
    assert line.text == "explain.live by local:1000: a.example: delay, 2 addresses called"


def test_a_candidate_goes_without_keys(bench: Bench) -> None:
    worker = running(bench)
    bench.apply(STRICT, pending=True)
    bench.call("explain", domain="a.example", pending=True)
    (args,) = worker.asked
    assert args["same_certificate"]
    assert set(args["payload"]["profiles"]["Demo"]) == {"chains"}
    assert args["payload"]["document"]["destination_controls"]["default"]["tls"] == "required"


def test_a_worker_that_cannot_answer_is_told(bench: Bench) -> None:
    worker = running(bench)
    worker.down = "the worker 0 did not answer"
    with pytest.raises(OperatorError, match="did not answer") as caught:
        bench.call("explain", domain="a.example")
    assert caught.value.code is Exit.TRY_AGAIN


def test_calls_hold_no_change_up_and_no_change_holds_them_up(bench: Bench) -> None:
    running(bench, CALL)
    gateway = bench.gateway
    assert gateway is not None

    async def main() -> None:
        asked, go = asyncio.Event(), asyncio.Event()
        ask = gateway.ask_workers

        async def slowly(kind: str, args: Any, worker: int | None = None) -> Any:
            if kind == "explain":
                asked.set()
                await go.wait()
            return await ask(kind, args, worker)

        gateway.ask_workers = slowly  # type: ignore[method-assign]
        caller = Caller.local(1000)
        calling = asyncio.ensure_future(
            bench.operations.call("explain.live", {"domain": "a.example"}, caller)
        )
        await asked.wait()
        text = b64(STRICT)
        changed = await asyncio.wait_for(bench.operations.call("config.apply", {"text": text}, caller), 10)
        assert changed["version"] == 2
        go.set()
        assert (await calling)["said"] == "a.example: delay, 1 address called"

    asyncio.run(main())
