"""STARTTLS against a hostile client: injection, state, strange handshakes, ALPN, resumption (C1 to C6, C27, C33, C34, C39, C44)."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
from OpenSSL import SSL
from tests.live.hostile.house import Hostile, House, token
from tests.live.peers.clients import trusting_context

INJECTION = "554 5.5.1 Octets behind STARTTLS, closing connection"


def client_hello(name: str = "mx.example.net") -> bytes:
    outgoing = ssl.MemoryBIO()
    session = trusting_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def raw_tls(
    client: Hostile,
    *,
    ciphers: bytes = b"DEFAULT",
    options: int = 0,
    name: bytes = b"",
    alpn: list[bytes] | None = None,
) -> SSL.Connection:
    """A handshake with the library itself, which lets a client do what no honest one does."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(ciphers)
    context.set_options(options)
    if alpn:
        context.set_alpn_protos(alpn)
    client.socket.settimeout(None)
    connection = SSL.Connection(context, client.socket)
    connection.set_connect_state()
    if name:
        connection.set_tlsext_host_name(name)
    connection.do_handshake()
    return connection


@pytest.mark.parametrize(
    "tail",
    [
        b"NOOP\r\n",
        b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n",
        b"X",
        b"\r\n",
        b"\0",
        b"QUIT\r\n",
        pytest.param(client_hello(), id="ClientHello (C4)"),
    ],
    ids=lambda tail: repr(tail)[:20],
)
def test_c1_c2_octets_in_one_segment_with_starttls_end_the_connection(house: House, tail: bytes) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.send(b"STARTTLS\r\n" + tail)
    assert client.rest() == [INJECTION]
    icid = house.log(r"ICID (\d+) Receiving Failed: STARTTLS injection", start=start)[1]
    house.log(rf"ICID {icid} close$", start=start)


def test_c3_the_tail_may_be_split_anywhere(house: House) -> None:
    """Whatever part of the tail comes later is either refused with it or breaks the handshake; nothing is answered."""
    tail = b"NOOP\r\nMAIL FROM:<x@hostile.example>\r\n"
    for cut in range(len(tail)):
        with house.client() as client:
            client.ehlo()
            client.send(b"STARTTLS\r\n" + tail[:cut])
            answer = client.line()
            assert answer in (INJECTION, "220 2.0.0 Ready to start TLS"), answer
            if answer != INJECTION:
                assert cut == 0
            client.socket.setblocking(True)
            try:
                client.send(tail[cut:])
            except OSError:
                continue  # the gateway was quicker
            assert not any(line.startswith("250") for line in client.rest())


def test_c3_a_command_after_the_220_in_clear_breaks_the_handshake(house: House) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    assert client.command("STARTTLS")[0].startswith("220")
    client.send(b"NOOP\r\nNOOP\r\nNOOP\r\n")
    assert not any("250" in line for line in client.rest())
    found = house.log(
        r"ICID (\d+) TLS failed: \((\d+), 'error:[0-9A-F]{8}:SSL routines::[ \w]+'\)", start=start
    )
    house.log(rf"ICID {found[1]} lost$", start=start)
    house.log(rf"ICID {found[1]} close$", start=start)


def test_c5_everything_said_in_clear_is_forgotten(house: House) -> None:
    client = house.client()
    client.ehlo("first.example")
    client.command("STARTTLS")
    client.start_tls()
    assert client.command("MAIL FROM:<a@hostile.example>")[0].startswith("503 5.5.1")
    assert client.command("RCPT TO:<user@example.net>")[0].startswith("503 5.5.1")
    assert client.command("DATA")[0].startswith("503 5.5.1")
    client.ehlo("second.example")
    word = token()
    client.envelope()
    assert client.data(f"Subject: {word}\r\n\r\n".encode())[0].startswith("250")
    (mail,) = house.arrived(word)
    assert "second.example" in mail.received[0]
    assert "first.example" not in mail.received[0]
    assert "ESMTPS" in mail.received[0]


def test_c6_starttls_where_it_has_no_place(house: House) -> None:
    client = house.client()
    assert client.command("STARTTLS")[0].startswith("503")  # before EHLO
    client.ehlo()
    assert client.command("STARTTLS please")[0].startswith("501")
    client.envelope()
    assert client.command("STARTTLS")[0].startswith("503")  # inside a transaction, which goes on
    word = token()
    assert client.data(f"Subject: {word}\r\n\r\n".encode())[0].startswith("250")
    house.arrived(word)
    client.secure()
    assert not any("STARTTLS" in line for line in client.ehlo())
    assert client.command("STARTTLS")[0][:3] in ("502", "503")
    assert client.alive()


