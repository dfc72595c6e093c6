"""Revocation lists on the way out: a revoked host gets no verified mail, a stale list warns or refuses (C40)."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run

FROM, TO = "a@sender.example", "b@partner.example"
VERIFIED = "verified yes: partner.example"
STALE = "the issuer's revocation list is out of date"


async def sent(it: Gateway, mid: int) -> None:
    await it.log.line(f"Message finished MID {mid}")
    await it.quiet()


def test_a_revoked_host_is_refused_and_the_log_says_why(tmp_path: Path) -> None:
    issued, other = authority().issue(["partner.example"]), authority().issue(["partner.example"])

    async def main() -> None:
        async with (
            FakePeer(certificate=issued) as peer,
            gateway(
                tmp_path,
                routes={"partner.example": peer.port},
                destination_controls=controls("required-verify"),
            ) as it,
        ):
            await it.inject(FROM, TO)
            await sent(it, 1)
            it.crls = (authority().revocation_list(other.leaf),)
            it.commit()
            await it.inject(FROM, TO)
            await sent(it, 2)
            it.crls = (authority().revocation_list(issued.leaf),)
            it.commit()
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            # Every new set of lists ends the connections that were verified without it.
            assert [len(conversation.mails) for conversation in peer.conversations] == [1, 1, 0]
            assert len(it.log.with_(VERIFIED)) == 2
            (failed,) = it.log.with_("DCID 3 TLS failed:")
            assert "verify error: certificate is revoked (CN=partner.example, issuer CN=Example CA)" in failed

    run(main)


def test_with_preferred_verify_mail_goes_on_and_the_line_says_that_it_is_revoked(tmp_path: Path) -> None:
    issued = authority().issue(["partner.example"])

    async def main() -> None:
        async with (
            FakePeer(certificate=issued) as peer,
            gateway(
                tmp_path,
                routes={"partner.example": peer.port},
                destination_controls=controls("preferred-verify"),
            ) as it,
        ):
            it.crls = (authority().revocation_list(issued.leaf),)
            it.commit()
            await it.inject(FROM, TO)
            await sent(it, 1)
            assert it.log.with_("verified no: certificate is revoked")

    run(main)


@pytest.mark.parametrize("rule", ["warn", "refuse"])
def test_a_list_that_is_out_of_date(tmp_path: Path, rule: str) -> None:
    issued = authority().issue(["partner.example"])
    old = authority().revocation_list(end=authority().at - datetime.timedelta(days=1))

    async def main() -> None:
        async with (
            FakePeer(certificate=issued) as peer,
            gateway(
                tmp_path,
                routes={"partner.example": peer.port},
                destination_controls=controls("required-verify"),
                certificate_authorities={"custom": True, "crl_stale": rule},
            ) as it,
        ):
            it.crls = (old,)
            it.commit()
            mid = await it.inject(FROM, TO)
            if rule == "warn":
                await sent(it, mid)
                assert it.log.with_(f"{VERIFIED} ({STALE})")
            else:
                await it.delayed(mid)
                assert it.log.with_(f"verify error: {STALE}")
                assert not peer.mails

    run(main)
