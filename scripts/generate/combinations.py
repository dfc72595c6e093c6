"""docs/tls-combinations.md: what level, TLSA records and MTA-STS policy come to together, as `plan_tls` and `judge_tls` answer.

Nothing is written here by hand but the cases: each cell is asked of the two functions that every delivery asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.config.outbound import Dane
from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import NameMatch, TlsFacts, TlsLevel, TlsStage, TlsVerdict
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls
from gatepost.wire.mta_sts import Mode, StsPolicy

HEAD = """# Level, DANE and MTA-STS together

Made by `scripts/docs`: every cell is an answer of `plan_tls` and `judge_tls` in `src/gatepost/policy/tls_out.py`, which decide every delivery. DANE is `opportunistic` and
`mta_sts` is on; the MX records are signed, so a matching TLSA record speaks for the domain. [outgoing-tls.md](outgoing-tls.md) explains the rules.

A cell has three letters, for three hosts that a connection may meet: one **without STARTTLS**, one **with a certificate that nobody can verify**, and one **with a certificate that
a trusted authority made out for the host and the domain**. What its TLSA records say of a certificate is in the first column.

**C** delivered in clear, **E** delivered over TLS, nobody verified, **V** delivered over TLS to a verified host, **–** not sent there; next host; kept and tried again.

"""
LETTERS = {
    TlsVerdict.CLEAR: "C",
    TlsVerdict.ENCRYPTED: "E",
    TlsVerdict.VERIFIED: "V",
    TlsVerdict.REFUSED: "–",
}
HOST, DOMAIN = "mx.partner.example", "partner.example"
_RECORD = Tlsa(3, 1, 1, bytes(32))
_UNSOUND = Reason(ReasonCode.SELF_SIGNED, "self-signed certificate")
_NO_MATCH = Reason(ReasonCode.DANE_MISMATCH, "certificate matches none", AskedBy.DANE)


@dataclass(frozen=True)
class Records:
    """What DNS says of the host's TLSA records, and whether the certificate matches."""

    words: str
    answer: TlsaAnswer | None
    matches: bool = False


RECORDS = (
    Records("none, or the zone is not signed", TlsaAnswer(TlsaState.ABSENT, base=HOST)),
    Records("no resolver is believed", TlsaAnswer(TlsaState.UNAVAILABLE)),
    Records("could not be looked up", TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL")),
    Records("none of them usable", TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, bytes(32)),), HOST)),
    Records("usable, the certificate matches none", TlsaAnswer(TlsaState.FOUND, (_RECORD,), HOST)),
    Records("usable, the certificate matches", TlsaAnswer(TlsaState.FOUND, (_RECORD,), HOST), matches=True),
)
POLICIES = {
    "none": None,
    "testing": StsPolicy(Mode.TESTING, 86_400, (HOST,)),
    "enforced": StsPolicy(Mode.ENFORCE, 86_400, (HOST,)),
    "enforced, names other hosts": StsPolicy(Mode.ENFORCE, 86_400, ("other.example",)),
}


def page() -> str:
    heads = ["TLSA records", "MTA-STS policy", *(f"`{level.value}`" for level in TlsLevel)]
    rows = [_row(heads), _row(["---"] * len(heads))]
    for records in RECORDS:
        for words, policy in POLICIES.items():
            rows.append(_row([records.words, words, *(_cell(level, records, policy) for level in TlsLevel)]))
    return HEAD + "\n".join(rows) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(level: TlsLevel, records: Records, policy: StsPolicy | None) -> str:
    rule = DestinationRule(level, dane=Dane.OPPORTUNISTIC, mta_sts=True)
    hop = HopNames(DOMAIN, mx_host=HOST, mx_secure=True, mx_signed=True)
    sts = (DOMAIN, policy) if policy is not None else None
    plan = plan_tls(rule, hop, tlsa=records.answer, sts=sts)
    stages = [TlsFacts(TlsStage.NOT_OFFERED)]
    for sound in (False, True):
        match = NameMatch(plan.names[0], HOST) if sound and plan.names else None
        stages.append(
            TlsFacts(
                TlsStage.ESTABLISHED,
                chain_judged=True,
                chain_problem=None if sound else _UNSOUND,
                match=match,
                names_tried=plan.names,
                sts_match=sound,
                dane_match="DANE-EE 3 1 1" if records.matches else "",
                dane_problem=None if records.matches else _NO_MATCH,
            )
        )
    if not level.tries:
        stages = [TlsFacts(TlsStage.NOT_TRIED)] * 3
    return " ".join(LETTERS[judge_tls(plan, facts).verdict] for facts in stages)
