"""Whether a chain is the one that TLSA records speak of (RFC 7672 §3.1, RFC 7671).

DANE-EE: the host's own certificate or key is the one of the record; its names and dates do not matter, the signed zone speaks for both
(D6). DANE-TA: a certificate that was sent along, or that stands whole in DNS, is the record's; the host's certificate leads to it, is in
date and good for a server, and carries one of the names. Where only the issuer's key stands whole in DNS, the certificate that it
signed stands in the issuer's place (RFC 7671 §5.2.3). One record that matches is enough. Never raises for what a peer sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import DanePlan, ReferenceName
from gatepost.core.tlsa import Matching, Selector, Tlsa, Usage
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate, signed_with
from gatepost.pki.checks import Purpose, check_path
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.names import match_names
from gatepost.pki.path import find_path

MAX_SENT = 10  # certificates of a chain that are looked at
_NAMES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class DaneVerdict:
    """The record that matched, or why none did."""

    record: Tlsa | None
    problem: Reason | None = None


def judge_dane(chain: Sequence[bytes], plan: DanePlan, now: float) -> DaneVerdict:
    """Judge the DER certificates that a peer sent, its own first, by the plan's records at `now`."""
    if not chain:
        return _none(ReasonCode.NO_CERTIFICATE, "no certificate was sent")
    try:
        leaf = read_certificate(chain[0])
    except MalformedCertificate as error:
        return _none(ReasonCode.MALFORMED, error.text)
    own = [record for record in plan.records if record.usage == Usage.DANE_EE]
    for record in own:
        if record.matches(leaf.der, leaf.public_key_der):
            return DaneVerdict(record)
    issuers = [record for record in plan.records if record.usage == Usage.DANE_TA]
    others = _readable(chain[1:MAX_SENT])
    problem = None
    for record in issuers:
        for anchor in _anchors(record, leaf, others):
            problem = _problem(leaf, others, anchor, plan.names, now)
            if problem is None:
                return DaneVerdict(record)
    if problem is None:
        what = "issuers are" if not own else "certificate and issuers are" if issuers else "certificate is"
        return _none(ReasonCode.DANE_MISMATCH, f"{what} not of the TLSA records of {plan.base}")
    return DaneVerdict(None, replace(problem, asked_by=AskedBy.DANE))


def _none(code: ReasonCode, text: str) -> DaneVerdict:
    return DaneVerdict(None, Reason(code, text, AskedBy.DANE))


def _readable(chain: Sequence[bytes]) -> list[Certificate]:
    read = []
    for der in chain:
        try:
            read.append(read_certificate(der))
        except MalformedCertificate:
            continue
    return read


def _anchors(record: Tlsa, leaf: Certificate, sent: Sequence[Certificate]) -> list[Certificate]:
    """The certificates that the record names: among those that were sent, or the one that it holds, or those that its key signed."""
    found = [one for one in sent if record.matches(one.der, one.public_key_der)]
    if found or record.matching != Matching.FULL:
        return found
    if record.selector == Selector.CERTIFICATE:
        return _readable([record.data])
    return [one for one in (*sent, leaf) if signed_with(one.parsed, record.data)]


def _problem(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchor: Certificate,
    names: Sequence[ReferenceName],
    now: float,
) -> Reason | None:
    """What keeps the host's certificate from resting on this anchor; None when it does."""
    path = find_path(leaf, others, [anchor], Anchors([anchor]), now, partial=True)
    if path.failure is not None:
        return path.failure.reason
    for found in check_path(path.certificates, anchored=True, now=now, purpose=Purpose.SERVER):
        if found.breaks:
            return found.reason
    if match_names(leaf.der, names) is None:
        tried = ", ".join(name.name for name in names)
        shown = leaf.described().shown_names(_NAMES_SHOWN)
        text = f"host name mismatch: {tried} not in {shown or 'a certificate without names'}"
        return Reason(ReasonCode.NAME_MISMATCH, text)
    return None
