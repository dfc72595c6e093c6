"""Reasons as `pki` gives them, for facts that a test makes up."""

from __future__ import annotations

from gatepost.core.reasons import AskedBy, Reason, ReasonCode

CHAIN_EXPIRED = Reason(ReasonCode.EXPIRED, "certificate has expired")
CHAIN_SELF_SIGNED = Reason(ReasonCode.SELF_SIGNED, "self-signed certificate")


def no_record(text: str) -> Reason:
    """The certificate matches none of the TLSA records."""
    return Reason(ReasonCode.DANE_MISMATCH, text, AskedBy.DANE)
