"""What a rehearsal foretells is what happens: the same traffic is sent under one policy, rehearsed under others, and sent again under them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import self_signed
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway, policy
from tests.fakes.peer import FakePeer, Handshake
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import Delivered, RecipientBounced, RecipientDelayed
from gatepost.core.events import ConnectionClosed, MessageStarted
from gatepost.core.tls import TlsVerdict
from gatepost.core.tlsa import TlsaAnswer, TlsaState, of_key
from gatepost.pki.certificate import read_certificate
from gatepost.policy.recorded import names_of
from gatepost.probe.rehearse import Rehearsal
from gatepost.probe.rehearse_facts import Doubt
from gatepost.probe.rehearse_mail import Deliveries, Fate, Replayed
from gatepost.probe.rehearse_sessions import Cause, SessionDoubt, replay_session
from gatepost.probe.rehearse_trial import Answer, Trial
from gatepost.relay.services import Runtime
from gatepost.store.records import Batch
from gatepost.track.records import Joiner
from gatepost.wire.mta_sts import Mode, StsPolicy

pytestmark = pytest.mark.slow

LEVELS = ("none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted")
GOOD = "good.example"


def _issued(name: str, **how: Any) -> FakePeer:
    return FakePeer(certificate=authority().issue([name], **how))


RECEIVERS: dict[str, Callable[[], FakePeer]] = {
    GOOD: lambda: _issued(GOOD),
    "plain.example": FakePeer,
    "expired.example": lambda: _issued("expired.example", expired=True),
    "wrong.example": lambda: _issued("other.example"),
    "self.example": lambda: FakePeer(certificate=self_signed(["self.example"])),
    "refusing.example": lambda: FakePeer(
        certificate=authority().issue(["refusing.example"]), replies={"STARTTLS": "454 4.7.0 Not now"}
    ),
    "broken.example": lambda: FakePeer(handshake=Handshake.CLOSES),
    "old.example": lambda: FakePeer(replies={"EHLO": "502 5.5.1 What?"}),
}


def records(it: Gateway) -> Batch:
    joiner = Joiner()
    return joiner.take(event for event in it.log.events if type(event) in joiner.kinds)


def trial_of(runtime: Runtime, it: Gateway, batch: Batch, **more: Any) -> Trial:
    return Trial(
        runtime.document,
        runtime.destinations,
        runtime.routes,
        runtime.rules,
        runtime.anchors,
        runtime.crls,
        it.services.today(),
        {row.fingerprint: row.der for row in batch.certificates}.get,
        **more,
    )


def replayed(it: Gateway, batch: Batch, **more: Any) -> dict[str, Replayed]:
    """What the configuration that is in force now would have made of the recorded messages, by domain."""
    deliveries = Deliveries(batch.connections, batch.deliveries)
    trial = trial_of(it.services.runtime, it, batch, **more)
    return {one.domain: one for one in deliveries.replay(trial)}


async def send(it: Gateway, domains: Iterable[str]) -> dict[str, bool]:
    """One message to each; what became of each."""
    mids = {await it.inject("a@sender.example", f"b@{domain}"): domain for domain in domains}

    def results() -> dict[str, bool]:
        known: dict[str, bool] = {}
        for kind, delivered in ((Delivered, True), (RecipientDelayed, False), (RecipientBounced, False)):
            for event in it.log.of(kind):
                if event.mid in mids:
                    known[mids[event.mid]] = delivered
        return known

    await it.log.until(lambda: len(results()) == len(mids))
    return results()


@pytest.mark.parametrize("recorded", LEVELS)
def test_every_level_rehearsed_over_every_other(tmp_path: Path, recorded: str) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            peers = {name: await stack.enter_async_context(make()) for name, make in RECEIVERS.items()}
            routes = {name: peer.port for name, peer in peers.items()}
            it = await stack.enter_async_context(
                gateway(tmp_path / "day", routes=routes, destination_controls=controls(recorded))
            )
            before = await send(it, RECEIVERS)
            day = records(it)
            foretold = {}
            for level in LEVELS:
                it.commit(destination_controls=controls(level))
                foretold[level] = replayed(it, day)
            # The recorded day under its own policy is the recorded day.
            own = foretold[recorded]
            assert {name: one.fate is Fate.PASSES for name, one in own.items()} == before
            for number, level in enumerate(LEVELS):
                async with gateway(
                    tmp_path / f"again{number}", routes=routes, destination_controls=controls(level)
                ) as again:
                    after = await send(again, RECEIVERS)
                for name, one in foretold[level].items():
                    if one.fate is Fate.UNKNOWN:
                        assert recorded == "none"
                        assert level != "none"
                        assert one.doubt is Doubt.NOT_TRIED
                        assert name not in ("plain.example", "old.example")
                    else:
                        assert (one.fate is Fate.PASSES) is after[name], (level, name, one)

    run(main)


def _records_of(peer: FakePeer, host: str) -> TlsaAnswer:
    """TLSA records of a host that are right for this peer."""
    assert peer.certificate is not None
    key = read_certificate(peer.certificate.chain_der[0]).public_key_der
    return TlsaAnswer(TlsaState.FOUND, (of_key(key),), host)


def test_dane_and_sts_are_rehearsed_by_what_was_learnt_or_by_todays_answers(tmp_path: Path) -> None:
    """Nobody asked for TLSA records or policies on the day: a doubt, unless today's answers are there."""

    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["any.example"]), host="127.0.0.2") as right,
            FakePeer(certificate=self_signed(["any.example"]), host="127.0.0.3") as wrong,
        ):
            routes = {
                "right.example": [f"right.example:{right.port}"],
                "wrong.example": [f"wrong.example:{wrong.port}"],
                "sts.example": [f"sts.example:{right.port}"],
            }
            async with gateway(tmp_path, routes=routes, destination_controls=controls("preferred")) as it:
                it.resolver.set_addresses("mx.right.example", "127.0.0.2")
                it.resolver.set_addresses("mx.wrong.example", "127.0.0.3")
                it.resolver.set_mx("right.example", (10, "mx.right.example"))
                it.resolver.set_mx("wrong.example", (10, "mx.wrong.example"))
                it.resolver.set_mx("sts.example", (10, "mx.right.example"))
                assert await send(it, routes) == dict.fromkeys(routes, True)
                day = records(it)
                it.commit(destination_controls=controls("preferred", dane="opportunistic"))
                unknown = replayed(it, day)
                assert {one.doubt for one in unknown.values()} == {Doubt.NO_TLSA}
                deliveries = Deliveries(day.connections, day.deliveries)
                rehearsal = Rehearsal(trial_of(it.services.runtime, it, day), deliveries)
                assert set(rehearsal.wanting()) == set(routes)
                answers = {}
                for row in day.connections:
                    answers[row.domain, row.host, row.address, row.port] = Answer(
                        names_of(row.facts["hop"]), _records_of(right, row.host), None
                    )
                told = replayed(it, day, answers=answers)
                assert {name: one.fate for name, one in told.items()} == {
                    "right.example": Fate.PASSES,
                    "wrong.example": Fate.FAILS,
                    "sts.example": Fate.PASSES,
                }
                assert all(one.today for one in told.values())
                # And so it is when it is sent under that policy.
                for host in ("mx.right.example", "mx.wrong.example"):
                    it.resolver.tlsa_answers[host] = _records_of(right, host)
                assert await send(it, routes) == {
                    "right.example": True,
                    "wrong.example": False,
                    "sts.example": True,
                }
                # A policy that names the host, of which the certificate is nobody's.
                it.commit(destination_controls=controls("preferred", mta_sts=True))
                assert replayed(it, day)["sts.example"].doubt is Doubt.NO_STS
                listed = StsPolicy(Mode.ENFORCE, 86_400, ("mx.right.example",))
                answers = {key: Answer(one.names, None, (key[0], listed)) for key, one in answers.items()}
                told = replayed(it, day, answers=answers)
                assert told["sts.example"].fate is Fate.FAILS
                assert "MTA-STS" in told["sts.example"].refused[0].reason
                it.policies.known["sts.example"] = listed
                assert await send(it, ["sts.example"]) == {"sts.example": False}

    run(main)


