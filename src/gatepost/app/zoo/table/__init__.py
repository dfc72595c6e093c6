"""The zoo's table: every inhabitant, and what is to come of mail for it under each setting.

`shape` has the types, `expect` the outcomes that many share; the families are one module each. `INHABITANTS` is the whole,
`STRUCK_OUT` names the cases that have no inhabitant, and why.
"""

from __future__ import annotations

from gatepost.app.zoo.table import certificates, dane, dane_dns, inbound, names, sessions, sts
from gatepost.app.zoo.table.shape import Column, Inhabitant, Outcome, StruckOut, Verdict

__all__ = ["INHABITANTS", "STRUCK_OUT", "Column", "Inhabitant", "Outcome", "StruckOut", "Verdict"]

INHABITANTS: tuple[Inhabitant, ...] = (
    *sessions.INHABITANTS,
    *certificates.INHABITANTS,
    *names.INHABITANTS,
    *dane.INHABITANTS,
    *dane_dns.INHABITANTS,
    *sts.INHABITANTS,
)
STRUCK_OUT: tuple[StruckOut, ...] = (
    *sessions.STRUCK_OUT,
    *certificates.STRUCK_OUT,
    *dane_dns.STRUCK_OUT,
    *sts.STRUCK_OUT,
    *inbound.STRUCK_OUT,
)
