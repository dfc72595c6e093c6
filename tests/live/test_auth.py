"""SMTP AUTH before a running gateway: swaks, Python's smtplib, Postfix with Cyrus SASL, and a SCRAM client of our own (C5, C12, C29, C30).

Users are made with `gatepost user`. Each test that fails on purpose has an address of its own, since failures are counted by address.
"""

from __future__ import annotations

import re
import smtplib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.fakes.scram_client import ScramClient
from tests.live.peers.clients import CLIENT_TIMEOUT, RawClient, s_client, swaks, trusting_context
from tests.live.peers.gateway import Document, document
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.submit import Refused, hand_over

PASSPHRASE = "orchid-lantern-seventeen-rivers"
AWAY = "bob@elsewhere.example"
BAD = "535 5.7.8 Authentication credentials invalid"
LATER = "454 4.7.0 Temporary authentication failure, please try again later"
USERS = ("mary", "jane@example.net", "tom", "liz", "kim")
MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-256")
LISTENERS = ("offered", "required", "implicit", "plain")


class Site:
    """A gateway with two workers, and a listener for each way to offer AUTH. Its recipient table takes example.net alone."""

    def __init__(self, scene: Scene) -> None:
        self.sink: ScriptedReceiver = scene.receiver()
        self.gateway = scene.gateway()
        self.ports = {name: scene.ports.free() for name in LISTENERS}
        self.gateway.configure(self._document())
        file = self.gateway.files / "passphrase"
        file.write_text(PASSPHRASE + "\n")
        for user in USERS:
            self.gateway.command("user", "add", user, "--passphrase-file", file)
        self.gateway.start(workers=2)

    def _document(self) -> Document:
        made = document(1, 2, hop=f"[127.0.0.1]:{self.sink.port}")
        levels = {"offered": "preferred", "required": "required", "implicit": "required", "plain": "off"}
        pattern = made["listeners"][0]
        made["listeners"] = [
            {
                **pattern,
                "name": name,
                "port": self.ports[name],
                "tls": "implicit" if name == "implicit" else "starttls",
                "policies": {"ACCEPTED": {"smtp_auth": level}},
                "recipient_access": [{"recipient": "example.net", "action": "accept"}],
            }
            for name, level in levels.items()
        ]
        made["smtp_auth"] = {"max_failures_per_address": 4, "max_failures_per_user": 4}
        return made

    @contextmanager
    def session(self, listener: str = "offered", source: str = "127.0.0.1") -> Iterator[smtplib.SMTP]:
        """smtplib inside TLS."""
        port, origin = self.ports[listener], (source, 0)
        with smtplib.SMTP("127.0.0.1", port, "client.example", CLIENT_TIMEOUT, origin) as client:
            client.starttls(context=trusting_context())
            client.ehlo()
            yield client

    def icid(self, source: str) -> str:
        """The connection from an address that nobody else uses."""
        return self.gateway.wait_for_log(rf"New SMTP ICID (\d+) .* address {re.escape(source)} ")[1]


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


def plain(user: str, passphrase: str = PASSPHRASE) -> str:
    return "AUTH PLAIN " + b64encode(f"\0{user}\0{passphrase}".encode()).decode()


def said(client: smtplib.SMTP, command: str) -> str:
    code, text = client.docmd(command)
    return f"{code} {text.decode()}"


def by_scram(client: smtplib.SMTP, user: str, passphrase: str = PASSPHRASE) -> str:
    scram = ScramClient(user, passphrase)
    code, challenge = client.docmd("AUTH SCRAM-SHA-256", scram.first())
    if code != 334:
        return f"{code} {challenge.decode()}"
    code, challenge = client.docmd(scram.final(challenge.decode()))
    if code == 334:
        scram.verify(challenge.decode())
        code, challenge = client.docmd("")
    return f"{code} {challenge.decode()}"


# --- who is known ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS[:2])
@pytest.mark.parametrize("listener", ["offered", "required", "implicit"])
def test_swaks_relays_for_a_user(site: Site, listener: str, mechanism: str) -> None:
    source = f"127.0.1.{LISTENERS.index(listener) * 10 + MECHANISMS.index(mechanism) + 1}"
    tls = "--tls-on-connect" if listener == "implicit" else "--tls"
    sent = swaks(
        site.ports[listener], tls, "--local-interface", source, "--auth", mechanism,
        "--auth-user", "jane@example.net", "--auth-password", PASSPHRASE, to=AWAY,
    )  # fmt: skip
    assert sent.accepted, sent.transcript
    site.gateway.wait_for_log(
        rf"Info: SMTP Auth: \(ICID {site.icid(source)}\) succeeded for user: jane@example.net"
        rf" using AUTH mechanism: {mechanism} with profile: local$"
    )


