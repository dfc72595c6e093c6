"""Why TLS was or was not as it should be: a code for programs, and beside it the sentence for people.

The code is given where the judgement is made and travels with the sentence, through plans, facts, outcomes and events into the records.
Whoever counts or compares looks at the code; the sentence may be put better at any time. Codes are stable: they stand in the JSON
log and in stored records, and a certificate's are spelt as `pki.findings` spells them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """All that may be said of TLS to or from a host."""

    # how far TLS got
    NO_ESMTP = "no-esmtp"
    NOT_OFFERED = "starttls-not-offered"
    STARTTLS_REFUSED = "starttls-refused"
    HANDSHAKE_FAILED = "handshake-failed"
    SWITCHED_OFF = "tls-switched-off"
    GIVEN_UP = "tls-given-up"
    NOT_TRIED = "starttls-not-tried"

    # what was found of the certificate
    VERIFIED = "verified"
    NOT_JUDGED = "not-judged"
    NAME_MISMATCH = "name-mismatch"
    UNSIGNED_NAME = "unsigned-name"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    SELF_SIGNED = "self-signed"
    MISSING_INTERMEDIATE = "missing-intermediate"
    UNTRUSTED_ROOT = "untrusted-root"
    WEAK_KEY = "weak-key"
    WEAK_HASH = "weak-hash"
    WRONG_USAGE = "wrong-usage"
    BAD_SIGNATURE = "bad-signature"
    NOT_A_CA = "not-a-ca"
    PATH_LENGTH = "path-length"
    TOO_LONG = "too-long"
    NAME_CONSTRAINTS = "name-constraints"
    UNKNOWN_CRITICAL = "unknown-critical-extension"
    MALFORMED = "malformed"
    NO_CERTIFICATE = "no-certificate"
    REVOKED = "revoked"
    CRL_STALE = "crl-stale"
    INVALID = "invalid"

    # DANE
    DANE_MISMATCH = "dane-mismatch"
    DANE_LOOKUP_FAILED = "dane-lookup-failed"
    DANE_ADDRESS = "dane-address"
    DANE_UNAVAILABLE = "dane-unavailable"
    DANE_ABSENT = "dane-absent"
    DANE_UNSIGNED_MX = "dane-unsigned-mx"
    DANE_UNUSABLE = "dane-unusable"

    # MTA-STS
    STS_NOT_LISTED = "sts-not-listed"
    STS_FETCH_FAILED = "sts-fetch-failed"
    STS_WEB_TLS = "sts-web-tls"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_RECORD_INVALID = "sts-record-invalid"

    # REQUIRETLS
    REQUIRETLS_OFF = "requiretls-off"
    REQUIRETLS_UNPROVEN = "requiretls-unproven"
    REQUIRETLS_DOUBT = "requiretls-doubt"

    # of senders
    SENDER_IN_CLEAR = "sender-in-clear"
    CLIENT_NOT_ACCEPTED = "client-not-accepted"


class AskedBy(StrEnum):
    """Whose demand a reason speaks of."""

    RULE = "rule"  # the operator's level, or what the operator asks of a sender
    DANE = "dane"
    MTA_STS = "mta-sts"
    REQUIRETLS = "requiretls"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: `text` is the bare sentence, without what a log line puts in front of it or behind."""

    code: ReasonCode
    text: str
    asked_by: AskedBy = AskedBy.RULE

    def __str__(self) -> str:
        return self.text
