"""Files that were given by mistake: what they are, and what to give instead (C41).

People take the archive the authority sent, the web page that the portal answered, the request instead of the certificate, a key of
another program. "Cannot be read" helps none of them, so the beginnings of such files are known here.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection

from cryptography.hazmat.primitives.serialization import load_der_public_key

from gatepost.pki.der import MalformedDer, extent
from gatepost.pki.errors import PkiError
from gatepost.pki.load import UNREADABLE

_GIVE = "give the certificate or the key, PEM, DER, PKCS#7 or PKCS#12"
_KEYSTORE = (
    "convert it with: keytool -importkeystore -srckeystore FILE -destkeystore NEW.p12 -deststoretype pkcs12"
)
_UNPACK = "unpack it and give the certificate that is in it"

_BEGINNINGS = (
    (b"\xfe\xed\xfe\xed", "a Java keystore (JKS)", _KEYSTORE),
    (b"\xce\xce\xce\xce", "a Java keystore (JCEKS)", _KEYSTORE),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF document", _GIVE),
    (
        b"{\\rtf",
        "a text of a word processor (RTF)",
        "save it as plain text, or better: give the original file",
    ),
    (b"\xd0\xcf\x11\xe0", "a document of an office program", _GIVE),
    (b"\xff\xd8\xff", "a picture (JPEG)", _GIVE),
    (b"\x89PNG", "a picture (PNG)", _GIVE),
    (b"GIF8", "a picture (GIF)", _GIVE),
    (
        b"SQLite format 3",
        "a database (SQLite)",
        "export the certificate and its key as PKCS#12 from its program",
    ),
    (b"\x7fELF", "a program", _GIVE),
    (b"MZ", "a program for Windows", _GIVE),
    (
        b"PuTTY-User-Key-File",
        "a private key of PuTTY",
        "export it with PuTTYgen: Conversions > Export OpenSSH key, then ssh-keygen -p -m PKCS8 -f FILE",
    ),
    (b"ssh-", "a public key of OpenSSH", "such keys are for logins; " + _GIVE),
    (b"ecdsa-sha2-", "a public key of OpenSSH", "such keys are for logins; " + _GIVE),
    (
        b"<",
        "a web page or XML",
        "often the log-in page of the authority's site was saved in place of the file: download it again",
    ),
    (b"{", "JSON", "a key in JSON (JWK) has to be converted to PEM; " + _GIVE),
)
_LABELS = (
    (
        "REQUEST",
        "a signing request (CSR)",
        "give the certificate that the authority made from it; the request stays as it is",
    ),
    ("CRL", "a revocation list", "it says what was withdrawn; " + _GIVE),
    ("OPENSSH", "a key of OpenSSH", "convert a copy of it with: ssh-keygen -p -m PKCS8 -f FILE"),
    ("SSH2", "a key of SSH", "such keys are for logins; " + _GIVE),
    ("PGP", "something of OpenPGP", "OpenPGP has keys of its own kind; " + _GIVE),
    ("PUBLIC KEY", "a public key only", "give the certificate, which has the public key in it"),
    ("PARAMETERS", "parameters only", "give the certificate; the parameters are not needed"),
)


def foreign(data: bytes) -> PkiError:
    """The error for a file in which nothing was found: what it is, as far as its beginning tells."""
    begin = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not begin:
        return PkiError("the file is empty", _GIVE)
    for sign, what, instead in _BEGINNINGS:
        if begin.startswith(sign):
            return PkiError(f"the file is {what}", instead)
    named = _of_der(data)
    if named is not None:
        return named
    text = "the file is neither PEM nor DER nor PKCS#7 nor PKCS#12"
    if (
        begin.isascii()
        and begin.replace(b"\n", b"").replace(b"\r", b"").replace(b"\t", b"").decode().isprintable()
    ):
        return PkiError(text, "it is text without the lines -----BEGIN …----- and -----END …-----; " + _GIVE)
    return PkiError(text, _GIVE)


def nothing_in_pem(labels: Collection[str]) -> PkiError:
    """The error for PEM whose blocks are of no use: what they are."""
    for part, what, instead in _LABELS:
        if any(part in label for label in labels):
            return PkiError(f"the file holds no certificate and no key, it is {what}", instead)
    return PkiError("the file holds no certificate and no key", _GIVE)


def _of_der(data: bytes) -> PkiError | None:
    """A structure that is known and of no use here, or one that is cut off."""
    if data[:1] != b"\x30":
        return None
    try:
        _, end = extent(data)
    except MalformedDer:
        return None
    if len(data) < end < 64 * 1024 * 1024 and data[1] & 0x80:
        return PkiError(
            f"the file is cut off: it should have {end:,} octets and has {len(data):,}", "transfer it again"
        )
    if end < len(data):
        return PkiError(
            f"the file goes on behind the end of its structure: it should have {end:,} octets and has {len(data):,}",
            "transfer it again",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_der_public_key(data)
    except UNREADABLE:
        return None
    return nothing_in_pem(["PUBLIC KEY"])