def test_smtplib_relays_and_the_header_names_no_user(site: Site) -> None:
    with site.session("required") as client:
        client.login("mary", PASSPHRASE)
        hand_over(client, "mary@example.net", AWAY, b"Subject: who sent this\r\n\r\nHello\r\n")
    site.sink.wait_until(
        lambda sink: any(b"who sent this" in mail.content for mail in sink.mails), "the mail"
    )
    (mail,) = [mail for mail in site.sink.mails if b"who sent this" in mail.content]
    assert b" with ESMTPSA id " in mail.content
    assert b"mary" not in mail.content


def test_an_independent_client_speaks_scram(site: Site) -> None:
    with site.session("required") as client:
        assert by_scram(client, "jane@example.net") == "235 2.7.0 Authentication successful"
        hand_over(client, "jane@example.net", AWAY)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_postfix_hands_on_its_mail_with_a_user_s_name(site: Site, scene: Scene, mechanism: str) -> None:
    options = {
        "smtp_tls_security_level": "encrypt",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"static:tom:{PASSPHRASE}",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_sasl_mechanism_filter": mechanism.lower(),
        "smtp_bind_address": f"127.0.2.{MECHANISMS.index(mechanism) + 1}",
    }
    postfix: Postfix = scene.postfix(relay_to=f"127.0.0.1:{site.ports['required']}", options=options)
    assert swaks(postfix.port, to=AWAY).accepted
    postfix.log.wait_for(r"status=sent \(250 2\.0\.0 Ok: queued as \d+\)")
    icid = site.icid(options["smtp_bind_address"])
    site.gateway.wait_for_log(
        rf"SMTP Auth: \(ICID {icid}\) succeeded for user: tom using AUTH mechanism: {mechanism} "
    )


# --- who is not -----------------------------------------------------------------------------------


def test_in_clear_it_is_neither_offered_nor_taken(site: Site) -> None:
    for listener in ("offered", "required", "plain"):
        with RawClient(site.ports[listener]) as client:
            client.reply()
            assert "AUTH" not in " ".join(client.command("EHLO client.example"))
            wanted = "502 5.5.1" if listener == "plain" else "530 5.7.0 Must issue a STARTTLS command first"
            assert client.command(plain("mary"))[0].startswith(wanted)
            assert client.command("MAIL FROM:<mary@example.net>")[0].startswith(
                "530 5.7.0 Authentication required" if listener == "required" else "250 "
            )
    capabilities = s_client(site.ports["offered"], "EHLO client.example\r\nQUIT\r\n").transcript
    assert "250-AUTH PLAIN LOGIN SCRAM-SHA-256" in capabilities


def test_auth_sent_behind_starttls_in_clear_counts_for_nothing(site: Site) -> None:
    with RawClient(site.ports["offered"], source="127.0.3.1") as client:
        client.reply()
        client.command("EHLO client.example")
        client.send(f"STARTTLS\r\n{plain('mary')}\r\n".encode())
        assert client.reply()[0].startswith("554 5.5.1")
    assert not site.gateway.log.matching(rf"SMTP Auth: \(ICID {site.icid('127.0.3.1')}\)")


RELAYS = (
    "bob@elsewhere.example", "BOB@ELSEWHERE.EXAMPLE", "bob@elsewhere.example.", "bob%elsewhere.example@mx.example.net",
    "bob%elsewhere.example@[127.0.0.1]", '"bob@elsewhere.example"@mx.example.net', '"bob%elsewhere.example"@[127.0.0.1]',
    "@mx.example.net:bob@elsewhere.example", "elsewhere.example!bob@mx.example.net", "bob@elsewhere.example@mx.example.net",
    "bob@[192.0.2.1]", "bob@[IPv6:::1]", "bob@example.net.elsewhere.example", "bob@example.net%elsewhere.example",
    "bob@xn--elsewhere.example", "bob@elsewhere\u3002example",
)  # fmt: skip


