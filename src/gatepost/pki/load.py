"""DER to a certificate that has been read to its end: whatever is damaged shows here and nowhere later."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

from gatepost.pki.errors import MalformedCertificate

MAX_CERTIFICATE = 256 * 1024  # octets; a thousand names are about 30 KiB

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for bytes that it does not understand."""


def load_certificate(der: bytes) -> x509.Certificate:
    """The certificate, with names, dates, key and every extension parsed. Raises MalformedCertificate."""
    if len(der) > MAX_CERTIFICATE:
        raise MalformedCertificate(f"a certificate of {len(der)} octets is longer than any real one")
    try:
        with _any_serial():
            parsed = x509.load_der_x509_certificate(der)
            _read_all(parsed)
    except UNREADABLE as error:
        raise MalformedCertificate("the certificate cannot be read") from error
    return parsed


def serial_number(parsed: x509.Certificate) -> int:
    """The serial number, also one that is not positive."""
    with _any_serial():
        return parsed.serial_number


@contextmanager
def _any_serial() -> Iterator[None]:
    """RFC 5280 §4.1.2.2 wants a positive serial; public roots with zero exist, and it harms nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def _read_all(parsed: x509.Certificate) -> None:
    """Touch what the library parses only when it is asked for."""
    for part in (parsed.subject, parsed.issuer, parsed.extensions, parsed.public_key()):
        del part
    parsed.not_valid_before_utc.timestamp()
    parsed.not_valid_after_utc.timestamp()
