"""What is odd about a host's certificate itself, though it may verify: names, kind of key, serial number, promises (C34)."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from gatepost.pki.certificate import Certificate
from gatepost.pki.findings import Code
from gatepost.pki.names import usable_name
from gatepost.pki.notes import Note, note
from gatepost.pki.text import printable

MAX_SHOWN = 3


def leaf_notes(leaf: Certificate) -> Iterator[Note]:
    """What the judge lets pass and an administrator should know."""
    yield from _names(leaf)
    yield from _promises(leaf)
    if leaf.serial <= 0:
        yield note(Code.BAD_SERIAL, "warning", "its serial number is not positive", leaf.subject)


def _names(leaf: Certificate) -> Iterator[Note]:
    names = leaf.names
    if not names.dns and not names.addresses and names.common_name:
        text = "its only name is the common name"
        yield note(Code.COMMON_NAME_ONLY, "warning", text, leaf.subject)
    unusable = [name for name in names.dns if not usable_name(name)]
    if unusable:
        shown = ", ".join(printable(name) or "(empty)" for name in unusable[:MAX_SHOWN])
        more = f" and {len(unusable) - MAX_SHOWN} more" if len(unusable) > MAX_SHOWN else ""
        text = f"no host can have the name{'s' if len(unusable) > 1 else ''} {shown}{more}"
        yield note(Code.UNUSABLE_NAME, "warning", text, leaf.subject)


def _promises(leaf: Certificate) -> Iterator[Note]:
    try:
        features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
    except x509.ExtensionNotFound:
        return
    if x509.TLSFeatureType.status_request in features:
        text = "it promises a stapled OCSP answer (“must staple”), which the gateway does not send"
        yield note(Code.MUST_STAPLE, "warning", text, leaf.subject)


def rare_key(leaf: Certificate) -> str:
    """The kind of the key when many peers cannot do with it, else empty."""
    key = leaf.parsed.public_key()
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in ("secp256r1", "secp384r1"):
        return f"the curve {key.curve.name}"
    return ""
