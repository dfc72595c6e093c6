"""What can be wrong with a chain: stable codes, our own texts, and where in the chain it is.

Codes that the contract lists keep its spelling (contract/README.md, Output); the others are ours. OpenSSL's own
texts change between versions; these do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.reasons import Reason, ReasonCode
from gatepost.pki.certificate import Certificate


class Code(StrEnum):
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    SELF_SIGNED = "self-signed"
    MISSING_INTERMEDIATE = "missing-intermediate"
    WEAK_KEY = "weak-key"
    WEAK_HASH = "weak-hash"
    WRONG_USAGE = "wrong-usage"
    UNTRUSTED_ROOT = "untrusted-root"
    BAD_SIGNATURE = "bad-signature"
    NOT_A_CA = "not-a-ca"
    CA_AS_HOST = "ca-as-host"
    PATH_LENGTH = "path-length"
    TOO_LONG = "too-long"
    NAME_CONSTRAINTS = "name-constraints"
    UNKNOWN_CRITICAL = "unknown-critical-extension"
    MALFORMED = "malformed"
    NO_CERTIFICATE = "no-certificate"
    REVOKED = "revoked"
    CRL_STALE = "crl-stale"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    STALE = "stale"
    MISORDERED = "misordered"
    UNRELATED = "unrelated"
    ROOT_INCLUDED = "root-included"
    CROSS_SIGN = "cross-sign"
    EXPIRES_SOON = "expires-soon"
    KEY_MISMATCH = "key-mismatch"
    NAME_MISMATCH = "name-mismatch"
    COMMON_NAME_ONLY = "common-name-only"
    UNUSABLE_NAME = "unusable-name"
    MUST_STAPLE = "must-staple"
    BAD_SERIAL = "bad-serial"
    RARE_KEY = "rare-key"
    DEMO = "demo"


_REASONS = {code: ReasonCode(code.value) for code in Code if code.value in set(ReasonCode)}

UNANCHORED = frozenset({Code.SELF_SIGNED, Code.MISSING_INTERMEDIATE, Code.UNTRUSTED_ROOT})
"""The ways in which a chain does not reach a trusted root; one of them is enough to say so."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation. `depth` 0 is the host's own certificate; `breaks` says that the chain is not to be trusted.

    `subject` and `issuer` belong to the certificate that has the problem; they may be empty.
    """

    depth: int
    code: Code
    text: str
    subject: str = ""
    issuer: str = ""
    breaks: bool = True

    @property
    def reason(self) -> Reason:
        """The finding as the reason of a judgement."""
        return Reason(_REASONS.get(self.code, ReasonCode.INVALID), self.text)


def finding(depth: int, code: Code, text: str, certificate: Certificate, *, breaks: bool = True) -> Finding:
    """A finding about a certificate that could be read."""
    return Finding(depth, code, text, certificate.subject, certificate.issuer, breaks)


_NO_ISSUER = (Code.MISSING_INTERMEDIATE, "unable to get local issuer certificate")
_MALFORMED = (Code.MALFORMED, "certificate cannot be read")
_CONSTRAINT = (Code.NAME_CONSTRAINTS, "name constraints cannot be applied")

OPENSSL_ERRORS: dict[int, tuple[Code, str]] = {
    2: _NO_ISSUER,
    4: _MALFORMED,
    6: _MALFORMED,
    7: (Code.BAD_SIGNATURE, "certificate signature failure"),
    9: (Code.NOT_YET_VALID, "certificate is not yet valid"),
    10: (Code.EXPIRED, "certificate has expired"),
    13: _MALFORMED,
    14: _MALFORMED,
    18: (Code.SELF_SIGNED, "self-signed certificate"),
    19: (Code.UNTRUSTED_ROOT, "self-signed certificate in certificate chain"),
    20: _NO_ISSUER,
    21: _NO_ISSUER,
    22: (Code.TOO_LONG, "certificate chain too long"),
    24: (Code.NOT_A_CA, "issuing certificate is not a CA"),
    25: (Code.PATH_LENGTH, "path length constraint exceeded"),
    26: (Code.WRONG_USAGE, "certificate is not for this purpose"),
    32: (Code.WRONG_USAGE, "key usage does not include certificate signing"),
    34: (Code.UNKNOWN_CRITICAL, "unknown critical extension"),
    40: (Code.WRONG_USAGE, "proxy certificate"),
    41: _MALFORMED,
    42: _MALFORMED,
    47: (Code.NAME_CONSTRAINTS, "name outside the permitted subtrees of its issuer"),
    48: (Code.NAME_CONSTRAINTS, "name inside an excluded subtree of its issuer"),
    49: _CONSTRAINT,
    51: _CONSTRAINT,
    52: _CONSTRAINT,
    53: _CONSTRAINT,
    79: (Code.NOT_A_CA, "issuing certificate is not a CA"),
}
"""X509_V_ERR_* (x509_vfy.h, part of the ABI) to code and text."""