@pytest.mark.parametrize("sender", ["mary@example.net", "", "postmaster@mx.example.net"])
def test_a_failure_opens_no_relay(site: Site, sender: str) -> None:
    source = f"127.0.4.{len(sender) + 1}"
    with site.session("offered", source) as client:
        assert said(client, plain("nobody", "wrong")) == BAD
        assert client.mail(sender)[0] == 250
        for recipient in RELAYS:
            client.send(f"RCPT TO:<{recipient}>\r\n".encode())
            code, text = client.getreply()
            assert 500 <= code < 600, f"{recipient}: {code} {text!r}"
    site.gateway.wait_for_log(
        rf"Info: SMTP Auth: \(ICID {site.icid(source)}\) failed for user: nobody using AUTH mechanism: PLAIN with profile: local$"
    )


def test_no_pass_phrase_is_written_anywhere(site: Site) -> None:
    secret = "unlikely-kestrel-words"
    with site.session("offered", "127.0.5.1") as client:
        assert said(client, plain("nobody-else", secret)) == BAD
        assert by_scram(client, "nobody-else", secret) == BAD
    site.gateway.wait_for_log(rf"ICID {site.icid('127.0.5.1')} close")
    logs = b"".join(file.read_bytes() for file in (site.gateway.home / "logs").iterdir() if file.is_file())
    for text in (
        secret.encode(),
        b64encode(f"\0nobody-else\0{secret}".encode()),
        PASSPHRASE.encode(),
        b"SCRAM-SHA-256$",
    ):
        assert text not in logs
    shown = site.gateway.command("config", "show") + site.gateway.command("config", "diff", "1")
    assert "SCRAM-SHA-256$" not in shown + site.gateway.command("user", "list", "--json")


def test_the_third_failure_of_a_session_ends_it(site: Site) -> None:
    with site.session("offered", "127.0.6.1") as client:
        answers = [said(client, plain(f"nobody{number}", "wrong")) for number in range(3)]
        assert answers == [BAD, BAD, "421 4.7.0 Too many failed attempts, closing connection"]
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


def test_an_address_is_locked_by_both_workers(site: Site) -> None:
    """Every attempt is a connection of its own, whichever worker takes it."""
    source, answers = "127.0.7.1", []
    for number in range(5):
        with site.session("offered", source) as client:
            answers.append(said(client, plain(f"guess{number}", "wrong")))
    assert answers == [BAD] * 4 + [LATER]
    with site.session("offered", source) as client:
        assert said(client, plain("mary")) == LATER
        assert by_scram(client, "mary") == LATER
    locked = (
        rf"Warning: SMTP Auth: \(ICID \d+\) locked address: {source} after 4 failed attempts within an hour"
    )
    site.gateway.wait_for_log(locked)
    assert len(site.gateway.log.matching(locked)) == 1
    with site.session("offered", "127.0.7.2") as client:
        assert said(client, plain("mary")).startswith("235 "), "others are let in"
    counted = re.findall(r'gatepost_auth_failed_total\{worker="\d"\} (\d+)', site.gateway.command("metrics"))
    assert sum(map(int, counted)) >= 7


def test_a_user_is_locked_whoever_tries(site: Site) -> None:
    for number in range(4):
        with site.session("offered", f"127.0.8.{number + 1}") as client:
            assert said(client, plain("liz", "wrong")) == BAD
    with site.session("offered", "127.0.8.9") as client:
        assert said(client, plain("liz")) == LATER
        assert said(client, plain("mary")).startswith("235 ")


# --- commits --------------------------------------------------------------------------------------


def test_a_user_who_is_disabled_sends_no_more(site: Site) -> None:
    with site.session("required", "127.0.9.1") as client:
        assert said(client, plain("kim")).startswith("235 ")
        hand_over(client, "kim@example.net", AWAY)
        site.gateway.command("user", "disable", "kim")
        with pytest.raises(Refused, match=r"421 4\.3\.2 The configuration changed"):
            hand_over(client, "kim@example.net", AWAY)
    with site.session("required", "127.0.9.1") as client:
        assert said(client, plain("kim")) == BAD
    event = _failed(site, "kim")
    assert event["reason"] == "unknown user"
    site.gateway.command("user", "enable", "kim")
    with site.session("required", "127.0.9.1") as client:
        assert said(client, plain("kim")).startswith("235 ")


def _failed(site: Site, user: str) -> dict[str, Any]:
    """The JSON event of the first failure of a user."""
    site.gateway.wait_for_log(rf"SMTP Auth: \(ICID \d+\) failed for user: {user} ")
    return site.gateway.event("SmtpAuthFailed", f'"user":"{user}"')
