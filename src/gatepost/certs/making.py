"""New profiles: a self-signed certificate (R3), or what an administrator brings in a file (R7).

An import takes the key wherever it is (in the file, in a second file, in a PKCS#12 file), finds the certificate that
belongs to it, and keeps all others behind it in the order of the file. Nothing is dropped and nothing is put
in order: what is untidy shows in the findings.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatepost.pki.bundle import Bundle, read_bundle
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, PrivateKey, generate, key_matches, load_private_key
from gatepost.pki.pkcs12 import is_pkcs12, load_pkcs12
from gatepost.pki.profile import Origin, Profile, make_profile
from gatepost.pki.selfsigned import SubjectFields, make_csr, make_self_signed

MAX_NAME = 128
DEFAULT_DAYS = 3650


def check_name(name: str) -> str:
    """The name of a profile as it is, one line that is not empty. Raises PkiError."""
    if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        raise PkiError(
            f"a certificate's name is one line of 1 to {MAX_NAME} characters, without blanks at its ends"
        )
    return name


def new_self_signed(
    name: str, subject: SubjectFields, san: Sequence[str], days: int, kind: KeyKind, now: float
) -> Profile:
    """Key, certificate and signing request in one step (R3). Without `san` the common name is one. Raises PkiError."""
    if subject.country and not (
        len(subject.country) == 2 and subject.country.isascii() and subject.country.isalpha()
    ):
        raise PkiError("the country is its two-letter code", "for example IT or DE")
    key = generate(kind)
    made = make_self_signed(subject, san, days, key, now)
    return make_profile(
        check_name(name),
        made.certificate,
        key,
        csr=make_csr(subject, san, key),
        origin=Origin.SELF_SIGNED,
        created=now,
    )


def import_profile(name: str, data: bytes, key_data: bytes, passphrase: str | None, now: float) -> Profile:
    """The profile of a file, PEM, DER, PKCS#7 or PKCS#12; `key_data` is a second file with the key, or empty.

    Raises PassphraseNeeded, WrongPassphrase, or PkiError with what is missing or does not belong together.
    """
    check_name(name)
    if is_pkcs12(data):
        opened = load_pkcs12(data, passphrase)
        own = (opened.certificate,) if opened.certificate is not None else ()
        bundle = Bundle((*own, *opened.others), (opened.key,) if opened.key is not None else ())
    else:
        bundle = read_bundle(data, passphrase)
    keys = bundle.keys if not key_data else (*_keys_of(key_data, passphrase), *bundle.keys)
    leaf, key, others = _pair(bundle.certificates, keys)
    return make_profile(name, leaf, key, intermediates=others, origin=Origin.IMPORTED, created=now)


def _keys_of(data: bytes, passphrase: str | None) -> tuple[PrivateKey, ...]:
    if b"-----BEGIN" not in data:
        return (load_private_key(data, passphrase),)
    keys = read_bundle(data, passphrase).keys
    if not keys:
        raise PkiError("the file given with --key holds no private key", "give the file that has the key")
    return keys


def _pair(
    certificates: tuple[bytes, ...], keys: tuple[PrivateKey, ...]
) -> tuple[bytes, PrivateKey, tuple[bytes, ...]]:
    """The host's certificate, its key, and the certificates behind it."""
    if not certificates:
        raise PkiError(
            "the file holds no certificate", "give the file with the certificate; --key names the key's"
        )
    if not keys:
        raise PkiError(
            "the file holds no private key", "give the key's file with --key, or a PKCS#12 file (.p12, .pfx)"
        )
    for place, der in enumerate(certificates):
        parsed = read_certificate(der).parsed
        for key in keys:
            if key_matches(key, parsed):
                return der, key, certificates[:place] + certificates[place + 1 :]
    subject = read_certificate(certificates[0]).subject
    raise PkiError(
        f"the private key does not belong to the certificate {subject}",
        "give the key that the certificate was made for",
    )
