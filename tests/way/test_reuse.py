"""Connections that carry several messages, when they may, and when they must not (architecture 4, Reuse; R24)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.fakes.gateway_parts import authority, controls, gateway, own_certificate
from tests.fakes.log_book import LogBook
from tests.fakes.peer import CAPABILITIES, CLOSE, FakePeer, Handshake
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import DeliveryOpened
from gatepost.store.limits import LimitTable

FROM, TO = "a@sender.example", "b@partner.example"


def test_a_connection_is_used_again_until_it_is_worn(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            limits = controls("preferred", max_messages_per_connection=2)
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=limits) as it:
                for number in range(1, 6):
                    await it.inject(FROM, TO)
                    await it.log.line(f"Message finished MID {number}")
                    await it.quiet()
                assert [len(c.mails) for c in peer.conversations] == [2, 2, 1]
                it.clock.advance(6)
                await it.log.line("DCID 3 close")
                await peer.until(lambda: peer.conversations[2].over)
                assert [c.verbs[-1] for c in peer.conversations] == ["QUIT"] * 3
                assert it.services.counters.connections_out_now == 0

    run(main)


def test_other_domains_on_the_same_host_share_a_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            routes = {"partner.example": peer.port, "other.example": peer.port}
            async with gateway(tmp_path, routes=routes) as it:
                await it.inject(FROM, TO)
                await it.log.line("Message finished MID 1")
                await it.quiet()
                await it.inject(FROM, "b@other.example")
                await it.log.line("Message done DCID 1 MID 2")
                assert len(peer.conversations) == 1

    run(main)


def test_a_stale_connection_costs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"MAIL": ["250 Ok", CLOSE, "250 Ok"]}) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            for number in (1, 2):
                await it.inject(FROM, TO)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert not it.log.with_("Delayed")
            assert [len(c.mails) for c in peer.conversations] == [1, 1]
            assert it.log.with_("Message done DCID 2 MID 2")

    run(main)


@pytest.mark.parametrize("manner", ["end", "reset"])
def test_an_idle_connection_that_its_peer_ended_gives_its_place_back(tmp_path: Path, manner: str) -> None:
    """A peer may end it without a word; nobody else could have the place while it counts as open."""

    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            await it.inject(FROM, TO)
            await it.log.line("Message finished MID 1")
            await it.quiet()
            (connection,) = peer._connections
            if manner == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.shutdown(socket.SHUT_RD)  # its thread reads the end, and closes
            await it.log.line("DCID 1 close")  # the clock stands still: it is not its age that ends it
            assert it.services.counters.connections_out_now == 0
            assert not it.services.limits._held

    run(main)


def test_a_commit_that_raises_the_level_drops_idle_connections(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            await it.inject(FROM, TO)
            await it.log.line("Message finished MID 1")
            await it.quiet()
            it.commit(destination_controls=controls("required"))
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            assert len(peer.mails) == 1
            assert "remote host does not offer STARTTLS" in it.log.with_("Delayed")[0]

    run(main)


def test_a_commit_that_changes_the_route_drops_idle_connections(tmp_path: Path) -> None:
    """Architecture 4, Reuse: a commit drains the connection, even before it is swept away."""

    async def main() -> None:
        async with (
            FakePeer() as old,
            FakePeer() as new,
            gateway(tmp_path, routes={"partner.example": old.port}) as it,
        ):
            await it.inject(FROM, TO)
            await it.log.line("Message finished MID 1")
            await it.quiet()
            it.commit(smtp_routes=[{"domain": "partner.example", "hosts": [f"[127.0.0.1]:{new.port}"]}])
            await it.inject(FROM, TO)
            await it.log.line("Message finished MID 2")
            assert (len(old.mails), len(new.mails)) == (1, 1)

    run(main)


def test_a_connection_of_one_level_is_not_used_for_another(tmp_path: Path) -> None:
    """The same host, one domain that checks nothing and one that wants the name verified."""

    async def main() -> None:
        async with FakePeer(certificate=authority().issue(["partner.example"])) as peer:
            routes = {"partner.example": peer.port, "strict.example": peer.port}
            levels = controls("preferred", {"domain": "strict.example", "tls": "required-verify"})
            async with gateway(tmp_path, routes=routes, destination_controls=levels) as it:
                await it.inject(FROM, TO)
                await it.log.line("Message finished MID 1")
                await it.quiet()
                mid = await it.inject(FROM, "b@strict.example")
                await it.delayed(mid)
                assert "strict.example, 127.0.0.1 not in DNS:partner.example" in it.log.with_("Delayed")[0]
                assert len(peer.mails) == 1

    run(main)


def test_a_changed_list_of_authorities_is_judged_anew(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(certificate=authority().issue(["partner.example"])) as peer:
            levels = controls("required-verify")
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=levels) as it:
                await it.inject(FROM, TO)
                await it.log.line("Message finished MID 1")
                await it.quiet()
                it.commit()
                await it.inject(FROM, TO)
                await it.log.line("Message finished MID 2")
                assert len(it.log.with_("TLS success", "verified yes: partner.example")) >= 1
                assert [m.tls for m in peer.mails] == ["TLSv1.3", "TLSv1.3"]

    run(main)


# --- R24 ------------------------------------------------------------------------------------------


def test_no_host_is_tried_in_clear_after_a_broken_handshake(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(handshake=Handshake.CLOSES) as broken,
            FakePeer() as clear,
            gateway(tmp_path, routes={"partner.example": (broken.port, clear.port)}) as it,
        ):
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            assert [c.verbs for c in clear.conversations] == [["EHLO"]]
            assert clear.mails == broken.mails == []
            await it.quiet()
            # A later attempt begins anew: TLS is tried again, and the first host decides again.
            broken.handshake = Handshake.GOOD
            broken.certificate = authority().issue(["partner.example"])
            it.to_next_attempt(mid)
            await it.log.line("Message finished")
            assert broken.mails[0].tls == "TLSv1.3"

    run(main)


def test_another_host_may_still_be_used_over_tls(tmp_path: Path) -> None:
    async def main() -> None:
        certificate = authority().issue(["x.example"])
        async with (
            FakePeer(handshake=Handshake.GARBAGE) as broken,
            FakePeer(certificate=certificate) as good,
            gateway(tmp_path, routes={"partner.example": (broken.port, good.port)}) as it,
        ):
            await it.inject(FROM, TO)
            assert (await good.mail()).tls == "TLSv1.3"
            await it.log.line("DCID 1 TLS failed: ")

    run(main)


def test_bytes_behind_the_220_count_as_a_broken_handshake(tmp_path: Path) -> None:
    """C7, C8: whoever injects must not gain clear text by it."""

    async def main() -> None:
        async with (
            FakePeer(handshake=Handshake.INJECTED) as broken,
            FakePeer() as clear,
            gateway(tmp_path, routes={"partner.example": (broken.port, clear.port)}) as it,
        ):
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            await it.log.line("DCID 1 TLS failed: bytes behind STARTTLS")
            assert clear.mails == []

    run(main)


def test_an_idle_connection_in_clear_is_not_borrowed_after_a_broken_handshake(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(handshake=Handshake.CLOSES) as broken, FakePeer() as clear:
            routes = {"partner.example": (broken.port, clear.port), "other.example": clear.port}
            async with gateway(tmp_path, routes=routes) as it:
                await it.inject(FROM, "b@other.example")
                await it.log.line("Message finished MID 1")
                await it.quiet()
                mid = await it.inject(FROM, TO)
                await it.delayed(mid)
                assert len(clear.mails) == 1

    run(main)


def test_preferred_clear_after_lets_a_later_attempt_leave_tls_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(handshake=Handshake.CLOSES) as peer:
            levels = controls("preferred", preferred_clear_after=2)
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=levels) as it:
                mid = await it.inject(FROM, TO)
                for attempt in (1, 2):
                    await it.delayed(mid, attempt)
                    await it.quiet()
                    it.to_next_attempt(mid)
                await it.log.line("Message finished")
                assert peer.mails[0].tls == ""
                assert "STARTTLS" not in peer.conversations[2].verbs

    run(main)


def test_what_one_message_gave_up_another_still_tries(tmp_path: Path) -> None:
    """The broken handshakes of one message leave TLS out for that message alone."""

    async def main() -> None:
        async with FakePeer(handshake=Handshake.CLOSES) as peer:
            levels = controls("preferred", preferred_clear_after=1)
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=levels) as it:
                mid = await it.inject(FROM, TO)
                await it.delayed(mid)
                await it.quiet()
                it.to_next_attempt(mid)
                await it.log.line(f"Message finished MID {mid}")
                await it.quiet()
                other = await it.inject(FROM, TO)
                await it.delayed(other)
                assert [mail.tls for mail in peer.mails] == [""]
                assert "STARTTLS" in peer.conversations[-1].verbs

    run(main)


# --- the client certificate -------------------------------------------------------------------------


def client_certificate(level: str = "preferred") -> dict[str, object]:
    return {"global": {"certificate": "gw"}, "default": {"tls": level}}


def test_our_certificate_is_shown_when_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        peer = FakePeer(certificate=authority().issue(["partner.example"]), ask_certificate=True)
        peer.certificate_authority = authority().root_pem.decode()
        async with (
            peer,
            gateway(
                tmp_path, routes={"partner.example": peer.port}, destination_controls=client_certificate()
            ) as it,
        ):
            await it.inject(FROM, TO)
            await peer.mail()
            own = own_certificate().chain_der[0]
            assert peer.conversations[0].client_certificate == own

    run(main)


def test_a_peer_that_breaks_off_at_our_certificate_is_called_once_more_without(tmp_path: Path) -> None:
    import ssl

    for number, version in enumerate((ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)):

        async def main(version: ssl.TLSVersion = version, number: int = number) -> None:
            certificate = authority().issue(["partner.example"])
            async with (
                FakePeer(
                    certificate=certificate, handshake=Handshake.WANTS_CERTIFICATE, tls_maximum=version
                ) as peer,
                gateway(
                    tmp_path / str(number),
                    routes={"partner.example": peer.port},
                    destination_controls=client_certificate(),
                ) as it,
            ):
                await it.inject(FROM, TO)
                assert (await peer.mail()).tls.startswith("TLSv1")
                assert "trying without it" in (await it.log.line("client certificate"))
                await it.quiet()
                it.clock.advance(10)
                await it.log.line("DCID 2 close")
                # Remembered for a day.
                await it.inject(FROM, TO)
                await peer.mail(2)
                assert len(peer.conversations) == 3

        run(main)


def test_a_host_that_fails_without_our_certificate_too_is_shown_it_again(tmp_path: Path) -> None:
    """A mishap of the network is no dislike: only what helped is remembered."""

    async def main() -> None:
        offers = "250-peer.example\r\n250 STARTTLS"
        peer = FakePeer(
            certificate=authority().issue(["partner.example"]),
            ask_certificate=True,
            replies={"EHLO": [offers, CLOSE, offers, CLOSE, offers, "250 peer.example"]},
        )
        peer.certificate_authority = authority().root_pem.decode()
        routes = {"partner.example": peer.port}
        async with peer, gateway(tmp_path, routes=routes, destination_controls=client_certificate()) as it:
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            await it.quiet()
            assert len(peer.conversations) == 2
            it.to_next_attempt(mid)
            await it.log.line("Message finished")
            assert peer.conversations[2].client_certificate == own_certificate().chain_der[0]

    run(main)


def test_a_host_that_falls_silent_inside_tls_says_nothing_of_our_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        offers = "250-peer.example\r\n250 STARTTLS"
        peer = FakePeer(
            certificate=authority().issue(["partner.example"]),
            ask_certificate=True,
            replies={"EHLO": [offers, (), offers, "250 peer.example"]},
        )
        peer.certificate_authority = authority().root_pem.decode()
        routes = {"partner.example": peer.port}
        async with peer, gateway(tmp_path, routes=routes, destination_controls=client_certificate()) as it:
            mid = await it.inject(FROM, TO)
            await peer.heard("EHLO", 2)
            it.clock.advance(305)
            await it.delayed(mid)
            await it.quiet()
            assert len(peer.conversations) == 1
            assert it.log.with_("trying without it") == []
            it.to_next_attempt(mid)
            await it.log.line("Message finished")
            assert peer.conversations[1].client_certificate == own_certificate().chain_der[0]

    run(main)


# --- limits -----------------------------------------------------------------------------------------


def test_connections_to_a_destination_are_limited_over_workers(tmp_path: Path) -> None:
    async def main() -> None:
        table = LimitTable.create(2)
        try:
            async with FakePeer() as peer:
                peer.hold("BODY")
                choices = {
                    "descriptor": table,
                    "routes": {"partner.example": peer.port},
                    "destination_controls": controls("preferred", max_connections=1),
                }
                async with (
                    gateway(tmp_path, index=0, **choices) as one,
                    gateway(tmp_path, index=1, clock=one.clock, log=LogBook(), **choices) as two,
                ):
                    for it in (one, two):
                        for _ in range(3):
                            await it.inject(FROM, TO)
                    await peer.heard("BODY")
                    peer.go("BODY")
                    for it in (one, two):
                        for number in range(3):
                            first = 1 + it.services.limits._worker * 100_000
                            await it.log.line(f"Message finished MID {first + number}")
                        await it.quiet()
                        it.clock.advance(10)
                    assert peer.most_open == 1
                    assert len(peer.mails) == 6
        finally:
            os.close(table)

    run(main)


def test_the_delivery_interface_is_the_source(tmp_path: Path) -> None:
    """R28: `delivery.interface` fixes the address we call from and the name we greet with."""

    async def main() -> None:
        interfaces = [
            {"name": "Data 1", "address": "127.0.0.1", "hostname": "mx.example.net"},
            {"name": "Data 2", "address": "127.0.0.9", "hostname": "out.example.net"},
        ]
        async with (
            FakePeer(capabilities=CAPABILITIES) as peer,
            gateway(
                tmp_path,
                routes={"partner.example": peer.port},
                interfaces=interfaces,
                delivery={"interface": "Data 2"},
            ) as it,
        ):
            await it.inject(FROM, TO)
            await peer.mail()
            assert it.log.of(DeliveryOpened)[0].local_address == "127.0.0.9"
            assert peer.commands[0] == "EHLO out.example.net"

    run(main)


def test_only_broken_handshakes_count_towards_clear_text(tmp_path: Path) -> None:
    """Attempts that failed for another reason do not bring `preferred_clear_after` nearer, also over a restart."""

    async def main() -> None:
        levels = controls("preferred", preferred_clear_after=2)
        async with FakePeer(
            replies={"GREETING": ["421 Busy"] * 3 + ["220 Ok"]}, handshake=Handshake.CLOSES
        ) as peer:
            choices = {"routes": {"partner.example": (peer.port, 1)}, "destination_controls": levels}
            async with gateway(tmp_path, **choices) as it:
                mid = await it.inject(FROM, TO)
                for attempt in range(1, 5):
                    await it.delayed(mid, attempt)
                    await it.quiet()
                    it.to_next_attempt(mid)
                clock = it.clock
            async with gateway(tmp_path, clock=clock, **choices) as it:
                await it.delayed(mid)
                await it.quiet()
                assert it.stored(mid).progress[0].broken == 2
                assert "['TLS preferred: (-1, " in it.log.with_("Delayed")[0]
                assert peer.mails == []
                it.to_next_attempt(mid)
                await it.log.line("Message finished")
                assert peer.mails[0].tls == ""

    run(main)


def test_a_refused_certificate_is_no_broken_handshake(tmp_path: Path) -> None:
    async def main() -> None:
        certificate = authority().issue(["elsewhere.example"])
        async with FakePeer(certificate=certificate) as peer:
            routes = {"partner.example": peer.port}
            async with gateway(
                tmp_path, routes=routes, destination_controls=controls("required-verify")
            ) as it:
                mid = await it.inject(FROM, TO)
                await it.delayed(mid)
                await it.quiet()
                assert "Cryptographic failure" in it.log.with_("Delayed")[0]
                it.commit(destination_controls=controls("preferred", preferred_clear_after=1))
                it.to_next_attempt(mid)
                await it.log.line("Message finished")
                assert peer.mails[0].tls.startswith("TLSv1")

    run(main)
