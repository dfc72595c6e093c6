"""TLS contexts of both directions, built from PEM in memory, and what a handshake resulted in.

How it works. A `ServerContext` holds one library context per set of certificates: the default one, and one
for every name that SNI may ask for; the choice is made in the library's servername callback. Within one
context several key types stand side by side (RSA and ECDSA), and the library picks by what the peer can
verify. A `ClientContext` holds the certificate that is offered when a server asks for one.

What it trusts. Nothing: no context has a CA store, and no handshake fails because of the peer's
certificate. A client context does not verify at all, and a server context that asks for a certificate
has a callback that lets everything go on; the chain is read afterwards and judged by `pki`.

Rules held here (architecture 4): no tickets and no session cache, and a session id context always, so that
a second handshake is a full one; no renegotiation; no compression; ALPN `smtp` or none (C44); private
keys from memory, chains from a memory file. A context is frozen by its first connection; a change of
certificates or settings is a new context.

Security level: 1 (80 bits) for TLS 1.2 and later, since a weak key on a mail hop is still better than no
encryption and a strict peer chooses better by itself; 0 where an administrator allows TLS 1.0 or 1.1, which
cannot work above it. A cipher string with its own `@SECLEVEL` keeps it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from gatepost.config.sni import meant_name
from gatepost.net import openssl_private
from gatepost.net.errors import ContextError
from gatepost.net.group_list import SMALL_GROUPS, small_groups

DEFAULT_CIPHERS = "DEFAULT:!PSK:!SRP:!aNULL:!eNULL"
MAIL_PROTOCOLS = (b"smtp", b"esmtp")  # of ALPN, on a listener for mail
_VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.0": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_LEGACY = (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION)
# SSL_MODE_ENABLE_PARTIAL_WRITE, which pyOpenSSL sets and has no name for: with it one send takes one record.
_MODE_PARTIAL_WRITE = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate with its chain (PEM, leaf first) and its private key (PEM, not encrypted)."""

    chain_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "Identity(…)"


@dataclass(frozen=True, slots=True)
class TlsParameters:
    """`tls_settings` of one direction. `ciphers` is `default` or an OpenSSL string, TLS 1.3 names included.

    `groups` and `signatures` are OpenSSL lists of groups and signature algorithms, or empty for the product's default
    of the direction. `maximum` is the newest version, or empty for the library's.
    """

    minimum: str = "TLSv1.2"
    ciphers: str = "default"
    groups: str = ""
    signatures: str = ""
    maximum: str = ""


@dataclass(slots=True)
class TlsSession:
    """An established session, as it was observed. `peer_chain` is DER as sent, leaf first; nothing is judged.

    `group` is empty where the library cannot say. `certificate_requested` is known on the client side only.
    """

    protocol: str
    cipher: str
    group: str
    sni: str
    peer_chain: tuple[bytes, ...]
    certificate_requested: bool = False


class AlpnRefused(Exception):
    """The client offered application protocols, and none that is spoken here is among them."""


class ServerContext:
    """What a listener shows to its clients. Immutable; shared by all its connections."""

    __slots__ = ("_contexts", "_default", "requests_certificate")

    def __init__(
        self, default: SSL.Context, contexts: Mapping[str, SSL.Context], *, requests_certificate: bool
    ) -> None:
        self._default = default
        self._contexts = contexts
        self.requests_certificate = requests_certificate

    @classmethod
    def build(
        cls,
        identities: Sequence[Identity],
        parameters: TlsParameters | None = None,
        *,
        scope: str,
        by_name: Mapping[str, Sequence[Identity]] | None = None,
        request_certificate: bool = False,
        protocols: Sequence[bytes] = MAIL_PROTOCOLS,
    ) -> ServerContext:
        """Build all contexts of one listener. Raises ContextError.

        `scope` names the listener and the configuration version: sessions never cross it. `by_name` maps names
        of SNI, or `*.domain`, to the certificates shown for them; any other name gets `identities`, and where these
        are empty no handshake. A client that offers ALPN must offer one of `protocols`.
        """
        parameters = parameters or TlsParameters()
        if not identities and not by_name:
            raise ContextError("a TLS listener needs a certificate")

        def one(shown: Sequence[Identity]) -> SSL.Context:
            return _server_context(shown, parameters, scope, request_certificate, protocols)

        contexts = {name.lower().rstrip("."): one(shown) for name, shown in (by_name or {}).items()}
        default = one(identities)
        if contexts:
            default.set_tlsext_servername_callback(_chooser(contexts))
        return cls(default, contexts, requests_certificate=request_certificate)

    def connection(self, sni: str = "") -> SSL.Connection:
        """A new server end over memory buffers; `sni` has no meaning here."""
        connection = SSL.Connection(self._default, None)
        connection.set_accept_state()
        return connection


