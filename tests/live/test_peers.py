"""The peers themselves work: what a live test says about the gateway then is about the gateway."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.clients import RawClient, s_client, swaks
from tests.live.peers.exim import Exim
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls

Receivers = Callable[..., ScriptedReceiver]


def test_postfix_receives_from_swaks_over_tls(
    postfix: Callable[..., Postfix], authority: TestAuthority
) -> None:
    server = postfix(certificate=authority.issue(["postfix.example"]))
    sent = swaks(server.port, "--tls", body="over TLS")
    assert sent.accepted, sent.transcript
    (mail,) = server.wait_for_mail()
    assert b"over TLS" in mail.content
    assert "using TLSv1.3" in mail.received[0]


def test_postfix_sends_to_a_receiver_that_sees_tls(
    postfix: Callable[..., Postfix], receiver: Receivers, authority: TestAuthority
) -> None:
    target = receiver(Script(certificate=authority.issue(["receiver.example"])))
    relay = postfix(relay_to=f"127.0.0.1:{target.port}")
    assert swaks(relay.port, to="someone@far.example").accepted
    (mail,) = target.wait_for_mail()
    assert mail.recipients == ("someone@far.example",)
    assert mail.tls is not None
    assert mail.tls.protocol == "TLSv1.3"
    relay.log.wait_for("status=sent")


def test_exim_receives_from_swaks_over_tls(exim: Callable[..., Exim], authority: TestAuthority) -> None:
    server = exim(certificate=authority.issue(["exim.example"]))
    assert swaks(server.port, "--tls", body="for exim").accepted
    (mail,) = server.wait_for_mail()
    assert b"for exim" in mail.content
    server.log.wait_for(r"<= sender@client\.example .*X=TLS1\.3")


def test_exim_sends_to_a_receiver_that_sees_tls(
    exim: Callable[..., Exim], receiver: Receivers, authority: TestAuthority
) -> None:
    target = receiver(Script(certificate=authority.issue(["receiver.example"])))
    relay = exim(relay_to=f"127.0.0.1:{target.port}")
    assert swaks(relay.port, to=["a@far.example", "b@far.example"]).accepted
    (mail,) = target.wait_for_mail()
    assert set(mail.recipients) == {"a@far.example", "b@far.example"}
    assert mail.tls is not None


def test_openssl_sees_the_receiver_s_certificate(receiver: Receivers, authority: TestAuthority) -> None:
    target = receiver(Script(certificate=authority.issue(["seen.example"])))
    seen = s_client(target.port, "EHLO client.example\r\nQUIT\r\n", "-servername", "asked.example")
    assert "CN = seen.example" in seen.transcript
    assert "Verify return code: 21" in seen.transcript  # nobody told it of the authority
    target.wait_for_command("QUIT")


@pytest.mark.parametrize(
    ("starttls", "answer"), [(StartTls.TEMPORARY, 454), (StartTls.REFUSED, 554), (StartTls.NOT_OFFERED, 502)]
)
def test_receiver_refuses_starttls_as_told(receiver: Receivers, starttls: StartTls, answer: int) -> None:
    target = receiver(Script(starttls=starttls))
    with smtplib.SMTP("127.0.0.1", target.port, timeout=10) as client:
        client.ehlo()
        assert client.has_extn("starttls") == (starttls is not StartTls.NOT_OFFERED)
        assert client.docmd("STARTTLS")[0] == answer


@pytest.mark.parametrize("starttls", [StartTls.GARBAGE, StartTls.CLOSES])
def test_receiver_breaks_the_handshake_as_told(receiver: Receivers, starttls: StartTls) -> None:
    target = receiver(Script(starttls=starttls))
    with RawClient(target.port) as client:
        client.reply()
        client.command("EHLO raw.example")
        assert client.command("STARTTLS")[0].startswith("220")
        with pytest.raises(OSError, match=r"(?i)ssl|reset|eof"):
            client.start_tls()


def test_receiver_refuses_ehlo_and_takes_helo(receiver: Receivers) -> None:
    target = receiver(Script(starttls=StartTls.NOT_OFFERED, takes_ehlo=False))
    with smtplib.SMTP("127.0.0.1", target.port, timeout=10) as client:
        client.sendmail("a@client.example", ["b@dest.example"], b"Subject: x\r\n\r\n.dotted\r\n")
    (mail,) = target.wait_for_mail()
    assert mail.content.endswith(b"\r\n\r\n.dotted\r\n")
    assert any(command.upper().startswith("HELO") for _, command in target.commands)


def test_receiver_answers_recipients_as_scripted(receiver: Receivers) -> None:
    target = receiver(
        Script(starttls=StartTls.NOT_OFFERED, replies={"RCPT <bad@dest.example>": "550 5.1.1 unknown"})
    )
    with smtplib.SMTP("127.0.0.1", target.port, timeout=10) as client:
        refused = client.sendmail("a@client.example", ["bad@dest.example", "good@dest.example"], b"x\r\n")
    assert list(refused) == ["bad@dest.example"]
    (mail,) = target.wait_for_mail()
    assert mail.recipients == ("good@dest.example",)


def test_raw_client_reads_replies_and_starts_tls(receiver: Receivers, authority: TestAuthority) -> None:
    target = receiver(Script(certificate=authority.issue(["receiver.example"]), ask_client_certificate=True))
    with RawClient(target.port) as client:
        assert client.reply()[0].startswith("220")
        assert "250 STARTTLS" in client.command("EHLO raw.example")
        assert client.command("STARTTLS")[0].startswith("220")
        client.start_tls(name="asked.example")
        client.command("EHLO raw.example")
        client.command("MAIL FROM:<a@client.example> SIZE=10")
        client.command("RCPT TO:<b@dest.example>")
        client.command("DATA")
        client.command("Subject: raw\r\n\r\nraw\r\n.")
        client.command("QUIT")
    (mail,) = target.wait_for_mail()
    assert mail.parameters == ("SIZE=10",)
    assert mail.tls is not None
    assert mail.tls.sni == "asked.example"


def test_receiver_injects_bytes_behind_starttls(receiver: Receivers, authority: TestAuthority) -> None:
    target = receiver(
        Script(certificate=authority.issue(["receiver.example"]), behind_starttls=b"250 injected\r\n")
    )
    with RawClient(target.port) as client:
        client.reply()
        client.command("EHLO raw.example")
        assert client.command("STARTTLS")[0].startswith("220")
        assert client.line() == "250 injected"
