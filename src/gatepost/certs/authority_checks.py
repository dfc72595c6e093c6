"""What is looked at when authorities are imported, and what a list says of each that is there (R11, asyncos 1.4).

An import leaves out, and names, what could never verify anybody: an expired certificate, one that is no authority (CA flag absent or false), one
that is there already, and an intermediate whose root is neither in the file nor in a list. The rest is taken; a weak key, a date in the
future or a root in a list that is switched off are warned about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatepost.certs.times import iso_time
from gatepost.pki.certificate import Certificate, signed_by
from gatepost.pki.checks import Purpose, check_intermediate
from gatepost.pki.findings import Code, Finding
from gatepost.pki.notes import Note
from gatepost.policy.expiry import Life, State, state

ROOT_MISSING = "root-missing"
ROOT_OFF = "root-off"
_MAX_STEPS = 10
_USELESS = "no peer can be verified with it"


@dataclass(frozen=True, slots=True)
class Lists:
    """The authorities that are there: the custom list, and the system's with whether that is on."""

    custom: tuple[Certificate, ...]
    system: tuple[Certificate, ...]
    system_on: bool


@dataclass(frozen=True, slots=True)
class Sorted:
    """An import: what is taken, and the findings about what is, and about what is left out."""

    taken: tuple[Certificate, ...]
    warnings: tuple[Note, ...]
    left_out: tuple[Note, ...]

    @property
    def nothing_new(self) -> bool:
        """Nothing was wrong with the file, it was only known already."""
        return not self.taken and all(note.code == Code.DUPLICATE.value for note in self.left_out)


def sort_import(new: Sequence[Certificate], lists: Lists, now: float) -> Sorted:
    """Decide about every certificate of a file that is to be added to the custom list."""
    taken: list[Certificate] = []
    warnings: list[Note] = []
    left_out: list[Note] = []
    known = {certificate.der for certificate in lists.custom}
    together = Lists((*lists.custom, *new), lists.system, lists.system_on)
    for certificate in new:
        notes = authority_findings(certificate, together, now)
        if certificate.der in known:
            text = f"{certificate.subject} is there already"
            left_out.append(_note(Code.DUPLICATE.value, "warning", text, certificate))
            continue
        known.add(certificate.der)
        against = [note for note in notes if note.severity == "error" and note.code in _SHUT_OUT]
        if against:
            left_out.append(against[0])
            continue
        taken.append(certificate)
        warnings += notes
    return Sorted(tuple(taken), tuple(warnings), tuple(left_out))


_SHUT_OUT = frozenset({Code.EXPIRED.value, Code.NOT_A_CA.value, ROOT_MISSING})


def authority_findings(certificate: Certificate, lists: Lists, now: float) -> tuple[Note, ...]:
    """What is to be said of a certificate of the lists."""
    return tuple(_notes(certificate, lists, now))


def _notes(certificate: Certificate, lists: Lists, now: float) -> Iterator[Note]:
    subject = certificate.subject
    if not certificate.is_ca:
        yield _note(
            Code.NOT_A_CA.value,
            "error",
            f"{subject} is not the certificate of an authority: its CA flag is not set",
            certificate,
            repair="take the certificate of the authority that signed it",
            meaning=_USELESS,
        )
    for found in check_intermediate(0, certificate, now, Purpose.SERVER):
        if (
            found.code is not Code.WEAK_HASH or not certificate.self_signed
        ):  # nobody trusts a root for its signature
            yield _checked(found, certificate)
    if now <= certificate.not_after and _ends_soon(certificate, now):
        yield _note(
            Code.EXPIRES_SOON.value,
            "warning",
            f"{subject} expires on {iso_time(certificate.not_after)[:10]}",
            certificate,
            repair="get the authority's next certificate and import it",
            meaning="from that day on it verifies nobody",
        )
    if not certificate.self_issued:
        yield from _root(certificate, lists)


def _ends_soon(certificate: Certificate, now: float) -> bool:
    return state(Life(certificate.not_before, certificate.not_after), now) is not State.VALID


def _checked(found: Finding, certificate: Certificate) -> Note:
    subject = certificate.subject
    match found.code:
        case Code.EXPIRED:
            text = f"{subject} has expired on {iso_time(certificate.not_after)[:10]}"
            repair = "import the authority's current certificate"
            return _note(found.code.value, "error", text, certificate, repair=repair, meaning=_USELESS)
        case Code.NOT_YET_VALID:
            text = f"{subject} is not valid before {iso_time(certificate.not_before)[:10]}"
            return _note(found.code.value, "warning", text, certificate, meaning=f"until then {_USELESS}")
        case _:
            repair = "ask the authority for a certificate that peers accept"
            text = f"{subject}: {found.text}"
            return _note(found.code.value, "error", text, certificate, repair=repair, meaning=_USELESS)


def _root(certificate: Certificate, lists: Lists) -> Iterator[Note]:
    """An intermediate is of use only where its root is trusted."""
    custom = list(lists.custom)
    if _leads_to_root(certificate, custom + (list(lists.system) if lists.system_on else [])):
        return
    if _leads_to_root(certificate, [*custom, *lists.system]):
        text = f"the root above {certificate.subject} is in the system's list, which is off"
        repair = "import the root, or `gatepost ca enable system`"
        yield _note(ROOT_OFF, "warning", text, certificate, repair=repair, meaning=_USELESS)
        return
    yield _note(
        ROOT_MISSING,
        "error",
        f"{certificate.subject} is an intermediate, and the root above it is in no list",
        certificate,
        repair=f"import it together with the root; it was signed by {certificate.issuer}",
        meaning=_USELESS,
    )


def _leads_to_root(certificate: Certificate, among: Iterable[Certificate]) -> bool:
    """Signatures lead from it to a certificate that signed itself."""
    by_name: dict[str, list[Certificate]] = {}
    for one in among:
        by_name.setdefault(one.subject_key, []).append(one)
    reached, seen = [certificate], {certificate.der}
    for _ in range(_MAX_STEPS):
        above = [
            issuer
            for below in reached
            for issuer in by_name.get(below.issuer_key, ())
            if issuer.der not in seen and signed_by(below.parsed, issuer.parsed)
        ]
        if any(issuer.self_signed for issuer in above):
            return True
        seen.update(issuer.der for issuer in above)
        reached = above
    return False


def _note(
    code: str, severity: str, text: str, certificate: Certificate, *, repair: str = "", meaning: str = ""
) -> Note:
    return Note(
        code, "error" if severity == "error" else "warning", text, repair, meaning, certificate.subject
    )
