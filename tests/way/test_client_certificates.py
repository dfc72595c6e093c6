"""Clients with certificates on the way in: asked or not, taken or refused, told why, and judged anew after a commit (R22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import SERVER_AUTH, Issued, self_signed
from tests.fakes.gateway_parts import Gateway, authority, gateway, listener, policy
from tests.fakes.peer import FakePeer
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run

from gatepost.core.events import InboundTlsEstablished

NAME = "mx.partner.example"
MAIL = "MAIL FROM:<a@sender.example>"
SUCCESS = "ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"
SELF = f"self-signed certificate (CN={NAME}, issuer CN={NAME})"
CHANGED = "421 4.3.2 The configuration changed, please connect again"


def asking(level: str = "preferred", **keys: Any) -> dict[str, Any]:
    """Policies of which the listener's asks for a certificate."""
    return {"mail_flow_policies": [policy(tls=level, verify_client_certificate=True, **keys)]}


def good(**choices: Any) -> Issued:
    return authority().issue([NAME], **choices)


async def encrypted(it: Gateway, certificate: Issued | None, source: str = "127.0.0.1") -> Client:
    """A client that has done STARTTLS and EHLO."""
    client = await it.connect(source=source)
    await client.hello()
    await client.starttls(certificate=certificate)
    assert (await client.say("EHLO client.example")).startswith("250"), "the reason is told at MAIL"
    return client


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_a_valid_certificate_is_taken_and_told_of(tmp_path: Path, level: str) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"example.net": peer.port}, **asking(level)) as it,
        ):
            client = await encrypted(it, good())
            await client.envelope()
            assert (await client.data()).startswith("250 ")
            await client.quit()
            assert await it.log.line("TLS success") == f"{SUCCESS} verified yes: {NAME}"
            body = (await peer.mail()).body
            assert f"\r\n\t(verified {NAME})\r\n".encode() in body
            await it.quiet()

    run(main)


@pytest.mark.parametrize("level", ["preferred", "required"])
@pytest.mark.parametrize(
    ("certificate", "reason", "public"),
    [
        (self_signed([NAME]), SELF, "self-signed certificate"),
        (
            good(expired=True),
            f"certificate has expired (CN={NAME}, issuer CN=Example CA)",
            "certificate has expired",
        ),
        (
            good(usages=(SERVER_AUTH,)),
            f"extended key usage does not include client authentication (CN={NAME}, issuer CN=Example CA)",
            "extended key usage does not include client authentication",
        ),
    ],
)
def test_an_invalid_one_is_refused_with_the_reason_and_no_broken_handshake(
    tmp_path: Path, level: str, certificate: Issued, reason: str, public: str
) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **asking(level)) as it:
            client = await encrypted(it, certificate)
            for _ in range(2):
                assert await client.say(MAIL) == f"554 5.7.5 Client certificate not accepted: {public}"
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("503 ")
            await client.quit()
            await it.log.line("ICID 1 close")
            refused = f"ICID 1 Receiving Failed: client certificate not verified: {reason}"
            assert it.log.about("ICID 1")[2:] == [
                f"{SUCCESS} verified no: {reason}",
                refused,
                refused,
                "ICID 1 close",
            ]
            (event,) = it.log.of(InboundTlsEstablished)
            assert event.client is not None
            assert (event.client["verified"], event.client["subject"]) == (False, f"CN={NAME}")
            assert len(event.client["key"]) == 64

    run(main)


def test_no_certificate_is_fine_with_preferred(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **asking()) as it:
            client = await encrypted(it, None)
            await client.envelope()
            await client.quit()
            assert await it.log.line("TLS success") == f"{SUCCESS} verified no: no certificate was sent"
            clear = await it.connect()
            await clear.hello()
            await clear.envelope()
            await clear.quit()

    run(main)


def test_no_certificate_is_refused_with_required(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **asking("required")) as it:
            client = await encrypted(it, None)
            assert await client.say(MAIL) == "554 5.7.0 A client certificate is required"
            await client.quit()
            assert await it.log.line("Receiving Failed") == (
                "ICID 1 Receiving Failed: client certificate not verified: no certificate was sent"
            )

    run(main)


