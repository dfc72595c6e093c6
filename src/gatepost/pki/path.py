"""The part of judging a chain that OpenSSL does: find a path to a root and check it.

Two traps of the library are dealt with here and nowhere else:

- `X509Store.set_time` has an effect only once in a store's life, so every look gets a store of its own. It holds
  only the roots that the chain names, which costs some microseconds.
- A failed verification leaves entries in the thread's OpenSSL error queue, where the next TLS read of any
  connection would take them for its own failure. The queue is emptied after every look.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from OpenSSL import crypto

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import MAX_REMEMBERED, Certificate, read_certificate
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.findings import OPENSSL_ERRORS, Code, Finding

EARLIEST, LATEST = 0.0, 253_402_300_799.0  # what a UTC datetime can be told to be


@dataclass(frozen=True, slots=True)
class Path:
    """From the host's certificate to the root, or why there is none."""

    certificates: tuple[Certificate, ...] = ()
    failure: Finding | None = None


def find_path(
    leaf: Certificate,
    others: Sequence[Certificate],
    roots: Sequence[Certificate],
    anchors: Anchors,
    now: float,
    *,
    partial: bool = False,
) -> Path:
    """OpenSSL's verdict at `now`: signatures, dates, CA flags, path lengths, name constraints, critical extensions.

    Purposes, key sizes and hashes are not looked at; `checks` does that. With `partial` a root need not have signed itself: an
    issuer that DNS names as trust anchor ends the path (DANE-TA).
    """
    try:
        store = crypto.X509Store()
        if partial:
            store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for root in roots:
            store.add_cert(anchors.native(root))
        store.set_time(datetime.datetime.fromtimestamp(min(max(now, EARLIEST), LATEST), datetime.UTC))
        untrusted = [_native(other) for other in others]
        native_leaf = crypto.X509.from_cryptography(leaf.parsed)
        found = crypto.X509StoreContext(store, native_leaf, untrusted).get_verified_chain()
        known = {certificate.der: certificate for certificate in (leaf, *others, *roots)}
        return Path(tuple(_known(native, known) for native in found))
    except crypto.X509StoreContextError as error:
        return Path(failure=_failure(error))
    except (crypto.Error, MalformedCertificate):
        # OpenSSL cannot read what cryptography could.
        text = OPENSSL_ERRORS[4][1]
        return Path(failure=Finding(0, Code.MALFORMED, text, leaf.subject, leaf.issuer))
    finally:
        _empty_error_queue()


def _native(intermediate: Certificate) -> crypto.X509:
    if len(intermediate.der) > MAX_REMEMBERED:
        return crypto.X509.from_cryptography(intermediate.parsed)
    return _remembered(intermediate)


@lru_cache(maxsize=256)
def _remembered(intermediate: Certificate) -> crypto.X509:
    """OpenSSL's form; the same few intermediates come again and again."""
    return crypto.X509.from_cryptography(intermediate.parsed)


def _known(native: crypto.X509, known: dict[bytes, Certificate]) -> Certificate:
    der = crypto.dump_certificate(crypto.FILETYPE_ASN1, native)
    return known.get(der) or read_certificate(der)  # OpenSSL may write a sloppy encoding anew


def _failure(error: crypto.X509StoreContextError) -> Finding:
    number, depth, message = error.errors
    code, text = OPENSSL_ERRORS.get(number, (Code.INVALID, str(message)))
    if code is Code.MISSING_INTERMEDIATE and depth > 0:
        # What is missing behind an intermediate is most often the root.
        code = Code.UNTRUSTED_ROOT
    try:
        at = read_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, error.certificate))
    except (MalformedCertificate, crypto.Error):
        return Finding(depth, code, text)
    return Finding(depth, code, text, at.subject, at.issuer)


def _empty_error_queue() -> None:
    """Reading nothing fails, and the failing call collects every waiting error of this thread."""
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, b"")
    except crypto.Error:
        return
