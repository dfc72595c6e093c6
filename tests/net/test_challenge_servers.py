"""The two servers of an order's challenges: the exact answer to the exact question, and nothing to anybody else."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.net.kit import run

from gatepost.certs.acme.challenges import Http01, TlsAlpn01, make_proof
from gatepost.net import challenge_servers
from gatepost.net.challenge_servers import MAX_CONNECTIONS, Http01Responder, TlsAlpn01Responder
from gatepost.wire.acme_objects import ChallengeKind, identifier_of

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
PATH = f"/.well-known/acme-challenge/{TOKEN}"


def listening() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def exchange(port: int, *pieces: bytes) -> bytes:
    """What comes back when these octets are sent and the answer is read to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionResetError:
        return b"(reset)"
    finally:
        writer.transport.abort()


async def until_the_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def question(host: str, path: str = PATH, *, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


def http_answers(*requests: tuple[bytes, ...]) -> list[bytes]:
    """The answers of a responder that has a proof for a name, one for an IPv6 address."""

    async def main() -> list[bytes]:
        sock = listening()
        port = sock.getsockname()[1]
        responder = Http01Responder(sock)
        await responder.start()
        responder.present("mx.example", PATH, f"{TOKEN}.thumbprint")
        responder.present("2001:db8::1", PATH, "six")
        try:
            return [await exchange(port, *pieces) for pieces in requests]
        finally:
            await responder.close()

    return run(main)


def test_the_proof_is_there_for_its_host_and_path() -> None:
    answers = http_answers(
        (question("mx.example"),),
        (question("MX.Example:5002", more="User-Agent: a CA\r\n"),),
        (question("mx.example."),),
        (question("[2001:DB8:0::1]:80"),),
        tuple(bytes([octet]) for octet in question("mx.example")),
    )
    for answer in (*answers[:3], answers[4]):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"Connection: close" in head
        assert body == f"{TOKEN}.thumbprint".encode()
    assert answers[3].endswith(b"six")


@pytest.mark.parametrize(
    "request_",
    [
        question("other.example"),
        question("mx.example", PATH + "/"),
        question("mx.example", PATH + "?x"),
        question("mx.example", PATH[:-1]),
        question("mx.example", "/.well-known/acme-challenge/"),
        question("mx.example", "/.well-known/acme-challenge/../acme-challenge/" + TOKEN),
        question("mx.example", "http://mx.example" + PATH),
        question("mx.example", "/"),
        question("mx.example", method="HEAD"),
        question("mx.example", method="POST"),
        question("mx.example", more="Host: other.example\r\n"),
        f"GET {PATH} HTTP/1.1\r\n\r\n".encode(),
        f"GET {PATH}\r\n\r\n".encode(),
        f"GET  {PATH} HTTP/1.1\r\nHost: mx.example\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        f"GET {PATH} HTTP/1.1\r\nHost: m\u00fcx.example\r\n\r\n".encode(),
    ],
)
def test_everything_else_is_not_found(request_: bytes) -> None:
    (answer,) = http_answers((request_,))
    assert answer == b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_an_endless_header_is_cut_off() -> None:
    (answer,) = http_answers((question("mx.example")[:-2] + b"X: " + b"x" * 100_000,))
    assert answer in (b"", b"(reset)")


def test_what_was_withdrawn_is_gone_and_the_others_stay() -> None:
    async def main() -> None:
        sock = listening()
        port = sock.getsockname()[1]
        responder = Http01Responder(sock)
        await responder.start()
        responder.present("a.example", PATH, "one")
        responder.present("b.example", PATH, "two")
        responder.withdraw("a.example", PATH)
        responder.withdraw("a.example", PATH)
        assert b"404" in await exchange(port, question("a.example"))
        assert (await exchange(port, question("b.example"))).endswith(b"two")
        assert (responder.asked, responder.answered) == (2, 1)
        await responder.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(main)


def test_too_many_connections_are_closed_and_close_ends_those_that_wait() -> None:
    async def main() -> None:
        sock = listening()
        port = sock.getsockname()[1]
        responder = Http01Responder(sock)
        await responder.start()
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        # One connection is accepted after the other: when this one is answered, the others are in their places.
        assert await exchange(port, question("mx.example")) in (b"", b"(reset)")
        assert responder.asked == MAX_CONNECTIONS + 1
        await responder.close()
        for reader, writer in silent:
            assert await until_the_end(reader) == b""
            writer.transport.abort()

    run(main)


def test_a_silent_client_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(challenge_servers, "SECONDS", 0.05)
    assert http_answers((b"GET / HT",))[0] in (b"", b"(reset)")


# --- tls-alpn-01 ----------------------------------------------------------------------------------------


def proof_for(name: str) -> TlsAlpn01:
    key = ec.generate_private_key(ec.SECP256R1())
    proof = make_proof(ChallengeKind.TLS_ALPN01, identifier_of(name), TOKEN, key, 1_800_000_000.0)
    assert isinstance(proof, TlsAlpn01)
    return proof


async def shown(port: int, name: str | None, protocols: list[str]) -> bytes | str:
    """The certificate that a client sees, or why there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)

    def look() -> bytes | str:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=5) as sock,
                context.wrap_socket(sock, server_hostname=name) as wrapped,
            ):
                der = wrapped.getpeercert(binary_form=True)
                protocol = wrapped.selected_alpn_protocol()
        except (ssl.SSLError, ConnectionResetError) as error:
            return type(error).__name__
        return der if der and protocol == "acme-tls/1" else f"without the protocol: {protocol}"

    return await asyncio.to_thread(look)


def test_the_proof_is_shown_to_who_asks_for_its_name_and_protocol() -> None:
    one, two, address = proof_for("mx.example"), proof_for("b.example"), proof_for("192.0.2.7")

    async def main() -> None:
        sock = listening()
        port = sock.getsockname()[1]
        responder = TlsAlpn01Responder(sock)
        await responder.start()
        for proof in (one, two, address):
            responder.present(proof.server_name, proof.certificate, proof.key)
        acme = ["acme-tls/1"]
        assert await shown(port, "mx.example", acme) == one.certificate
        assert await shown(port, "B.example", acme) == two.certificate
        assert await shown(port, "7.2.0.192.in-addr.arpa", acme) == address.certificate  # RFC 8738 §6
        assert responder.answered == 3
        assert await shown(port, "c.example", acme) == "SSLError"
        assert await shown(port, None, acme) == "SSLError"
        assert await shown(port, "mx.example", ["h2", "http/1.1"]) == "SSLError"
        assert await shown(port, "mx.example", ["h2", "acme-tls/1"]) == "SSLError"
        assert await shown(port, "mx.example", []) == "without the protocol: None"
        assert b"HTTP" not in await exchange(port, question("mx.example"))
        responder.withdraw("mx.example")
        assert await shown(port, "mx.example", acme) == "SSLError"
        assert responder.answered == 3
        await responder.close()

    run(main)


def test_the_certificate_is_as_the_rfc_wants_it() -> None:
    """RFC 8737 §3: one dNSName, and the digest in a critical extension that openssl shows as it is."""
    proof = proof_for("mx.example")
    certificate = x509.load_der_x509_certificate(proof.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [entry.value for entry in names] == ["mx.example"]
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    said = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-text"],
        input=proof.certificate,
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert "1.3.6.1.5.5.7.1.31: critical" in said
    key = ec.generate_private_key(ec.SECP256R1())
    http = make_proof(ChallengeKind.HTTP01, identifier_of("mx.example"), TOKEN, key, 0.0)
    tls = make_proof(ChallengeKind.TLS_ALPN01, identifier_of("mx.example"), TOKEN, key, 0.0)
    assert isinstance(http, Http01)
    assert isinstance(tls, TlsAlpn01)
    digest = hashlib.sha256(http.key_authorization.encode()).digest()
    value = (
        x509.load_der_x509_certificate(tls.certificate)
        .extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
        .value
    )
    assert isinstance(value, x509.UnrecognizedExtension)
    assert value.value == b"\x04\x20" + digest