def test_several_hosts_and_a_handshake_that_breaks_before_a_host_in_clear(tmp_path: Path) -> None:
    """R24 is replayed: the second host may not be in clear once the first one broke the handshake."""

    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["two.example"])) as first,
            FakePeer(certificate=authority().issue(["two.example"])) as second,
            FakePeer(handshake=Handshake.CLOSES) as breaks,
            FakePeer() as plain,
        ):
            routes = {"two.example": (first.port, second.port), "broken.example": (breaks.port, plain.port)}
            async with gateway(tmp_path, routes=routes, destination_controls=controls("none")) as it:
                assert await send(it, routes) == dict.fromkeys(routes, True)
                day = records(it)
                it.commit(destination_controls=controls("preferred"))
                assert await send(it, ["broken.example"]) == {"broken.example": False}
                more = records(it)
                both = replayed(it, more)
                assert both["broken.example"].fate is Fate.FAILS
                # The second host of the first was never called under a policy that tries TLS.
                it.commit(destination_controls=controls("required-verify"))
                one = replayed(it, day)["two.example"]
                assert (one.fate, one.doubt) == (Fate.UNKNOWN, Doubt.NOT_TRIED)
                assert await send(it, ["two.example"]) == {"two.example": True}
                told = replayed(it, records(it))["two.example"]
                assert told.fate is Fate.PASSES
                # Where the record has both hosts, a change back is foretold too.
                it.commit(destination_controls=controls("preferred"))
                assert replayed(it, records(it))["two.example"].fate is Fate.PASSES

    run(main)