def test_c6_starttls_on_an_implicit_tls_port(house: House) -> None:
    client = house.client(house.ports.implicit, implicit=True)
    assert not any("STARTTLS" in line for line in client.ehlo())
    assert client.command("STARTTLS")[0][:3] in ("502", "503")


def test_clear_text_on_an_implicit_tls_port(house: House) -> None:
    start = house.mark()
    client = house.client(house.ports.implicit, greeted=False)
    client.send(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
    assert not any(line[:3].isdigit() for line in client.rest())
    house.log(
        r"ICID \d+ TLS failed: .*wrong version number|ICID \d+ TLS failed: .*http request|ICID \d+ TLS failed:",
        start=start,
    )


def test_required_tls_lets_nothing_pass_in_clear(house: House) -> None:
    start = house.mark()
    client = house.client(house.ports.strict)
    client.ehlo()
    for command in (
        "MAIL FROM:<a@b.example>",
        "HELO x",
        "RCPT TO:<user@example.net>",
        "DATA",
        "VRFY x",
        "RSET",
        "BDAT 0 LAST",
    ):
        assert client.command(command)[0].startswith("530 5.7.0"), command
    client.secure()
    client.envelope()
    house.log(r"ICID \d+ TLS was required but remote host did not initiate it", start=start)


def test_bdat_before_required_tls_still_eats_its_octets(house: House) -> None:
    client = house.client(house.ports.strict)
    client.ehlo()
    client.send(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert client.reply()[0].startswith("530")
    assert client.reply()[0].startswith("250")


# --- handshakes (C33, C44) ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "close"),
    [
        (b"\x16\x03\x01\xff\xff" + b"A" * 70_000, False),  # a record larger than any may be
        (
            b"\x16\x03\x01\x40\x00"
            + b"\x01\x00\xff\xff"
            + b"\0" * 16_380
            + (b"\x16\x03\x01\x40\x00" + b"\0" * 16_384) * 5,
            False,
        ),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", False),  # a ClientHello of one octet
        (b"\x15\x03\x01\x00\x02\x02\x28", False),  # an alert first
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\0" * 40, False),  # SSLv2
        (b"\0" * 100, False),
        (client_hello()[:40], True),
        (b"", True),
    ],
    ids=["oversized", "endless", "tiny", "alert", "sslv2", "zeros", "half a hello", "nothing"],
)
def test_c33_broken_handshakes_are_logged_and_end(house: House, sent: bytes, close: bool) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    try:
        client.send(sent)
        if close:
            client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the gateway had enough before all was sent
    client.rest()
    icid = house.log(r"ICID (\d+) TLS failed: ", start=start)[1]
    house.log(rf"ICID {icid} lost$", start=start)
    house.log(rf"ICID {icid} close$", start=start)
    ours = [line for line in house.gateway.log.all[start:] if f"ICID {icid} " in line]
    assert [line.split(f"ICID {icid} ")[1][:5] for line in ours[-3:]] == ["TLS f", "lost", "close"]


@pytest.mark.parametrize("ciphers", [b"aNULL:@SECLEVEL=0", b"eNULL:@SECLEVEL=0"])
def test_c33_anonymous_and_null_ciphers_are_not_ours(house: House, ciphers: bytes) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    with pytest.raises(SSL.Error):
        raw_tls(client, ciphers=ciphers, options=SSL.OP_NO_TLSv1_3)
    house.log(r"ICID \d+ TLS failed: \(\d+, 'error:0A0000C1:SSL routines::no shared cipher'\)", start=start)


def test_c33_tls_1_0_is_refused(house: House) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    with pytest.raises(SSL.Error):
        raw_tls(client, ciphers=b"ALL:@SECLEVEL=0", options=SSL.OP_NO_TLSv1_3 | SSL.OP_NO_TLSv1_2)
    house.log(
        r"ICID \d+ TLS failed: \(\d+, 'error:0A000102:SSL routines::unsupported protocol'\)", start=start
    )


@pytest.mark.parametrize(
    "name",
    [
        b"mx.example.net\\",
        b"x" * 255,
        b"192.0.2.1",
        "müller.example".encode(),
        b"unknown.example",
        b"a\r\nICID 1 close",
        b"'; DROP TABLE x; --",
    ],
)
def test_c34_any_sni_gets_the_certificate_and_forges_nothing(house: House, name: bytes) -> None:
    """The library of the client lets any octets through but NUL; ours may refuse what is no name, by its alert."""
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    try:
        connection = raw_tls(client, name=name)
    except SSL.Error:
        return
    assert connection.get_peer_certificate() is not None
    connection.sendall(b"EHLO sni.example\r\n")
    assert connection.recv(4096).startswith(b"250-mx.example.net")


def test_c44_other_protocols_are_refused(house: House) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    with pytest.raises(SSL.Error):
        raw_tls(client, alpn=[b"h2", b"http/1.1"])
    house.log(r"ICID \d+ TLS failed: .*ALPN", start=start)
    second = house.client()
    second.ehlo()
    second.command("STARTTLS")
    assert raw_tls(second, alpn=[b"h2", b"smtp"]).get_alpn_proto_negotiated() == b"smtp"


@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /x HTTP/1.0\r\n\r\nMAIL FROM:<a@b.example>\r\n"],
)
def test_c44_http_is_dropped_at_its_first_line(house: House, request_line: bytes) -> None:
    start = house.mark()
    client = house.client()
    client.send(request_line)
    assert client.rest() == ["500 5.5.1 This is SMTP, closing connection"]
    house.log(r"ICID \d+ Receiving Failed: HTTP request", start=start)


