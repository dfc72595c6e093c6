"""Why a certificate does not verify, asked in the order in which people look for it (R37).

A self-signed certificate is expected to fail, and that is the whole answer. One that an authority signed is walked through
its names (common name, the interface's host name, the MX records' names), then its intermediates (missing, duplicate, order),
then everything else (dates, key, hash, usage, trust). Pure: who asks brings the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.doctor import diagnose
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.findings import Code
from gatepost.pki.names import match_names, usable_name
from gatepost.pki.notes import Note
from gatepost.pki.revocation import NO_CRLS, Crls
from gatepost.pki.routes import Pool
from gatepost.pki.text import printable


class Outcome(StrEnum):
    """`expected` is a failure that is as it should be; `unknown` says that there was nothing to compare with."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED = "expected"
    UNKNOWN = "unknown"


class Question(StrEnum):
    """The steps, in their order."""

    SELF_SIGNED = "self-signed"
    COMMON_NAME = "common-name"
    HOST_NAME = "interface-host-name"
    MX_NAME = "mx-name"
    MISSING = "intermediates-missing"
    DUPLICATE = "intermediates-duplicate"
    ORDER = "intermediates-order"
    REST = "certificate-and-trust"


@dataclass(frozen=True, slots=True)
class Step:
    """One question with its answer; `repair` is empty where nothing has to be done."""

    question: Question
    outcome: Outcome
    text: str
    repair: str = ""


_OF_INTERMEDIATES = (
    (Question.MISSING, (Code.MISSING_INTERMEDIATE,), "no intermediate is missing"),
    (
        Question.DUPLICATE,
        (Code.DUPLICATE, Code.STALE, Code.UNRELATED),
        "no intermediate is there twice, stale or a stranger",
    ),
    (Question.ORDER, (Code.MISORDERED,), "the intermediates are in order"),
)
_EARLIER = frozenset(code for _, codes, _ in _OF_INTERMEDIATES for code in codes)


def troubleshoot(
    chain: Sequence[bytes],
    anchors: Anchors,
    now: float,
    *,
    host: str = "",
    mx: Sequence[str] = (),
    known: Sequence[bytes] | Pool = (),
    crls: Crls = NO_CRLS,
) -> tuple[Step, ...]:
    """Walk through a chain as it is sent. `host` is the interface's host name, `mx` the names in the domain's MX records."""
    findings = diagnose(chain, anchors, now, known=known, crls=crls).findings
    leaf = _leaf(chain)
    if leaf is None:
        return tuple(_rest(findings))
    alone = next((found for found in findings if found.code == Code.SELF_SIGNED), None)
    if alone is not None:
        text = "it is self-signed, so it is expected to fail verification; TLS works all the same"
        return (Step(Question.SELF_SIGNED, Outcome.EXPECTED, text, alone.repair),)
    return (
        Step(Question.SELF_SIGNED, Outcome.PASSED, f"it was signed by {leaf.issuer}"),
        _common_name(leaf),
        _host_name(leaf, host),
        _mx_name(leaf, mx, host),
        *(_step(question, _with(findings, codes), well) for question, codes, well in _OF_INTERMEDIATES),
        *_rest(findings),
    )


def first_failure(steps: Sequence[Step]) -> Step | None:
    """The answer to “why”: the first step that did not pass."""
    return next((step for step in steps if step.outcome in (Outcome.FAILED, Outcome.EXPECTED)), None)


def _leaf(chain: Sequence[bytes]) -> Certificate | None:
    try:
        return read_certificate(chain[0]) if chain else None
    except MalformedCertificate:
        return None


def _common_name(leaf: Certificate) -> Step:
    """The name in the subject counts only where there is no alternative name (RFC 9525 §2), so it should be among those."""
    names = leaf.names
    common = printable(names.common_name)
    others = [name for name in names.dns if usable_name(name)]
    if not others and not names.addresses and not usable_name(names.common_name):
        text = f"it carries no name that a host can have (common name: {common or 'none'})"
        return Step(Question.COMMON_NAME, Outcome.FAILED, text, "have it issued for the host's name")
    same = [name for name in others if name.casefold() == names.common_name.casefold()]
    if others and common and usable_name(names.common_name) and not same:
        text = f"its common name {common} is not among its alternative names, and so counts for nothing"
        repair = "have it issued again with that name as subject alternative name, if it matters"
        return Step(Question.COMMON_NAME, Outcome.FAILED, text, repair)
    return Step(Question.COMMON_NAME, Outcome.PASSED, f"its names are {', '.join(names.texts(5))}")


def _host_name(leaf: Certificate, host: str) -> Step:
    if not host:
        return Step(Question.HOST_NAME, Outcome.UNKNOWN, "no host name of an interface to compare with")
    if _carries(leaf, host):
        return Step(Question.HOST_NAME, Outcome.PASSED, f"it is valid for the interface's host name {host}")
    text = f"it is not valid for the interface's host name {host}"
    repair = f"use a certificate for {host}, or give the interface the certificate's name"
    return Step(Question.HOST_NAME, Outcome.FAILED, text, repair)


def _mx_name(leaf: Certificate, mx: Sequence[str], host: str) -> Step:
    if not mx:
        return Step(Question.MX_NAME, Outcome.UNKNOWN, "no MX record to compare with")
    wrong = [name for name in mx if not _carries(leaf, name)]
    if wrong:
        text = f"it is not valid for {', '.join(map(printable, wrong))}, which the MX records name"
        repair = "let the MX record name a host of the certificate, or have it issued for the MX name"
        return Step(Question.MX_NAME, Outcome.FAILED, text, repair)
    text = f"it is valid for {', '.join(map(printable, mx))}, which the MX records name"
    if host and not any(_folded(name) == _folded(host) for name in mx):
        text += f"; the interface calls itself {host}"
    return Step(Question.MX_NAME, Outcome.PASSED, text)


def _folded(name: str) -> str:
    return name.removesuffix(".").casefold()


def _carries(leaf: Certificate, name: str) -> bool:
    return match_names(leaf.names, [ReferenceName(name.removesuffix("."), NameSource.OPERATOR)]) is not None


def _with(findings: Sequence[Note], codes: Sequence[Code]) -> list[Note]:
    return [found for found in findings if found.code in codes]


def _step(question: Question, found: Sequence[Note], well: str) -> Step:
    if not found:
        return Step(question, Outcome.PASSED, well)
    return Step(question, Outcome.FAILED, "; ".join(note.text for note in found), found[0].repair)


def _rest(findings: Sequence[Note]) -> Iterator[Step]:
    """What breaks verification and is none of the above; one step for each, or one that says that there is nothing."""
    rest = [note for note in findings if note.severity == "error" and note.code not in _EARLIER]
    for note in rest:
        yield Step(Question.REST, Outcome.FAILED, note.text, note.repair)
    if not rest:
        yield Step(Question.REST, Outcome.PASSED, "dates, key, hash, usage and trust are in order")
