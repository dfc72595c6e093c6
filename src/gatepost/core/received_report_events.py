"""Events of TLS reports about our own domains that came in (RFC 8460): read and kept, or not to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.core.event import Event, Level

# --- TLS reports that came in -----------------------------------------------------------------------


@dataclass(slots=True)
class TlsReportReceived(Event):
    """`way` is `mail`, `https` or `file`, `origin` who brought it (envelope sender, address, who imported it). `domains` are ours that it
    is about; `results` are counts of failed sessions by result type. `submitter_verified` says whether a DKIM signature proves the submitter,
    `signer` is the domain that signed, and `reason` says why it is, or is not."""

    report: int
    organization: str
    domains: list[str]
    begin: int
    end: int
    successful: int
    failed: int
    results: dict[str, int]
    way: str
    origin: str
    submitter_verified: bool = False
    signer: str = ""
    reason: str = ""


@dataclass(slots=True)
class TlsReportJudged(Event):
    """The signature of a report whose key could not be looked up at first was judged, or is given up; the fields are as above."""

    report: int
    organization: str
    submitter_verified: bool
    signer: str
    reason: str


@dataclass(slots=True)
class TlsReportRefused(Event):
    """What came as a report and is none that counts; `kept` is the name of the file that it was put aside as, or empty."""

    level: ClassVar[Level] = "Warning"
    way: str
    origin: str
    reason: str
    kept: str
