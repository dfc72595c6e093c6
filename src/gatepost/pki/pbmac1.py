"""The newer integrity check of a PKCS#12 file: PBMAC1 (RFC 9579, RFC 9879; R9).

A PKCS#12 file is a version, the sealed content, and a MAC over that content whose key comes from the pass-phrase. The old MAC
has a key derivation of its own that no list of approved ones knows; PBMAC1 takes PBKDF2 instead. The library reads both and
writes only the old one, so its file is taken apart, the content kept byte by byte, and the MAC made anew: PBKDF2 with
HMAC-SHA-256, and HMAC-SHA-256 over the content. Read by OpenSSL 3.4 and GnuTLS 3.8.6 and later, not by older ones.
"""

from __future__ import annotations

import hashlib
import hmac

from gatepost.pki.der import CONTENT, OCTETS, OID, SEQUENCE, elements, integer, sequence, tlv
from gatepost.pki.errors import PkiError

KEY_LENGTH = 32
_SALT_UNUSED = b"NOT USED"  # the old MAC's salt: it has to be there, and is not looked at

_NULL = b"\x05\x00"
_DATA = tlv(OID, bytes.fromhex("2a864886f70d010701"))
_PBMAC1 = tlv(OID, bytes.fromhex("2a864886f70d01050e"))
_PBKDF2 = tlv(OID, bytes.fromhex("2a864886f70d01050c"))
_HMAC_SHA256 = sequence(tlv(OID, bytes.fromhex("2a864886f70d0209")), _NULL)


def with_pbmac1(pfx: bytes, passphrase: bytes, salt: bytes, rounds: int) -> bytes:
    """The same file (DER, as the library writes it) with this MAC in place of its own. Raises PkiError for other bytes."""
    (whole,) = elements(pfx, 1)
    version, authenticated, _ = whole.inside(SEQUENCE, 3)
    kind, wrapped = authenticated.inside(SEQUENCE, 2)
    (content,) = wrapped.inside(CONTENT, 1)
    if kind.raw != _DATA or content.tag != OCTETS:
        raise PkiError("the PKCS#12 file is not protected by a pass-phrase as a whole")
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, rounds, KEY_LENGTH)
    digest = sequence(_algorithm(salt, rounds), tlv(OCTETS, hmac.digest(key, content.body, "sha256")))
    # The old MAC's rounds are not looked at either: 1, the default, which DER leaves out.
    return sequence(version.raw, authenticated.raw, sequence(digest, tlv(OCTETS, _SALT_UNUSED)))


def _algorithm(salt: bytes, rounds: int) -> bytes:
    """AlgorithmIdentifier of PBMAC1 with its parameters (RFC 8018 §A.5)."""
    derivation = sequence(tlv(OCTETS, salt), integer(rounds), integer(KEY_LENGTH), _HMAC_SHA256)
    return sequence(_PBMAC1, sequence(sequence(_PBKDF2, derivation), _HMAC_SHA256))
