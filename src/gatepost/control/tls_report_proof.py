"""What proves whom a report is from: the signatures that its reader found, the keys that the DNS holds, and what is kept of both.

A key that could not be looked up leaves the signatures waiting: they are kept with the report, a few hundred octets each, and are asked for
again later without the mail. After a day that ends, and the report stays what it is, unverified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gatepost.control.tls_report_keys import KeyLookUps
from gatepost.policy.tls_report_trust import is_of, next_look_up, trust, unsigned
from gatepost.store.tls_reports_received import Proof, ReportRow
from gatepost.wire.dkim_verify import DkimResult, KeyAnswer, judge
from gatepost.wire.tlsrpt_signed import SignedMail, read_signed_mail


async def first_proof(signed: Mapping[str, Any] | None, way: str, keys: KeyLookUps, now: float) -> Proof:
    """Of a report that has just come. `signed` is what its reader found in the mail, None where there was none."""
    if signed is None:
        found = unsigned(way)
        return Proof(found.verified, found.result.value, found.domain, found.reason)
    return await _proof(read_signed_mail(signed), keys, now, now)


async def next_proof(row: ReportRow, keys: KeyLookUps, now: float) -> Proof:
    """Of a report whose keys could not be looked up before; `row.proof.waiting` is there."""
    return await _proof(read_signed_mail(orjson.loads(row.proof.waiting)), keys, row.at, now)


async def _proof(mail: SignedMail, keys: KeyLookUps, since: float, now: float) -> Proof:
    answers = await keys.ask(claim.key_name for claim in mail.claims)
    judged = [judge(claim, answers.get(claim.key_name, KeyAnswer())) for claim in mail.claims]
    found = trust(mail, judged)
    proof = Proof(found.verified, found.result.value, found.domain, found.reason)
    if found.result is not DkimResult.TEMPORARY or not is_of(found.domain, mail):
        return proof
    due = next_look_up(since, now)
    if due is None:
        return proof
    return Proof(False, proof.result, proof.signer, proof.reason, orjson.dumps(mail.plain()), due)
