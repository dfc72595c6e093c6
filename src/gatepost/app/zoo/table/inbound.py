"""C37 to C40 as far as they are about mail that comes in, or about reports: no inhabitant can show them."""

from __future__ import annotations

from gatepost.app.zoo.table.shape import StruckOut

STRUCK_OUT = (
    StruckOut(
        "C37",
        "all of it",
        "REQUIRETLS is a wish of one message, not of a domain: tests/policy/test_requiretls.py",
    ),
    StruckOut("C38", "all of it", "TLSRPT is about reports, not about deliveries"),
    StruckOut("C39", "all of it", "sessions are never resumed, in neither direction: tests/net/test_tls.py"),
    StruckOut(
        "C40",
        "certificates that clients show to us: authorities, names, revocation, late rejection",
        "incoming: tests/way/test_client_certificates.py, tests/live/test_client_certificates.py",
    ),
)
