"""DKIM signatures for mail that the gateway itself writes (RFC 6376, RFC 8463). It signs; `dkim_verify` verifies.

Both canonicalisations are relaxed, so that a server on the way may fold header lines anew and trim blanks. The whole body is signed
(no `l=`, which RFC 8460 §3 forbids for reports). Of the fields that are asked for each that is there is signed, and `From` once more
than it is there, so that nobody can put a second one in front (RFC 6376 §8.15).

The key is a function: octets in, signature out, in the manner of the algorithm. What it holds is no business of this module.

Limits. The message is in memory, its lines end in CR LF, and its header is what the gateway wrote: at most one field of each name is
expected, of several the last is signed.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Sign = Callable[[bytes], bytes]
"""Makes a signature over octets: for `rsa-sha256` RSASSA-PKCS1-v1_5 with SHA-256, for `ed25519-sha256` PureEdDSA over their SHA-256."""

_BLANKS = re.compile(rb"[ \t]+")
_WIDTH = 72  # of a folded line


class Algorithm(StrEnum):
    """The `a=` tag (RFC 6376 §3.3.1, RFC 8463 §3)."""

    RSA_SHA256 = "rsa-sha256"
    ED25519_SHA256 = "ed25519-sha256"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key, and the name under which its public half is published: `SELECTOR._domainkey.DOMAIN`."""

    domain: str
    selector: str
    algorithm: Algorithm
    sign: Sign = field(repr=False)


def signature_field(message: bytes, signer: Signer, names: Sequence[str], at: float) -> bytes:
    """The whole `DKIM-Signature` field, to be put in front of the message. `names` are the fields to be signed."""
    header, _, body = message.partition(b"\r\n\r\n")
    fields = {name: (name, value) for name, value in _fields(header + b"\r\n")}
    signed = [name.lower() for name in names if name.lower() in fields]
    tags = (
        ("v", "1"),
        ("a", signer.algorithm.value),
        ("c", "relaxed/relaxed"),
        ("d", signer.domain),
        ("s", signer.selector),
        ("t", str(int(at))),
        ("h", ":".join([*signed, "from"])),
        ("bh", b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode("ascii")),
    )
    unsigned = _folded(tags) + b"\r\n b="
    pieces = [relaxed_field(*fields[name]) for name in signed]
    # RFC 6376 §3.7: the signature's own field comes last, with an empty b= and without a line end.
    own = relaxed_field("dkim-signature", unsigned.partition(b":")[2]).removesuffix(b"\r\n")
    signature = b64encode(signer.sign(b"".join([*pieces, own]))).decode("ascii")
    lines = [signature[i : i + _WIDTH] for i in range(0, len(signature), _WIDTH)]
    return unsigned + "\r\n ".join(lines).encode("ascii") + b"\r\n"


def sign_message(message: bytes, signers: Sequence[Signer], names: Sequence[str], at: float) -> bytes:
    """The message with a signature of each signer in front."""
    made = [signature_field(message, signer, names, at) for signer in signers]
    return b"".join([*made, message])


def relaxed_field(name: str, value: bytes) -> bytes:
    """One field in the relaxed form (RFC 6376 §3.4.2)."""
    plain = _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.lower().encode("ascii") + b":" + plain + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """A body in the relaxed form (RFC 6376 §3.4.4): blanks joined, those at line ends and empty lines at the end left out."""
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    # By replacing, not by searching for runs: a body of nothing but blanks costs neither time nor memory.
    plain = body.replace(b"\t", b" ")
    while b"  " in plain:
        plain = plain.replace(b"  ", b" ")
    plain = plain.replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return plain + b"\r\n" if plain else b""


def _fields(header: bytes) -> list[tuple[str, bytes]]:
    """Names in lower case, and values with their folds."""
    found: list[tuple[str, bytes]] = []
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and found:
            name, value = found[-1]
            found[-1] = (name, value + b"\r\n" + line)
        elif b":" in line:
            raw, _, value = line.partition(b":")
            found.append((raw.strip().decode("ascii", "replace").lower(), value))
    return found


def _folded(tags: Sequence[tuple[str, str]]) -> bytes:
    """The field with these tags, folded between tags and, within `h=`, behind colons (RFC 6376 §3.2)."""
    lines, line = [], "DKIM-Signature:"
    for name, value in tags:
        pieces = re.split(r"(?<=:)", f"{name}={value};") if name == "h" else [f"{name}={value};"]
        for number, piece in enumerate(pieces):
            blank = " " if line and number == 0 else ""
            if len(line) + len(blank) + len(piece) > _WIDTH:
                lines.append(line)
                line, blank = "", ""
            line += blank + piece
    return "\r\n ".join([*lines, line]).encode("ascii")
