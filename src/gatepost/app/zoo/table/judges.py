"""Who else judges the DANE inhabitants, and where another program does not come to the same verdict, with the reason.

Only `posttls-finger` walks the whole way of a mail. `openssl s_client` is given the records and looks up nothing; `ldns-dane` looks up the
records and is given the certificates, since it speaks no SMTP. Neither knows of domains, MX records, or a second host.
"""

from __future__ import annotations

from gatepost.app.zoo.table import dane, dane_dns, sessions, sts
from gatepost.app.zoo.table.shape import Dissent, Inhabitant, Judge

JUDGED: tuple[Inhabitant, ...] = (
    *dane.INHABITANTS,
    *dane_dns.INHABITANTS,
    *(one for one in (*sessions.INHABITANTS, *sts.INHABITANTS) if one.tlsa),
)

_ONE_HOST = "looks at one host, and the domain's second one is the good one"
_HOST_ONLY = "looks at the host, which is verified; that nobody vouches for the MX records it does not see"
_ONE_NAME = "takes the host's name alone; RFC 7672 §3.2.2 lets the domain's count as well"
_EE_NAME = "minds the name in a DANE-EE certificate, which RFC 7672 §3.1.1 tells clients not to look at"


def _cannot(inhabitant: str, judge: Judge, why: str) -> Dissent:
    return Dissent(inhabitant, judge, False, why)


def _differs(inhabitant: str, judge: Judge, why: str) -> Dissent:
    return Dissent(inhabitant, judge, True, why)


DISSENTS: tuple[Dissent, ...] = (
    *(_cannot("dane-second-host", judge, _ONE_HOST) for judge in Judge),
    *(
        _cannot(name, judge, _HOST_ONLY)
        for name in ("smart-mx", "smart-mx-wrong")
        for judge in (Judge.OPENSSL, Judge.LDNS_DANE)
    ),
    _cannot("ta-domain-name", Judge.OPENSSL, _ONE_NAME),
    _differs("ta-domain-name", Judge.LDNS_DANE, _ONE_NAME),
    _differs("ee-anyhow", Judge.LDNS_DANE, _EE_NAME),
    _differs("host-alias", Judge.LDNS_DANE, _EE_NAME),
)
