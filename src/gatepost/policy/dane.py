"""DANE for SMTP: what a host's TLSA records ask of a delivery (RFC 7672; rules D1 to D8, architecture 4).

A destination asks for DANE *opportunistically* (records are heeded where there are any) or *mandatorily* (nothing goes to a host that
cannot be authenticated by them, or that unsigned MX records named: whoever changes those may name a host of his own, with records). Level `none` is final and knows no DANE (R23). What was published is never overruled by a level:
records that could not be looked up forbid the host, a certificate that matches none refuses the connection, records of which none is
usable still ask for TLS.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatepost.config.outbound import Dane
from gatepost.core.tls import DanePlan, NameSource, ReferenceName
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState, Usage, strongest
from gatepost.policy.destinations import DestinationRule

MANDATORY = "DANE is mandatory for this destination, and"
NOT_LOOKED_UP = "its TLSA records could not be looked up:"
UNUSABLE = "none of the TLSA records of"


def plan_dane(
    rule: DestinationRule, answer: TlsaAnswer | None, names: tuple[str, str, str], *, domain_proven: bool
) -> tuple[DanePlan | None, str]:
    """What the records ask for, and why the host may not be used at all, if so.

    `answer` is None where nothing was looked up: the next hop is an address. `names` are the recipient domain, the
    route's host, and the MX host, which count beside the records' own name for an issuer's records (RFC 7672 §3.2.2).
    """
    if not rule.asks_dane:
        return None, ""
    mandatory = rule.dane is Dane.MANDATORY
    if answer is None:
        return None, f"{MANDATORY} the next hop is an address" if mandatory else ""
    match answer.state:
        case TlsaState.FAILED:
            return None, f"{NOT_LOOKED_UP} {answer.detail}"
        case TlsaState.UNAVAILABLE | TlsaState.ABSENT:
            return None, f"{MANDATORY} {answer.detail}" if mandatory else ""
        case TlsaState.FOUND if mandatory and not domain_proven:
            # RFC 7672 §2.2.1 lets only the opportunistic use go on from an unsigned MX (D8).
            return None, f"{MANDATORY} the MX records of {names[1] or names[0]} are not signed"
        case TlsaState.FOUND:
            pass
    records = tuple(strongest(answer.records))
    if not records and mandatory:
        why = "; ".join(dict.fromkeys(record.unusable for record in answer.records))
        return None, f"{MANDATORY} {UNUSABLE} {answer.base} is usable: {why}"
    return DanePlan(answer.base, records, _names(answer.base, names), domain_proven), ""


def _names(base: str, more: Sequence[str]) -> tuple[ReferenceName, ...]:
    plain = dict.fromkeys(name.rstrip(".").lower() for name in (base, *more) if name)
    return tuple(ReferenceName(name, NameSource.DNSSEC) for name in plain)


def record_name(record: Tlsa) -> str:
    """`DANE-EE 3 1 1`: the record in the words of the log."""
    kind = "DANE-EE" if record.usage == Usage.DANE_EE else "DANE-TA"
    return f"{kind} {record.usage} {record.selector} {record.matching}"
