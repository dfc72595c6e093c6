"""Users, and what their clients say to authenticate."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.fakes.gateway_parts import Gateway, policy
from tests.fakes.scram_client import ScramClient
from tests.fakes.smtp_client import Client

from gatepost.core.auth_events import SmtpAuthFailed
from gatepost.wire.scram import ScramVerifier

PASSPHRASE = "orchid lantern rivers"
MARY = ScramVerifier.derive(PASSPHRASE, b"salt of mary 123", 4096).text()
ODD = ScramVerifier.derive(PASSPHRASE, b"salt of odd 1234", 4096).text()
USERS = {"mary": MARY, "od,d=x": ODD}
AWAY = "RCPT TO:<bob@elsewhere.example>"
MAIL = "MAIL FROM:<mary@example.net>"
GOOD = "235 2.7.0 Authentication successful"
BAD = "535 5.7.8 Authentication credentials invalid"
LATER = "454 4.7.0 Temporary authentication failure, please try again later"
CHANGED = "421 4.3.2 The configuration changed, please connect again"


def offering(level: str = "preferred", **keys: Any) -> dict[str, Any]:
    return {"mail_flow_policies": [policy(smtp_auth=level, **keys)], "users": USERS}


def plain(user: str = "mary", passphrase: str = PASSPHRASE, authzid: str = "") -> str:
    return "AUTH PLAIN " + b64encode("\0".join((authzid, user, passphrase)).encode()).decode()


async def encrypted(it: Gateway, source: str = "127.0.0.1") -> Client:
    client = await it.connect(source=source)
    assert "AUTH" not in await client.hello()
    await client.starttls()
    assert "\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\n" in await client.say("EHLO client.example")
    return client


async def fails(it: Gateway, client: Client, line: str, failures: int = 1) -> str:
    """A failed attempt; time is moved over the delay of its answer."""
    client.send(line + "\r\n")
    await it.log.until(lambda: len(it.log.of(SmtpAuthFailed)) >= failures)
    it.clock.advance(10)
    return await client.reply()


async def by_plain(client: Client, user: str) -> str:
    return await client.say(plain(user))


async def by_plain_when_asked(client: Client, user: str) -> str:
    assert await client.say("AUTH PLAIN") == "334 "
    return await client.say(plain(user).rpartition(" ")[2])


async def by_login(client: Client, user: str) -> str:
    assert await client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
    assert await client.say(b64encode(user.encode()).decode()) == "334 UGFzc3dvcmQ6"
    return await client.say(b64encode(PASSPHRASE.encode()).decode())


async def by_scram(client: Client, user: str) -> str:
    scram = ScramClient(user, PASSPHRASE)
    challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
    assert challenge.startswith("334 ")
    signature = await client.say(scram.final(challenge[4:]))
    assert signature.startswith("334 "), signature
    scram.verify(signature[4:])
    return await client.say("")