def test_who_is_not_asked_shows_nothing_and_the_log_is_as_ever(tmp_path: Path) -> None:
    """Neither under a policy that does not ask on a listener that has one that does, nor on any other listener."""
    rows = [
        {"group": "PARTNERS", "senders": ["127.0.0.9"], "policy": "ASKING"},
        {"group": "ALL", "policy": "ACCEPTED"},
    ]
    sections = {
        "listeners": [listener(host_access=rows)],
        "mail_flow_policies": [policy(), policy("ASKING", verify_client_certificate=True)],
    }

    async def main() -> None:
        async with gateway(tmp_path, **sections) as it:
            client = await encrypted(it, self_signed([NAME]))
            await client.envelope()
            (session,) = it.sessions
            assert session.stream.tls is not None
            assert session.stream.tls.peer_chain == ()
            assert session.client is None
            assert await it.log.line("TLS success") == SUCCESS
            (event,) = it.log.of(InboundTlsEstablished)
            assert (event.verification, event.client) == ("", None)
            await client.quit()
            partner = await encrypted(it, self_signed([NAME]), source="127.0.0.9")
            assert (await partner.say(MAIL)).startswith("554 5.7.5 ")
            await partner.quit()

    run(main)


def test_implicit_tls_asks_too(tmp_path: Path) -> None:
    from gatepost.net.tls import ClientContext, Identity

    async def main() -> None:
        sections = asking("off") | {"listeners": [listener(tls="implicit")]}
        async with gateway(tmp_path, **sections) as it:
            for certificate, answer in ((good(), "250 "), (self_signed([NAME]), "554 5.7.5 ")):
                client = await it.connect()
                identity = Identity(certificate.chain_pem, certificate.key_pem)
                await client.stream.start_tls(ClientContext.build(identities=[identity]))
                await client.hello()
                assert (await client.say(MAIL)).startswith(answer)
                await client.quit()

    run(main)


def test_the_group_is_recorded(tmp_path: Path) -> None:
    """Also the post-quantum one, for which the listener's own list may be set."""

    async def main() -> None:
        settings = {"inbound": {"groups": "X25519MLKEM768:secp256r1"}}
        async with gateway(tmp_path, tls_settings=settings) as it:
            for groups in ("X25519MLKEM768", "X25519:secp256r1"):
                client = await it.connect()
                await client.hello()
                await client.starttls(groups=groups)
                await client.say("EHLO client.example")
                await client.quit()
            await it.log.line("ICID 2 close")
            assert [event.group for event in it.log.of(InboundTlsEstablished)] == [
                "X25519MLKEM768",
                "secp256r1",
            ]

    run(main)


# --- a commit during a session ----------------------------------------------------------------------


def test_a_session_is_judged_anew_after_a_commit(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **asking("required")) as it:
            client = await encrypted(it, good())
            await client.envelope()
            await client.say("RSET")
            it.commit(**asking("required", client_identities=[{"name": "mx.other.example"}]))
            assert await client.say(MAIL) == (
                "554 5.7.5 Client certificate not accepted: it is not of an accepted client"
            )
            it.commit(**asking("required", client_identities=[{"name": NAME, "authority": "Example CA"}]))
            assert (await client.say(MAIL)).startswith("250 ")
            await client.quit()

    run(main)


def test_a_refused_client_is_let_in_by_a_commit_without_connecting_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **asking()) as it:
            certificate = self_signed([NAME])
            client = await encrypted(it, certificate)
            assert (await client.say(MAIL)).startswith("554 5.7.5 ")
            (event,) = it.log.of(InboundTlsEstablished)
            assert event.client is not None
            it.commit(**asking(client_identities=[{"spki": event.client["key"]}]))
            await client.envelope()
            await client.quit()

    run(main)


def test_who_was_not_asked_before_must_connect_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await encrypted(it, good())
            await client.envelope()
            await client.say("RSET")
            it.commit(**asking())
            assert await client.say(MAIL) == CHANGED

    run(main)


def test_a_revocation_counts_at_the_next_mail(tmp_path: Path) -> None:
    certificate = good()

    async def main() -> None:
        async with gateway(tmp_path, **asking()) as it:
            client = await encrypted(it, certificate)
            await client.envelope()
            await client.say("RSET")
            it.crls = (authority().revocation_list(certificate.leaf),)
            it.commit()
            assert "revoked" in await client.say(MAIL)
            await client.quit()

    run(main)