def test_an_attempt_on_a_borrowed_connection_is_foretold_with_all_its_hosts(tmp_path: Path) -> None:
    """Two destinations share hosts and connections; each is judged by its own names, host after host."""
    domains = ["one.example", "two.example"]

    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["one.example"])) as first,
            FakePeer(certificate=authority().issue(["one.example"])) as second,
            FakePeer() as plain,
            FakePeer(certificate=authority().issue(domains)) as secure,
        ):
            routes: dict[str, Any] = dict.fromkeys(domains, (first.port, second.port))
            routes |= {"other.example": (second.port,)}
            routes |= dict.fromkeys(["three.example", "four.example"], (plain.port, secure.port))
            async with gateway(tmp_path, routes=routes, destination_controls=controls("preferred")) as it:
                for domain in ("other.example", *domains):
                    assert await send(it, [domain]) == {domain: True}
                day = records(it)
                assert [row.domain for row in day.connections if row.facts["borrowed"]] == ["two.example"]
                it.commit(destination_controls=controls("required-verify"))
                told = replayed(it, day)
                assert {name: told[name].fate for name in domains} == {
                    "one.example": Fate.PASSES,
                    "two.example": Fate.FAILS,
                }
                assert [one.row.port for one in told["two.example"].refused if one.row] == [
                    first.port,
                    second.port,
                ]
                assert await send(it, domains) == {"one.example": True, "two.example": False}
            # The first host was refused and the second one's connection borrowed: a milder rule stays with the first.
            async with gateway(
                tmp_path / "more", routes=routes, destination_controls=controls("required")
            ) as it:
                for domain in ("three.example", "four.example"):
                    assert await send(it, [domain]) == {domain: True}
                day = records(it)
                rows = [(row.domain, row.facts["borrowed"]) for row in day.connections]
                assert rows == [
                    ("three.example", False),
                    ("three.example", False),
                    ("four.example", False),
                    ("four.example", True),
                ]
                it.commit(destination_controls=controls("preferred"))
                for one in replayed(it, day).values():
                    assert one.before is not None
                    assert one.before["verdict"] == "encrypted"
                    assert one.outcome is not None
                    assert one.outcome.verdict is TlsVerdict.CLEAR

    run(main)


