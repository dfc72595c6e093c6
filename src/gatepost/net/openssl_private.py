"""The one file that touches private parts of the TLS binding.

pyOpenSSL 26.4 has no public call for four things that the product needs: the list of key-exchange groups, the
list of signature algorithms, whether a session was resumed, and the number of a library error (its
exceptions carry the texts only, and the log's classic form wants the number). All four are reached
here through the objects pyOpenSSL itself keeps (`_context`, `_ssl`) and the library handle of
`cryptography`. The version pin of pyOpenSSL is exact for this reason.

What it trusts: nothing of that by name. `prove_features` makes small handshakes in memory and looks at
their effect; a feature that does not show its effect is reported absent, and its users go without:
no group list means the library's default, no error number means 0. The proof costs a few milliseconds
once a process and is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from OpenSSL import SSL
from OpenSSL import _util as binding

from gatepost.net.throwaway import throwaway_certificate

# Group 0x11EC, offered but without its key share of 1,184 octets (a `*` marks the shares that are sent):
# a ClientHello in more than one segment chokes some peers (architecture 4, Private binding).
OUTBOUND_GROUPS = "?X25519MLKEM768:*X25519:secp256r1:?X448:secp384r1:secp521r1"

_LIBRARY_SHIFT = 23  # ERR_PACK of OpenSSL 3 and later
_LIBRARIES = range(1, 128)
_REASONS = range(1, 1400)


@dataclass(frozen=True, slots=True)
class Features:
    """Which private calls were seen to work in this process."""

    groups: bool
    signature_algorithms: bool
    session_reused: bool
    error_numbers: bool


def set_groups(context: SSL.Context, groups: str) -> bool:
    """Set the key-exchange groups (`X25519:secp256r1`, with the marks `?` and `*`). False: refused or absent."""
    return _set_list("SSL_CTX_set1_curves_list", context, groups)


def leaves_groups(groups: str) -> bool:
    """Whether a list that the library takes names a group that it knows: with none there is no handshake, not even in TLS 1.2."""
    client = SSL.Context(SSL.TLS_METHOD)
    set_groups(client, groups)
    try:
        _step(_end(client, server=False))
    except SSL.Error:
        return False
    return True


def set_signature_algorithms(context: SSL.Context, algorithms: str) -> bool:
    """Set the signature algorithms (`ECDSA+SHA256:rsa_pss_rsae_sha256`). False: refused or absent."""
    return _set_list("SSL_CTX_set1_sigalgs_list", context, algorithms)


def session_reused(connection: SSL.Connection) -> bool | None:
    """Whether the handshake resumed an earlier session; None where the library cannot say."""
    function = getattr(binding.lib, "SSL_session_reused", None)
    ssl = getattr(connection, "_ssl", None)
    if function is None or ssl is None:
        return None
    return bool(function(ssl))


def error_number(library: str, reason: str) -> int:
    """The number of a library error from its two texts, or 0 where it is not known."""
    number = _library_numbers().get(library, 0)
    return number << _LIBRARY_SHIFT | _reason_numbers(number).get(reason, 0) if number else 0


@cache
def prove_features() -> Features:
    """Try every private call and look at its effect. Never raises: what fails is absent."""
    return Features(
        groups=_shows(_groups_have_effect),
        signature_algorithms=_shows(_signature_algorithms_have_effect),
        session_reused=_shows(_reuse_is_seen),
        error_numbers=_shows(_error_numbers_are_right),
    )


# --- the calls -------------------------------------------------------------------------------------


def _set_list(name: str, context: SSL.Context, text: str) -> bool:
    function = getattr(binding.lib, name, None)
    pointer = getattr(context, "_context", None)
    if function is None or pointer is None:
        return False
    done = bool(function(pointer, text.encode("ascii", "replace")) == 1)
    if not done:
        binding.lib.ERR_clear_error()
    return done


def _text(pointer: Any) -> str:
    return bytes(binding.ffi.string(pointer)).decode("ascii", "replace") if pointer else ""


@cache
def _library_numbers() -> dict[str, int]:
    SSL.Context(SSL.TLS_METHOD)  # loads the texts
    lookup = getattr(binding.lib, "ERR_lib_error_string", None)
    if lookup is None:
        return {}
    found = {_text(lookup(number << _LIBRARY_SHIFT)): number for number in _LIBRARIES}
    found.pop("", None)
    return found


@cache
def _reason_numbers(library: int) -> dict[str, int]:
    lookup = getattr(binding.lib, "ERR_reason_error_string", None)
    if lookup is None:
        return {}
    # Downwards, so that of two numbers with one text the lower stays.
    found = {_text(lookup(library << _LIBRARY_SHIFT | number)): number for number in reversed(_REASONS)}
    found.pop("", None)
    return found


# --- the proofs ------------------------------------------------------------------------------------


def _shows(proof: Callable[[], bool]) -> bool:
    try:
        return proof()
    except (SSL.Error, AttributeError, TypeError):
        return False


def _groups_have_effect() -> bool:
    """A client limited to secp384r1 negotiates it, and an offered group can go without its key share."""
    client = SSL.Context(SSL.TLS_METHOD)
    if not set_groups(client, "secp384r1"):
        return False
    ends = _handshake(client, _server())
    if ends[0].get_group_name() != "secp384r1":
        return False
    client = SSL.Context(SSL.TLS_METHOD)
    if not set_groups(client, OUTBOUND_GROUPS):
        return False
    connection = _end(client, server=False)
    _step(connection)
    hello = connection.bio_read(16384)
    return b"\x11\xec" in hello and len(hello) < 1184


def _signature_algorithms_have_effect() -> bool:
    """A client that accepts no ECDSA gets no handshake with a server that has an ECDSA key only."""
    client = SSL.Context(SSL.TLS_METHOD)
    if not set_signature_algorithms(client, "RSA+SHA256"):
        return False
    try:
        _handshake(client, _server())
    except SSL.Error:
        return True
    return False


def _reuse_is_seen() -> bool:
    """False on a first handshake, True on the one that resumes it."""
    server = _server()
    server.set_session_id(b"proof")
    client = SSL.Context(SSL.TLS_METHOD)
    first, _ = _handshake(client, server)
    session = first.get_session()
    if session_reused(first) is not False or session is None:
        return False
    second = _end(client, server=False)
    second.set_session(session)
    _shake(second, _end(server, server=True))
    return session_reused(second) is True


def _error_numbers_are_right() -> bool:
    """`no shared cipher` has had number 193 of library 20 in every release."""
    return error_number("SSL routines", "no shared cipher") == 0x0A0000C1


def _server() -> SSL.Context:
    certificate, key = throwaway_certificate()
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


def _end(context: SSL.Context, *, server: bool) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    if server:
        connection.set_accept_state()
    else:
        connection.set_connect_state()
    return connection


def _handshake(client: SSL.Context, server: SSL.Context) -> tuple[SSL.Connection, SSL.Connection]:
    ends = _end(client, server=False), _end(server, server=True)
    _shake(*ends)
    return ends


def _shake(client: SSL.Connection, server: SSL.Connection) -> None:
    """Both handshakes to their end, and one read so that the client takes the server's tickets."""
    done = {client: False, server: False}
    for _ in range(10):
        for here, there in ((client, server), (server, client)):
            done[here] = done[here] or _step(here)
            try:
                there.bio_write(here.bio_read(65536))
            except SSL.WantReadError:
                continue
        if all(done.values()):
            break
    else:
        raise SSL.Error("the handshake does not end")
    try:
        client.recv(1)
    except SSL.WantReadError:
        pass


def _step(connection: SSL.Connection) -> bool:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True