class ClientContext:
    """How a delivery speaks TLS. Immutable; shared by all connections with the same settings."""

    __slots__ = ("_context", "offers_certificate")

    def __init__(self, context: SSL.Context, *, offers_certificate: bool) -> None:
        self._context = context
        self.offers_certificate = offers_certificate

    @classmethod
    def build(
        cls,
        parameters: TlsParameters | None = None,
        *,
        identities: Sequence[Identity] = (),
        small: bool = False,
    ) -> ClientContext:
        """Build a context that offers `identities` to a server that asks. Raises ContextError.

        `small` leaves the post-quantum groups out, the product's and those of `parameters` (`net.group_list`).
        """
        parameters = parameters or TlsParameters()
        context = _context(parameters)
        _load_identities(context, identities)
        groups = parameters.groups
        if groups:
            _require_groups(context, groups)
        if small:
            _set_small_groups(context, groups)
        elif not groups and openssl_private.prove_features().groups:
            openssl_private.set_groups(context, openssl_private.OUTBOUND_GROUPS)
        return cls(context, offers_certificate=bool(identities))

    def connection(self, sni: str = "") -> SSL.Connection:
        """A new client end over memory buffers that sends `sni` unless it is empty."""
        connection = SSL.Connection(self._context, None)
        connection.set_connect_state()
        if sni:
            connection.set_tlsext_host_name(sni.encode("ascii", "strict"))
        return connection


def check_parameters(parameters: TlsParameters) -> None:
    """Raises ContextError when a context could not be built with these settings."""
    context = _context(parameters)
    if parameters.groups:
        _require_groups(context, parameters.groups)


def peer_chain(connection: SSL.Connection) -> tuple[bytes, ...]:
    """What the peer sent, DER, leaf first; empty when it sent none. Works on both sides."""
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return ()
    der = crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf)
    sent = connection.get_peer_cert_chain() or []
    chain = [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in sent]
    # A server's list of what a client sent lacks the leaf, a client's has it.
    return tuple(chain) if chain and chain[0] == der else (der, *chain)


# --- building ----------------------------------------------------------------------------------------


