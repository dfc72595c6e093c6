"""What the SMTP servers of the zoo do, by the words of the table. Each is a function of one connection."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable, Mapping

from OpenSSL import SSL

from gatepost.app.zoo import flights
from gatepost.app.zoo.certificates import tlv
from gatepost.app.zoo.flights import Suite
from gatepost.app.zoo.hosts import Behaviour, Talk, server_context

_EXTENSIONS = (b"PIPELINING", b"SIZE 10485760", b"8BITMIME", b"ENHANCEDSTATUSCODES")
_NO_REPLIES: Mapping[str, bytes] = {}
_HANDSHAKE_FAILURE = 40  # alert descriptions (RFC 5246 §7.2)


def _capabilities(talk: Talk, *more: bytes) -> bytes:
    lines = (talk.host.name.encode("ascii"), *_EXTENSIONS, *more)
    return b"".join(b"250" + (b" " if line is lines[-1] else b"-") + line + b"\r\n" for line in lines)


def greet(talk: Talk, offer: bytes = b"STARTTLS") -> None:
    """Greeting, and the answer to EHLO."""
    talk.say(b"220 " + talk.host.name.encode("ascii") + b" ESMTP of the zoo\r\n")
    talk.line()
    talk.say(_capabilities(talk, *([offer] if offer else [])))


def serve(talk: Talk, replies: Mapping[str, bytes] = _NO_REPLIES) -> None:
    """An honest session from here to QUIT, but for `replies` by verb."""
    while True:
        verb = talk.line()[:8].partition(b" ")[0].upper().decode("ascii", "replace")
        if verb in replies:
            talk.say(replies[verb])
            if replies[verb].startswith(b"421"):
                return
        elif verb in ("EHLO", "HELO"):
            talk.say(_capabilities(talk))
        elif verb == "DATA":
            talk.say(b"354 go ahead\r\n")
            talk.message()
            talk.say(b"250 2.0.0 the zoo has it\r\n")
        elif verb == "QUIT":
            talk.say(b"221 2.0.0 bye\r\n")
            if talk.secured is not None:
                talk.secured.shutdown()
            return
        else:
            talk.say(b"250 2.0.0 fine\r\n")


def _in_clear_or_behind(secure: Behaviour) -> Behaviour:
    """Offers STARTTLS; who does not want it is served in clear. `secure` has the connection from the command on."""

    def behave(talk: Talk) -> None:
        greet(talk)
        command = talk.line()
        if command.upper() == b"STARTTLS":
            secure(talk)
        else:
            talk.say(b"250 2.0.0 fine\r\n")
            serve(talk)

    return behave


def _handshake(talk: Talk, **choices: int | str) -> None:
    context = server_context(talk.host.shown, **choices)  # type: ignore[arg-type]
    talk.say(b"220 2.0.0 ready\r\n")
    talk.secure(context)


def _proper(**choices: int | str) -> Behaviour:
    """A handshake with these choices, and an honest session."""

    def secure(talk: Talk) -> None:
        _handshake(talk, **choices)
        serve(talk)

    return _in_clear_or_behind(secure)


def _answers(reply: bytes) -> Behaviour:
    """Offers STARTTLS, answers it like this, and goes on in clear."""

    def secure(talk: Talk) -> None:
        talk.say(reply)
        serve(talk)

    return _in_clear_or_behind(secure)


def _behind_220(say: Callable[[Talk], bytes], *, at_once: bool = False, close: bool = False) -> Behaviour:
    """220, and these octets: together with it, or when the ClientHello has come."""

    def secure(talk: Talk) -> None:
        if at_once:
            talk.say(b"220 2.0.0 ready\r\n" + say(talk))
        else:
            talk.say(b"220 2.0.0 ready\r\n")
            if not close:
                talk.receive()
                talk.say(say(talk))
        if not close:
            talk.rest()

    return _in_clear_or_behind(secure)


def _offers(offer: bytes) -> Behaviour:
    """No STARTTLS but this in its place."""

    def behave(talk: Talk) -> None:
        greet(talk, offer)
        serve(talk, {"STARTTLS": b"502 5.5.1 what?\r\n"})

    return behave


def _helo_only(talk: Talk) -> None:
    """A server of before 1993."""
    talk.say(b"220 " + talk.host.name.encode("ascii") + b" SMTP\r\n")
    talk.line()
    talk.say(b"502 5.5.1 what?\r\n")
    talk.line()
    talk.say(b"250 " + talk.host.name.encode("ascii") + b"\r\n")
    serve(talk)


def _insists(talk: Talk) -> None:
    """Takes no mail in clear (RFC 3207 §4)."""
    greet(talk)
    if talk.line().upper() != b"STARTTLS":
        talk.say(b"530 5.7.0 Must issue a STARTTLS command first\r\n")
        serve(talk, _IN_CLEAR)
    _handshake(talk)
    serve(talk)


_IN_CLEAR = {
    "MAIL": b"530 5.7.0 Must issue a STARTTLS command first\r\n",
    "RCPT": b"503 5.5.1 no\r\n",
    "DATA": b"503 5.5.1 no\r\n",
}


def _without_close_notify(talk: Talk) -> None:
    """Takes the message, answers, and drops the connection from under TLS."""
    _handshake(talk)
    while (verb := talk.line()[:4].upper()) != b"DATA":
        talk.say(_capabilities(talk) if verb == b"EHLO" else b"250 2.0.0 fine\r\n")
    talk.say(b"354 go ahead\r\n")
    talk.message()
    talk.say(b"250 2.0.0 the zoo has it\r\n")


def _busy_inside(talk: Talk) -> None:
    _handshake(talk)
    serve(talk, {"EHLO": b"421 4.3.2 the zoo is closed\r\n"})


def _asks_certificate(*, breaks: bool = False, silently: bool = False) -> Behaviour:
    """Asks for a client certificate. `breaks`: ends the handshake for one that is shown, `silently` without an alert."""

    def secure(talk: Talk) -> None:
        context = server_context(talk.host.shown, newest=SSL.TLS1_2_VERSION if breaks else 0)

        def look(*unused: object) -> bool:
            if silently:
                talk.socket.shutdown(socket.SHUT_WR)
            return not breaks

        context.set_verify(SSL.VERIFY_PEER, look)
        talk.say(b"220 2.0.0 ready\r\n")
        talk.secure(context)
        serve(talk)

    return _in_clear_or_behind(secure)


def _only_with_sni(talk: Talk) -> None:
    """Ends the handshake of who does not name this very host (RFC 6066 §3)."""
    wanted = talk.host.name.encode("ascii")
    context = server_context(talk.host.shown)

    def choose(connection: SSL.Connection) -> None:
        if connection.get_servername() != wanted:
            connection.set_context(SSL.Context(SSL.TLS_SERVER_METHOD))  # it has no certificate

    context.set_tlsext_servername_callback(choose)
    talk.say(b"220 2.0.0 ready\r\n")
    talk.secure(context)
    serve(talk)


def _small_group(talk: Talk) -> None:
    """Diffie-Hellman in the group of 1,024 bits that everybody had, the second one of Oakley."""
    context = server_context(
        talk.host.shown, newest=SSL.TLS1_2_VERSION, ciphers="DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0"
    )
    der = tlv(0x30, tlv(0x02, b"\0" + bytes.fromhex(_OAKLEY_2)) + tlv(0x02, b"\x02"))
    pem = b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n"
    descriptor = os.memfd_create("zoo-group", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_tmp_dh(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    talk.say(b"220 2.0.0 ready\r\n")
    talk.secure(context)
    serve(talk)


_OAKLEY_2 = (
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"
)


def _chain(talk: Talk) -> tuple[bytes, ...]:
    return talk.host.shown.chain


def _flight(suite: Suite, key_exchange: Callable[[], bytes] = bytes, *, compression: int = 0) -> Behaviour:
    return _behind_220(
        lambda talk: flights.flight(
            suite,
            () if suite is Suite.ANONYMOUS_DH else _chain(talk),
            key_exchange(),
            compression=compression,
        )
    )


BEHAVIOURS: Mapping[str, Behaviour] = {
    "proper": _proper(),
    "no-starttls": _offers(b""),
    "crossed-out": _offers(b"XXXXXXXA"),
    "starttls-454": _answers(b"454 4.7.0 TLS not available due to temporary reason\r\n"),
    "starttls-554": _answers(b"554 5.7.3 no TLS for you\r\n"),
    "helo-only": _helo_only,
    "insists": _insists,
    "clear-text": _behind_220(lambda talk: b"this is not TLS at all\r\n"),
    "injects": _behind_220(lambda talk: b"250-AUTH PLAIN\r\n", at_once=True),
    "closes": _behind_220(lambda talk: b"", close=True),
    "silent": _behind_220(lambda talk: b""),
    "alert": _behind_220(lambda talk: flights.alert(_HANDSHAKE_FAILURE)),
    "oversized": _behind_220(lambda talk: flights.oversized_record()),
    "tls-1.0": _proper(oldest=SSL.TLS1_VERSION, newest=SSL.TLS1_VERSION),
    "tls-1.1": _proper(oldest=SSL.TLS1_1_VERSION, newest=SSL.TLS1_1_VERSION),
    "tls-1.2": _proper(newest=SSL.TLS1_2_VERSION),
    "export": _flight(Suite.EXPORT_RC4_MD5),
    "rc4": _flight(Suite.RC4_SHA),
    "3des": _flight(Suite.TRIPLE_DES),
    "anonymous": _flight(Suite.ANONYMOUS_DH),
    "compressed": _flight(Suite.ECDHE_RSA, flights.sha1_signed, compression=1),
    "dh-512": _flight(Suite.DHE_RSA, flights.small_group),
    "dh-1024": _in_clear_or_behind(_small_group),
    "sha1-signed": _flight(Suite.ECDHE_RSA, flights.sha1_signed),
    "by-hand": _flight(Suite.ECDHE_RSA, flights.sha1_signed),
    "no-close-notify": _in_clear_or_behind(_without_close_notify),
    "busy-inside": _in_clear_or_behind(_busy_inside),
    "asks-certificate": _asks_certificate(),
    "breaks-certificate": _asks_certificate(breaks=True),
    "hangs-up-at-certificate": _asks_certificate(breaks=True, silently=True),
    "only-with-sni": _in_clear_or_behind(_only_with_sni),
}
