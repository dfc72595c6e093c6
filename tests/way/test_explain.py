"""Explaining a delivery and making it: the same hosts, the same plan, the same verdict, in the same words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway, own_certificate
from tests.fakes.peer import CAPABILITIES, FakePeer, Handshake
from tests.fakes.resolver import FakeResolver
from tests.fakes.time_travel import Watched, run

from gatepost.app.explaining import MAX_AT_ONCE, NO_CERTIFICATE, Explaining
from gatepost.app.runtime import build_runtime
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import OperatorError
from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.net.resolver import Resolver
from gatepost.relay.services import Runtime
from gatepost.relay.walk import HOST_SECONDS, LOOK_SECONDS
from gatepost.store.sts_cache import StsCache

DOMAIN = "partner.example"
LEVELS = ("none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted")
PEERS: dict[str, dict[str, Any]] = {
    "no STARTTLS": {},
    "454": {"certificate": "good", "replies": {"STARTTLS": "454 4.7.0 Not now"}},
    "broken": {"handshake": Handshake.CLOSES},
    "good": {"certificate": "good"},
    "stranger": {"certificate": "stranger"},
    "wrong name": {"certificate": "other"},
    "busy": {"replies": {"GREETING": "554 5.3.2 Not today"}},
    "421": {"replies": {"EHLO": "421 4.3.2 Bye"}},
}


def _no_resolver(runtime: Runtime) -> Resolver:
    raise AssertionError("the configuration asks the same name servers")


def explaining(it: Gateway, root: Path) -> Explaining:
    return Explaining(
        lambda: it.services, build_runtime, _no_resolver, lambda: StsCache(root / "policies", keeps=False)
    )


async def explained(it: Gateway, root: Path, domain: str = DOMAIN, **args: Any) -> dict[str, Any]:
    return await explaining(it, root).answer({"domain": domain, "live": True, **args})


def issued(kind: str) -> Issued:
    if kind == "stranger":
        return TestAuthority("Stranger").issue([DOMAIN])
    return authority().issue([DOMAIN if kind == "good" else "other.example"])


def peer_of(kind: str, **more: Any) -> FakePeer:
    choices = {**PEERS[kind], **more}
    if "certificate" in choices:
        choices["certificate"] = issued(choices["certificate"])
    return FakePeer(**choices)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_foretold_is_what_happens(tmp_path: Path, level: str, kind: str) -> None:
    async def main() -> None:
        async with (
            peer_of(kind) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls(level)) as it,
        ):
            tree = (await explained(it, tmp_path))["delivery"]
            (host,) = tree["hosts"]
            call = host["addresses"][0]["call"]
            await it.quiet()
            assert it.log.events == [], "an explanation leaves no event"
            assert not peer.mails
            assert not any(verb in ("MAIL", "RCPT", "DATA") for c in peer.conversations for verb in c.verbs)
            before = len(peer.conversations)
            mid = await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("Message finished" if call["passes"] else "Delayed:")
            await it.quiet()
            assert peer.conversations[before:], "the delivery called the same host"
            outcome = call["connections"][0]["outcome"]
            for record in it.log.of(OutboundSession):
                kept = {one.fingerprint for one in it.log.of(CertificateSeen)}
                assert kept >= set((record.tls or {}).get("chain", ())), "a rehearsal needs the certificates"
            if call["passes"]:
                assert tree["result"]["result"] == "deliverable"
                assert len(peer.mails) == 1
                assert (outcome["verdict"] == "clear") is (peer.mails[0].tls == "")
                told = [line for line in it.log.lines if " verified " in line]
                assert [line.partition(" verified ")[2] for line in told] == [outcome["verified"]] * len(told)
                assert bool(told) is bool(outcome["verified"])
            else:
                assert tree["result"]["result"] == "delay"
                assert call["failure"] == tree["result"]["failure"] == it.stored(mid).progress[0].text
                told = [line.partition("TLS failed: ")[2] for line in it.log.lines if "TLS failed: " in line]
                assert told == ([outcome["reason"]] if outcome is not None else [])

    run(main)


@pytest.mark.parametrize("capabilities", [CAPABILITIES, (*CAPABILITIES, "REQUIRETLS")])
@pytest.mark.parametrize("kind", ["no STARTTLS", "454", "good", "stranger"])
@pytest.mark.parametrize("level", ["none", "preferred", "required-verify"])
def test_what_is_foretold_to_a_message_that_requires_tls(
    tmp_path: Path, level: str, kind: str, capabilities: tuple[str, ...]
) -> None:
    async def main() -> None:
        async with (
            peer_of(kind, capabilities=capabilities) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls(level)) as it,
        ):
            tree = (await explained(it, tmp_path, requiretls=True))["delivery"]
            (host,) = tree["hosts"]
            call, result = host["addresses"][0]["call"], tree["result"]
            assert host["plan"]["requiretls"]
            assert not peer.mails
            mid = await it.inject("a@sender.example", f"b@{DOMAIN}", requiretls=True)
            await it.log.line(
                {"deliverable": "Message finished", "bounce": "Bounced:", "delay": "Delayed:"}[
                    result["result"]
                ],
                f"MID {mid} ",
            )
            if call["passes"]:
                assert [mail.tls for mail in peer.mails] == ["TLSv1.3"]
            else:
                (told,) = it.log.with_("Bounced:", f"MID {mid} ") or it.log.with_("Delayed:", f"MID {mid} ")
                assert result["failure"] == call["failure"]
                assert f"{result['status']} (" in told
                assert result["failure"] in told

    run(main)


# --- several hosts, as in one attempt ---------------------------------------------------------------------


def calls_of(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [address["call"] for host in tree["delivery"]["hosts"] for address in host["addresses"]]


def test_after_a_broken_handshake_no_later_host_is_taken_in_clear(tmp_path: Path) -> None:
    """R24"""

    async def main() -> None:
        async with (
            FakePeer(handshake=Handshake.CLOSES) as broken,
            FakePeer() as plain,
            gateway(
                tmp_path, routes={DOMAIN: [broken.port, plain.port]}, destination_controls=controls()
            ) as it,
        ):
            tree = await explained(it, tmp_path)
            first, second = calls_of(tree)
            assert (first["clear_allowed"], second["clear_allowed"]) == (True, False)
            assert second["failure"] == "TLS preferred: remote host does not offer STARTTLS"
            result = tree["delivery"]["result"]
            assert (result["result"], result["failure"]) == ("delay", first["failure"])
            mid = await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.delayed(mid)
            assert it.stored(mid).progress[0].text == result["failure"]

    run(main)


def test_hosts_behind_the_one_that_works_are_called_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(certificate=issued("good")) as first,
            FakePeer(replies={"GREETING": "554 5.3.2 Closed"}) as second,
            gateway(
                tmp_path, routes={DOMAIN: [first.port, second.port]}, destination_controls=controls()
            ) as it,
        ):
            tree = await explained(it, tmp_path)
            one, other = calls_of(tree)
            assert (one["passes"], other["passes"]) == (True, False)
            assert (other["failure"], other["connections"][0]["greeting"]) == (
                "5.3.2 Closed",
                "554 5.3.2 Closed",
            )
            assert tree["delivery"]["result"]["verdict"] == "encrypted"
            assert first.conversations[0].verbs == ["EHLO", "STARTTLS", "EHLO", "QUIT"]

    run(main)


def test_ten_addresses_are_called_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={DOMAIN: [peer.port] * 12}, destination_controls=controls()) as it,
        ):
            calls = calls_of(await explained(it, tmp_path))
            assert [call["skipped"] for call in calls] == [""] * 10 + ["not called: only 10 are"] * 2
            assert len(peer.conversations) == 10

    run(main)


def test_a_host_that_takes_its_time_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"EHLO": "250 slow.example"}) as slow,
            FakePeer() as quick,
            gateway(
                tmp_path, routes={DOMAIN: [slow.port, quick.port]}, destination_controls=controls()
            ) as it,
        ):
            slow.hold("EHLO")
            asked = asyncio.ensure_future(explained(it, tmp_path))
            await slow.heard("EHLO")
            it.clock.advance(HOST_SECONDS + 1)
            first, second = calls_of(await asked)
            assert first["skipped"] == "it took longer than 20 s; a delivery would wait on"
            assert (first["passes"], second["passes"]) == (False, True)
            assert first["connections"][0]["source"] == "127.0.0.1"

    run(main)


def test_a_client_certificate_that_is_not_stood_is_left_out_once(tmp_path: Path) -> None:
    async def main() -> None:
        outbound = {**controls("required"), "global": {"certificate": "gw"}}
        async with (
            FakePeer(certificate=issued("good"), handshake=Handshake.WANTS_CERTIFICATE) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=outbound) as it,
        ):
            (call,) = calls_of(await explained(it, tmp_path))
            first, second = call["connections"]
            assert call["passes"]
            assert first["session"]["certificate_shown"] == "gw"
            assert first["broken"]
            assert (second["session"]["certificate_shown"], second["outcome"]["verdict"]) == ("", "encrypted")
            assert it.services.unwelcome_certificates.get((peer.host, peer.port, "gw")) is None
            (again,) = calls_of(await explained(it, tmp_path))
            assert len(again["connections"]) == 2, "what was learnt was forgotten"

    run(main)


# --- what DNS says -----------------------------------------------------------------------------------------


def test_addresses_inside_stay_refused(tmp_path: Path) -> None:
    """C43: the tester calls what a delivery calls, and nothing else."""

    async def main() -> None:
        async with gateway(tmp_path, destination_controls=controls()) as it:
            it.resolver.set_mx(DOMAIN, (10, "evil.example"), (20, "cloud.example"))
            it.resolver.set_addresses("evil.example", "127.0.0.9", "::ffff:10.0.0.1")
            it.resolver.set_addresses("cloud.example", "169.254.169.254")
            tree = await explained(it, tmp_path)
            assert tree["delivery"]["hosts"] == []
            assert {(one["address"], one["reason"]) for one in tree["delivery"]["left_out"]} == {
                ("127.0.0.9", "loopback address"),
                ("::ffff:a00:1", "private address"),
                ("169.254.169.254", "link-local address"),
            }
            assert tree["delivery"]["result"]["result"] == "bounce"
            literal = await explained(it, tmp_path, "[127.0.0.9]")
            assert literal["delivery"]["result"]["failure"] == "127.0.0.9: loopback address"

    run(main)


def test_the_look_ups_are_those_of_the_delivery(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, destination_controls=controls(dane="opportunistic", mta_sts=True)) as it:
            it.resolver.set_mx(DOMAIN, (10, "mx.partner.example"), (20, "gone.partner.example"))
            it.resolver.set_addresses("mx.partner.example", "203.0.113.5", "203.0.113.6")
            it.resolver.secure.add(DOMAIN)
            it.resolver.tlsa_answers["mx.partner.example"] = TlsaAnswer(
                TlsaState.FAILED, detail="TLSA of mx.partner.example: SERVFAIL"
            )
            tree = (await explained(it, tmp_path, live=False))["delivery"]
            (host,) = tree["hosts"]
            assert [one["address"] for one in host["addresses"]] == ["203.0.113.5", "203.0.113.6"]
            assert (host["source"], host["preference"], host["mx_signed"], host["mx_secure"]) == (
                "mx",
                10,
                True,
                False,
            )
            assert host["plan"]["forbidden"].startswith("its TLSA records could not be looked up")
            assert [(one["kind"], one["name"]) for one in tree["look_ups"]] == [
                ("MX", DOMAIN),
                ("A/AAAA", "mx.partner.example"),
                ("A/AAAA", "gone.partner.example"),
                ("TLSA", "_25._tcp.mx.partner.example"),
                ("TXT", f"_mta-sts.{DOMAIN}"),
            ]
            assert [one["host"] for one in tree["left_out"]] == ["gone.partner.example"]
            assert tree["policies"][0]["problem"] == "the domain announces no policy"
            assert tree["result"]["result"] == "unknown"
            assert host["addresses"][0]["call"] is None

    run(main)


def test_a_look_up_without_an_answer_defers(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, destination_controls=controls()) as it:
            it.resolver.failing.add(DOMAIN)
            result = (await explained(it, tmp_path))["delivery"]["result"]
            assert (result["result"], result["status"]) == ("delay", "4.4.3 - Directory server failure")
            assert result["failure"] == f"DNS Soft Error looking up {DOMAIN} (MX): SERVFAIL"
            gone = (await explained(it, tmp_path, "gone.example"))["delivery"]["result"]
            assert (gone["result"], gone["status"]) == ("bounce", "5.1.2 - Bad destination host")

    run(main)


def test_look_ups_that_never_end_are_given_up(tmp_path: Path) -> None:
    class Silent(FakeResolver):
        async def mx(self, domain: str) -> Any:
            self.asked.append(("MX", domain))
            watched.changed()
            await asyncio.Event().wait()

    watched = Watched()

    async def main() -> None:
        async with gateway(tmp_path, resolver=Silent(), destination_controls=controls()) as it:
            asked = asyncio.ensure_future(explained(it, tmp_path))
            await watched.until(lambda: it.resolver.asked)
            it.clock.advance(LOOK_SECONDS + 1)
            result = (await asked)["delivery"]["result"]
            assert (result["result"], "longer than 40 s" in result["failure"]) == ("delay", True)

    run(main)


def test_no_more_than_a_few_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"EHLO": "250 busy.example"}) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls()) as it,
        ):
            peer.hold("EHLO")
            busy = explaining(it, tmp_path)
            args = {"domain": DOMAIN, "live": True}
            running = [asyncio.ensure_future(busy.answer(args)) for _ in range(MAX_AT_ONCE)]
            await peer.heard("EHLO", MAX_AT_ONCE)
            with pytest.raises(OperatorError, match="too many destinations"):
                await busy.answer(args)
            peer.go("EHLO")
            assert all(
                tree["delivery"]["result"]["result"] == "deliverable"
                for tree in await asyncio.gather(*running)
            )
            assert (await busy.answer(args))["domain"] == DOMAIN

    run(main)


# --- a candidate -------------------------------------------------------------------------------------------


def candidate(it: Gateway, **sections: Any) -> dict[str, Any]:
    """What the desk sends of a candidate: no key."""
    document = to_plain(load_plain({**it._document, **sections}))
    own = own_certificate()
    return {
        "version": 1,
        "document": document,
        "profiles": {"gw": {"chains": [own.chain_pem.decode()]}},
        "authorities": {"system": False, "custom_pem": authority().root_pem.decode()},
    }


def test_a_candidate_is_tried_beside_what_is_in_force(tmp_path: Path) -> None:
    async def main() -> None:
        outbound = {**controls("preferred"), "global": {"certificate": "gw"}}
        stricter = {**controls("required-verify"), "global": {"certificate": "gw"}}
        async with (
            FakePeer(certificate=issued("stranger"), ask_certificate=True) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=outbound) as it,
        ):
            peer.certificate_authority = authority().root_pem.decode()
            payload = candidate(it, destination_controls=stricter)
            tree = await explained(it, tmp_path, payload=payload, same_certificate=True)
            assert (tree["pending"], tree["notes"]) == (True, [])
            (call,) = calls_of(tree)
            assert call["failure"].startswith("TLS required-verify: verify error: unable to get local issuer")
            assert call["connections"][0]["session"]["certificate_shown"] == "gw"
            assert calls_of(await explained(it, tmp_path))[0]["passes"], "what is in force has not changed"
            other = await explained(it, tmp_path, payload=payload, same_certificate=False)
            assert other["notes"] == [NO_CERTIFICATE]
            assert calls_of(other)[0]["connections"][0]["session"]["certificate_shown"] == ""

    run(main)


def test_a_candidate_with_other_name_servers_gets_a_resolver_of_its_own(tmp_path: Path) -> None:
    class Closed(FakeResolver):
        closed = False

        async def close(self) -> None:
            self.closed = True

    async def main() -> None:
        async with gateway(tmp_path, destination_controls=controls()) as it:
            other = Closed()
            other.set_addresses(DOMAIN, "203.0.113.9")
            made: list[Runtime] = []

            def lend(runtime: Runtime) -> Any:
                made.append(runtime)
                return other

            asking = Explaining(
                lambda: it.services, build_runtime, lend, lambda: StsCache(tmp_path, keeps=False)
            )
            payload = candidate(it, dns={"servers": ["192.0.2.53"]})
            tree = await asking.answer(
                {"domain": DOMAIN, "live": False, "payload": payload, "same_certificate": True}
            )
            assert tree["delivery"]["hosts"][0]["addresses"][0]["address"] == "203.0.113.9"
            assert made[0].document.dns.servers == ("192.0.2.53",)
            assert other.closed
            assert it.resolver.asked == []

    run(main)
