"""What the hostile servers of the table do: each a function of a `Talk`, or one that makes it."""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from functools import cache

from OpenSSL import SSL
from tests.fakes.ca import Issued, TestAuthority
from tests.live.hostile.server import PLAIN, Behaviour, Talk


@cache
def authority() -> TestAuthority:
    return TestAuthority("Servers CA")


@cache
def good() -> Issued:
    return authority().issue(["mx.hostile.example"])


def context(issued: Issued | None = None, **changes: object) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = issued or good()
    with tempfile.NamedTemporaryFile() as file:
        file.write(issued.key_pem + issued.chain_pem)
        file.flush()
        if changes.pop("weak", False):
            made.set_ciphers("ALL:@SECLEVEL=0")
        made.load_cert_chain(file.name)
    for name, value in changes.items():
        if name == "ciphers":
            made.set_ciphers(str(value))
        else:
            setattr(made, name, value)
    return made


# --- behaviours ---------------------------------------------------------------------------------------


def behind_220(data: bytes, *, wait: bool = False, then: str = "rest") -> Behaviour:
    """Says 220 and `data`, in one segment or once the ClientHello has begun."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        if wait:
            talk.say(b"220 go\r\n")
            talk.recv(1)
            talk.say(data)
        else:
            talk.say(b"220 go\r\n" + data)
        if then == "rest":
            talk.rest()

    return behave


def answers(reply: bytes, *, close: bool = False) -> Behaviour:
    """Answers STARTTLS like this and goes on in clear."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        talk.say(reply)
        if close:
            return
        talk.serve()

    return behave


def offers(capabilities: bytes) -> Behaviour:
    def behave(talk: Talk) -> None:
        talk.greet(capabilities)
        first = talk.line()
        if first == b"STARTTLS":
            talk.secure(context())
        else:
            talk.say(b"250 ok\r\n")
        talk.serve(capabilities)

    return behave


def secured(
    make: Callable[[], ssl.SSLContext | SSL.Context], then: Callable[[Talk], None] = Talk.serve
) -> Behaviour:
    """A handshake with this context, and then."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        talk.secure(make())
        then(talk)

    return behave


def in_clear(say: bytes, *, drip: float = 0.0) -> Behaviour:
    """Says this instead of a greeting, and again without end."""

    def behave(talk: Talk) -> None:
        for _ in range(10_000):
            talk.say(say)
            if drip:
                time.sleep(drip)  # the peer's own slowness, not a wait for anything
        talk.rest()

    return behave


def helo_only(talk: Talk) -> None:
    talk.say(b"220 old.example\r\n")
    talk.line()
    talk.say(b"502 what?\r\n")
    talk.line()
    talk.say(b"250 old.example\r\n")
    talk.serve()


def old_tls() -> SSL.Context:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_cipher_list(b"ALL:@SECLEVEL=0")
    made.set_max_proto_version(SSL.TLS1_VERSION)
    made.set_min_proto_version(SSL.TLS1_VERSION)
    made.use_certificate(good().leaf)
    made.use_privatekey(good().key)  # type: ignore[arg-type]
    return made


def anonymous() -> SSL.Context:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_options(SSL.OP_NO_TLSv1_3)
    made.set_cipher_list(b"aNULL:@SECLEVEL=0")
    return made


def only(ciphers: str) -> Callable[[], ssl.SSLContext]:
    return lambda: context(
        rsa("rsa2048"), ciphers=f"{ciphers}:@SECLEVEL=0", maximum_version=ssl.TLSVersion.TLSv1_2
    )


@cache
def rsa(key: str, hash_name: str = "sha256") -> Issued:
    return TestAuthority(f"CA of {key} {hash_name}", key="rsa2048").issue(
        ["mx.hostile.example"], key=key, hash_name=hash_name
    )


# The smallest that the peer's library takes itself.
SMALL_DH = """-----BEGIN DH PARAMETERS-----
MIGHAoGBANhXHtoiMzSuuHgA6RROaPQawMQKIXVvTE/NXc9pC1CEIcV3ZTcYLxZw
la57dI1a3ndnuzeCrQujn8CuX3HZ9uIZ5LNnLy2yXbOFMzcnP30fcKySfz/NGRrL
R0pNnWZlIav26A590OpLgme2kvtqq61Wq6RPFvldzteiUjfzQDn/AgEC
-----END DH PARAMETERS-----
"""


def small_dh() -> ssl.SSLContext:
    made = only("DHE-RSA-AES256-GCM-SHA384")()
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(SMALL_DH)
        file.flush()
        made.load_dh_params(file.name)
    return made


def huge() -> ssl.SSLContext:
    """A handshake of more octets than anybody needs."""
    many = [f"{number:04d}.{'x' * 50}.{'y' * 50}.hostile.example" for number in range(600)]
    return context(authority().issue(many, common_name="huge"))


def without_close_notify(talk: Talk) -> None:
    """Takes the message, answers, and drops the connection from under TLS."""
    while (verb := talk.line().split(b" ")[0]) != b"DATA":
        talk.say(PLAIN if verb == b"EHLO" else b"250 ok\r\n")
    talk.say(b"354 go\r\n")
    talk.message()
    talk.say(b"250 2.0.0 taken\r\n")
    talk.socket.close()
    assert isinstance(talk.secured, ssl.SSLSocket)
    socket.socket(fileno=talk.secured.detach()).close()


def says(data: bytes, *, times: int = 1) -> Callable[[Talk], None]:
    """Answers EHLO inside TLS like this, `times` over."""

    def then(talk: Talk) -> None:
        talk.line()
        for _ in range(times):
            talk.say(data)
        talk.rest()

    return then


def early_yes(talk: Talk) -> None:
    """Says yes to the message together with the 354."""
    talk.line()
    talk.say(PLAIN)
    while talk.line() != b"DATA":
        talk.say(b"250 ok\r\n")
    talk.say(b"354 go\r\n250 2.0.0 taken, whatever it is\r\n")
    talk.rest()
