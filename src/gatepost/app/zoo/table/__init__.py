"""The zoo's table: every inhabitant, and what is to come of mail for it under each setting.

`shape` has the types, `expect` the outcomes that many share; the families are one module each. `INHABITANTS` is the whole,
`FAMILIES` the same under headings, `STRUCK_OUT` names the cases that have no inhabitant, and why.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatepost.app.zoo.table import certificates, dane, dane_dns, inbound, names, sessions, sts
from gatepost.app.zoo.table.shape import Column, Inhabitant, Outcome, StruckOut, Verdict

__all__ = ["FAMILIES", "INHABITANTS", "STRUCK_OUT", "Column", "Inhabitant", "Outcome", "StruckOut", "Verdict"]

FAMILIES: Mapping[str, tuple[Inhabitant, ...]] = {
    "Sessions": sessions.INHABITANTS,
    "Certificates": certificates.INHABITANTS,
    "Names in certificates": names.INHABITANTS,
    "DANE: records": dane.INHABITANTS,
    "DANE: DNS and DNSSEC": dane_dns.INHABITANTS,
    "MTA-STS": sts.INHABITANTS,
}
"""The inhabitants by what is wrong with them, under headings for people."""

INHABITANTS: tuple[Inhabitant, ...] = tuple(one for family in FAMILIES.values() for one in family)
STRUCK_OUT: tuple[StruckOut, ...] = (
    *sessions.STRUCK_OUT,
    *certificates.STRUCK_OUT,
    *dane_dns.STRUCK_OUT,
    *sts.STRUCK_OUT,
    *inbound.STRUCK_OUT,
)