def _context(parameters: TlsParameters) -> SSL.Context:
    version = _VERSIONS.get(parameters.minimum)
    if version is None:
        raise ContextError(f"unknown TLS version {parameters.minimum!r} (known: {', '.join(_VERSIONS)})")
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(version)
    context.set_options(
        SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(_MODE_PARTIAL_WRITE)
    _set_ciphers(context, parameters.ciphers, 0 if version in _LEGACY else 1)
    if parameters.maximum:
        context.set_max_proto_version(_VERSIONS[parameters.maximum])
    if parameters.signatures:
        _require_signatures(context, parameters.signatures)
    return context


def _set_ciphers(context: SSL.Context, text: str, level: int) -> None:
    """TLS 1.3 suites (`TLS_…`) may stand in the string; the library wants them apart from the others."""
    names = [name for name in text.replace(",", ":").replace(" ", ":").split(":") if name]
    modern = [name for name in names if name.startswith("TLS_")]
    classic = [name for name in names if not name.startswith("TLS_")]
    if classic == ["default"] or (not classic and not modern):
        classic = [DEFAULT_CIPHERS]
    elif not classic:
        classic = [DEFAULT_CIPHERS]
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
    if "@SECLEVEL" not in text:
        classic.append(f"@SECLEVEL={level}")
    try:
        context.set_cipher_list(":".join(classic).encode("ascii", "replace"))
        if modern:
            context.set_tls13_ciphersuites(":".join(modern).encode("ascii", "replace"))
    except SSL.Error:
        raise ContextError(f"no cipher matches {text!r}") from None


def _require_groups(context: SSL.Context, groups: str) -> None:
    if not openssl_private.prove_features().groups:
        raise ContextError("this build of the TLS library cannot be given a group list")
    if not openssl_private.set_groups(context, groups):
        raise ContextError(f"no such key-exchange groups: {groups!r}")
    if not openssl_private.leaves_groups(groups):
        raise ContextError(
            f"of the key-exchange groups {groups!r} none is left, so no handshake could succeed"
        )


def _set_small_groups(context: SSL.Context, groups: str) -> None:
    """The classic ones of a list; the product's own where the library knows none of these. Without group lists nothing can be left out."""
    if openssl_private.prove_features().groups and not openssl_private.set_groups(
        context, small_groups(groups)
    ):
        openssl_private.set_groups(context, SMALL_GROUPS)


def _require_signatures(context: SSL.Context, signatures: str) -> None:
    if not openssl_private.prove_features().signature_algorithms:
        raise ContextError("this build of the TLS library cannot be given a list of signature algorithms")
    if not openssl_private.set_signature_algorithms(context, signatures):
        raise ContextError(f"no such signature algorithms: {signatures!r}")


def _server_context(
    identities: Sequence[Identity],
    parameters: TlsParameters,
    scope: str,
    request_certificate: bool,
    protocols: Sequence[bytes],
) -> SSL.Context:
    context = _context(parameters)
    if parameters.groups:
        _require_groups(context, parameters.groups)
    _load_identities(context, identities)
    context.set_session_id(hashlib.sha256(scope.encode()).digest())  # at most 32 octets
    context.set_alpn_select_callback(_selector(protocols))
    if request_certificate:
        context.set_verify(SSL.VERIFY_PEER, _let_everything_pass)
    return context


def _load_identities(context: SSL.Context, identities: Sequence[Identity]) -> None:
    """Each leaf with its own chain. `add_extra_chain_cert` would send one list with whichever leaf is chosen."""
    for identity in identities:
        descriptor = os.memfd_create("certificate-chain", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(identity.chain_pem)
            context.use_certificate_chain_file(f"/proc/self/fd/{descriptor}")
            context.use_privatekey(load_pem_private_key(identity.key_pem, None))  # type: ignore[arg-type]
            context.check_privatekey()
        except SSL.Error as error:
            raise ContextError(_building_fault(error)) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The exception's own text may quote key material.
            raise ContextError("the private key cannot be read") from None
        finally:
            os.close(descriptor)


def _building_fault(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [reason for _, _, reason in queue if reason]
    if "key values mismatch" in reasons:
        return "the private key does not belong to the certificate"
    if "no start line" in reasons or "PEM lib" in reasons:
        return "the certificate is not PEM"
    return f"the library refuses the certificate: {', '.join(reasons) or 'no reason given'}"


# --- callbacks -----------------------------------------------------------------------------------------


def _let_everything_pass(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """The library's opinion has no effect; `pki` judges the chain afterwards."""
    return True


def _selector(protocols: Sequence[bytes]) -> Callable[[SSL.Connection, list[bytes]], bytes]:
    """A client that offers only other protocols (`h2`, `http/1.1` to a mail listener) is in the wrong place (C44)."""

    def select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in protocols:
            if protocol in offered:
                return protocol
        raise AlpnRefused

    return select


def _chooser(contexts: Mapping[str, SSL.Context]) -> Callable[[SSL.Connection], None]:
    def choose(connection: SSL.Connection) -> None:
        name = meant_name(contexts, (connection.get_servername() or b"").decode("ascii", "replace"))
        if name is not None:
            connection.set_context(contexts[name])

    return choose