# --- incoming ------------------------------------------------------------------------------------------

POLICIES = {
    "off": policy(tls="off"),
    "preferred": policy(),
    "required": policy(tls="required"),
    "list": policy(tls_mandatory_for="bank"),
    "certificates": policy(tls="required", verify_client_certificate=True),
    "welcome": policy(verify_client_certificate=True),
}
LISTS = [{"name": "bank", "addresses": ["bank.example", "boss@shop.example"]}]
SENDERS = ("ann@bank.example", "boss@shop.example", "worker@shop.example")


async def visit(it: Gateway, how: str) -> dict[str, bool]:
    """One session of each sender; whose MAIL is taken."""
    taken = {}
    for sender in SENDERS:
        client = await it.connect()
        await client.hello()
        if how != "clear":
            if not await _secured(client, how):
                client.send("MAIL FROM:<>\r\n")
                continue
            await client.say("EHLO client.example")
        taken[sender] = (await client.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
        await client.quit()
    assert await it.ended()
    await it.log.until(lambda: len(it.log.of(ConnectionClosed)) % len(SENDERS) == 0)
    return taken


async def _secured(client: Client, how: str) -> bool:
    certificate = {
        "tls": None,
        "known": authority().issue(["client.example"]),
        "stranger": self_signed(["client.example"]),
    }[how]
    if not (await client.say("NOOP")).startswith("250 "):
        return False
    await client.starttls(certificate=certificate)
    return True


@pytest.mark.parametrize("how", ["clear", "tls", "known", "stranger"])
@pytest.mark.parametrize("recorded", ["preferred", "welcome"])
def test_incoming_policies_rehearsed_over_a_session(tmp_path: Path, recorded: str, how: str) -> None:
    async def main() -> None:
        sections = {"mail_flow_policies": [POLICIES[recorded]], "address_lists": LISTS}
        async with gateway(tmp_path / "day", routes={}, **sections) as it:
            before = await visit(it, how)
            day = records(it)
            assert len(it.log.of(MessageStarted)) == sum(before.values())
            for number, (name, wanted) in enumerate(POLICIES.items()):
                if name == "off" and how != "clear":
                    continue
                it.commit(mail_flow_policies=[wanted])
                trial = trial_of(it.services.runtime, it, day)
                foretold = {
                    mails.sender: mails.answer for row in day.sessions for mails in replay_session(trial, row)
                }
                again_sections = {"mail_flow_policies": [wanted], "address_lists": LISTS}
                async with gateway(tmp_path / f"again{number}", routes={}, **again_sections) as again:
                    after = await visit(again, how)
                for sender, answer in foretold.items():
                    if answer.doubt is not None:
                        assert answer.doubt is SessionDoubt.NOT_ASKED
                        assert recorded == "preferred"
                        assert name in ("certificates", "welcome")
                    else:
                        assert (not answer.refusal) is after[sender], (name, sender, answer)

    run(main)


def test_who_says_nothing_of_himself_in_clear_would_be_refused_where_that_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={}, mail_flow_policies=[POLICIES["preferred"]]) as it:
            await visit(it, "clear")
            await visit(it, "tls")
            day = records(it)
            it.commit(mail_flow_policies=[policy(smtp_auth="required")])
            trial = trial_of(it.services.runtime, it, day)
            mails = [mails for row in day.sessions for mails in replay_session(trial, row)]
            clear, inside = ([one.answer for one in mails if one.tls is tls] for tls in (False, True))
            assert {(one.refusal, one.cause) for one in clear} == {
                ("SMTP authentication is required", Cause.ACCESS)
            }
            assert {one.refusal for one in inside} == {""}, "whether they authenticated is not recorded"

    run(main)
