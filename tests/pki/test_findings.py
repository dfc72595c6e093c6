"""What breaks a chain is a reason with a code of its own, spelt as the finding's."""

from __future__ import annotations

import pytest

from gatepost.core.reasons import ReasonCode
from gatepost.pki.findings import OPENSSL_ERRORS, UNANCHORED, Code, Finding

BREAKING = {code for code, _ in OPENSSL_ERRORS.values()} | UNANCHORED
BREAKING |= {Code.WEAK_KEY, Code.WEAK_HASH, Code.NO_CERTIFICATE, Code.REVOKED, Code.CRL_STALE, Code.INVALID}


@pytest.mark.parametrize("code", sorted(BREAKING))
def test_a_finding_as_a_reason(code: Code) -> None:
    reason = Finding(0, code, "why").reason
    assert (reason.code.value, reason.text) == (code.value, "why")


def test_what_never_breaks_a_chain_has_no_reason_of_its_own() -> None:
    assert Finding(0, Code.ROOT_INCLUDED, "why").reason.code is ReasonCode.INVALID
