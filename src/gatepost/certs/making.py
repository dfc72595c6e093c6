"""New profiles: a self-signed certificate (R3), or what an administrator brings in a file (R5, R7).

An import takes the key wherever it is (in the file, in a second file, in a PKCS#12 file), finds the certificate that
belongs to it, and keeps all others behind it in the order of the file. Nothing is dropped and nothing is put
in order: what is untidy shows in the findings. Of an authority's answer only the public parts leave the reader.

Errors name the file that they are about, by what the administrator calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gatepost.certs.lifecycle import Brought, Change
from gatepost.pki.bundle import Bundle, read_bundle
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PassphraseNeeded, PkiError
from gatepost.pki.keys import KeyKind, PrivateKey, for_pss_only, generate, key_matches, public_key_der
from gatepost.pki.pkcs12 import is_pkcs12
from gatepost.pki.profile import Origin, Profile, make_profile
from gatepost.pki.selfsigned import SubjectFields, make_csr, make_self_signed
from gatepost.pki.text import printable

MAX_NAME = 128
MAX_LABEL = 200
DEFAULT_DAYS = 3650
_KEY_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{0,30}PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


@contextmanager
def about_file(label: str) -> Iterator[None]:
    """Let every PkiError say which file it is about; nothing for an empty label."""
    try:
        yield
    except PkiError as error:
        if not label:
            raise
        raise type(error)(f"{file_label(label)}: {error.text}", error.hint) from None


def file_label(label: str) -> str:
    """A file's name as a message can show it."""
    return printable(label if len(label) <= MAX_LABEL else f"…{label[-MAX_LABEL:]}")


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


def import_profile(
    name: str,
    data: bytes,
    key_data: bytes,
    passphrase: str | None,
    now: float,
    *,
    label: str = "",
    key_label: str = "",
) -> Change:
    """The profile of a file, PEM, DER, PKCS#7 or PKCS#12; `key_data` is a second file with the key, or empty.

    The notes say what was left out. `label` and `key_label` are what the administrator calls the files. Raises PassphraseNeeded, WrongPassphrase, or
    PkiError with what is missing or does not belong together.
    """
    check_name(name)
    with about_file(key_label):
        own_keys = _keys_of(key_data, passphrase) if key_data else ()
    with about_file(label):
        bundle = read_bundle(data, passphrase)
        keys = (*own_keys, *bundle.keys)
        leaf, key, others = _pair(bundle.certificates, keys)
        profile = make_profile(name, leaf, key, intermediates=others, origin=Origin.IMPORTED, created=now)
    count = len({public_key_der(key) for key in keys})
    chosen = (
        (f"of {count} private keys the one was taken that belongs to {profile.leaf.subject}",)
        if count > 1
        else ()
    )
    return Change(profile, (*bundle.notes, *chosen))


def read_answer(data: bytes, behind: bytes, *, label: str = "", behind_label: str = "") -> Brought:
    """What an authority sent: the signed certificate with or without its chain, and a file of intermediates (R5, R6).

    Either may be empty. A private key in the file is compared later by its public half, an encrypted one cannot be.
    Raises PkiError.
    """
    with about_file(label):
        bundle, notes = _public_parts(data) if data else (Bundle(), ())
    with about_file(behind_label):
        others, more = _public_parts(behind) if behind else (Bundle(), ())
        if behind and not others.certificates:
            raise PkiError("the file holds no certificate", "give the intermediates, PEM, DER or PKCS#7")
    keys = tuple(public_key_der(key) for key in bundle.keys)
    return Brought(bundle.certificates, others.certificates, keys, (*notes, *more))


def _public_parts(data: bytes) -> tuple[Bundle, tuple[str, ...]]:
    if is_pkcs12(data):
        raise PkiError(
            "the file is PKCS#12, which brings its own key",
            "import it: gatepost cert import NAME FILE --replace",
        )
    try:
        bundle = read_bundle(data)
        return bundle, bundle.notes
    except PassphraseNeeded:
        if b"-----BEGIN" not in data:
            raise PkiError("the file is an encrypted private key", "give the signed certificate") from None
    bundle = read_bundle(_KEY_BLOCK.sub(b"", data))
    return bundle, (*bundle.notes, "the private key in the file is encrypted and was not compared")


def _keys_of(data: bytes, passphrase: str | None) -> tuple[PrivateKey, ...]:
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
    first = read_certificate(certificates[0])
    subject = first.subject
    if for_pss_only(first.parsed):
        raise PkiError(
            f"the certificate {subject} is for an RSA key that signs in the PSS form only, which is not served",
            "have one made for a plain RSA key, or for an ECDSA key",
        )
    raise PkiError(
        f"the private key does not belong to the certificate {subject}",
        "give the key that the certificate was made for",
    )