def test_c44_renegotiation_is_refused(house: House) -> None:
    client = house.client()
    client.ehlo()
    client.command("STARTTLS")
    connection = raw_tls(client, options=SSL.OP_NO_TLSv1_3)
    connection.sendall(b"EHLO renegotiates.example\r\n")
    assert connection.recv(4096).startswith(b"250-")
    connection.renegotiate()
    # The library's refusal is a warning alert (no renegotiation) that its client takes for a failure.
    with pytest.raises(SSL.Error, match="no renegotiation"):
        connection.do_handshake()


def test_c39_no_session_is_ever_resumed(house: House) -> None:
    """Neither on the same listener nor on another one, in either version; a second handshake is a full one."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting_context()
        context.minimum_version = context.maximum_version = version
        session: ssl.SSLSession | None = None
        for port in (house.ports.public, house.ports.public, house.ports.strict, house.ports.implicit):
            client = house.client(port, greeted=port != house.ports.implicit)
            if port != house.ports.implicit:
                client.ehlo()
                client.command("STARTTLS")
            secured = context.wrap_socket(client.socket, session=session)
            client.socket = secured
            if port == house.ports.implicit:
                client.reply()
            client.ehlo()
            assert secured.session_reused is False
            session = secured.session


def test_c27_tls_ended_in_the_middle_of_a_command_and_of_a_message(house: House) -> None:
    """A close without close_notify inside DATA is an aborted message, never an accepted one."""
    start = house.mark()
    word = token()
    for sent in (b"NOO", b"MAIL FROM:<a@hostile.example>\r\nRCPT TO:<user@example.net>\r\nDATA\r\n", b""):
        client = house.client().secure()
        if not sent:
            client.envelope()
            client.command("DATA")
            sent = f"Subject: {word}\r\n\r\nhalf".encode()
        client.send(sent)
        assert isinstance(client.socket, ssl.SSLSocket)
        socket.socket(fileno=client.socket.detach()).close()
    house.log(r"MID (\d+) Message aborted MID \1 Receiving aborted by sender", start=start)
    house.log(r"ICID \d+ lost$", start=start, count=3)
    house.check_message_passes()
    assert word not in "".join(mail.content.decode("latin-1") for mail in house.sink.mails)


def test_c27_a_tls_shutdown_with_pipelined_commands(house: House) -> None:
    """close_notify behind commands: they are answered, then the connection ends in order."""
    client = house.client().secure()
    client.send(b"NOOP\r\n" * 200)
    assert isinstance(client.socket, ssl.SSLSocket)
    client.socket.settimeout(10)
    try:
        client.socket = client.socket.unwrap()
    except ssl.SSLError:
        pass  # answers were in the way of the peer's close_notify: this library's way to say so
    started = time.monotonic()
    client.rest()
    assert time.monotonic() - started < 10
