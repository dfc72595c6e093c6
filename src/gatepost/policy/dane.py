"""DANE for SMTP: what a host's TLSA records ask of a delivery (RFC 7672; rules D1 to D8, architecture 4).

A destination asks for DANE *opportunistically* (records are heeded where there are any) or *mandatorily* (nothing goes to a host that
cannot be authenticated by them, or that unsigned MX records named: whoever changes those may name a host of his own, with records). Level `none` is final and knows no DANE (R23). What was published is never overruled by a level:
records that could not be looked up forbid the host, a certificate that matches none refuses the connection, records of which none is
usable still ask for TLS.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatepost.config.outbound import Dane
from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import DanePlan, NameSource, ReferenceName
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState, Usage, strongest
from gatepost.policy.destinations import DestinationRule


def plan_dane(
    rule: DestinationRule, answer: TlsaAnswer | None, names: tuple[str, str, str], *, domain_proven: bool
) -> tuple[DanePlan | None, Reason | None]:
    """What the records ask for, and why the host may not be used at all, if so.

    `answer` is None where nothing was looked up: the next hop is an address. `names` are the recipient domain, the
    route's host, and the MX host, which count beside the records' own name for an issuer's records (RFC 7672 §3.2.2).
    """
    if not rule.asks_dane:
        return None, None
    mandatory = rule.dane is Dane.MANDATORY
    if answer is None:
        return None, _lacking(ReasonCode.DANE_ADDRESS, "the next hop is an address") if mandatory else None
    match answer.state:
        case TlsaState.FAILED:
            text = f"its TLSA records could not be looked up: {answer.detail}"
            return None, Reason(ReasonCode.DANE_LOOKUP_FAILED, text, AskedBy.DANE)
        case TlsaState.UNAVAILABLE:
            return None, _lacking(ReasonCode.DANE_UNAVAILABLE, answer.detail) if mandatory else None
        case TlsaState.ABSENT:
            return None, _lacking(ReasonCode.DANE_ABSENT, answer.detail) if mandatory else None
        case TlsaState.FOUND if mandatory and not domain_proven:
            # RFC 7672 §2.2.1 lets only the opportunistic use go on from an unsigned MX (D8).
            text = f"the MX records of {names[1] or names[0]} are not signed"
            return None, _lacking(ReasonCode.DANE_UNSIGNED_MX, text)
        case TlsaState.FOUND:
            pass
    records = tuple(strongest(answer.records))
    if not records and mandatory:
        why = "; ".join(dict.fromkeys(record.unusable for record in answer.records))
        text = f"none of the TLSA records of {answer.base} is usable: {why}"
        return None, _lacking(ReasonCode.DANE_UNUSABLE, text)
    return DanePlan(answer.base, records, _names(answer.base, names), domain_proven), None


def _lacking(code: ReasonCode, what: str) -> Reason:
    """Why a host may not be used where the operator insists on DANE."""
    return Reason(code, f"DANE is mandatory for this destination, and {what}", AskedBy.DANE)


def _names(base: str, more: Sequence[str]) -> tuple[ReferenceName, ...]:
    plain = dict.fromkeys(name.rstrip(".").lower() for name in (base, *more) if name)
    return tuple(ReferenceName(name, NameSource.DNSSEC) for name in plain)


def record_name(record: Tlsa) -> str:
    """`DANE-EE 3 1 1`: the record in the words of the log."""
    kind = "DANE-EE" if record.usage == Usage.DANE_EE else "DANE-TA"
    return f"{kind} {record.usage} {record.selector} {record.matching}"
