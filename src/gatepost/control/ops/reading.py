"""What is read from the operator's files: hostile until proven otherwise (architecture 8).

Each kind takes JSON values and gives JSON values, so that it can run in another process (`confined`). A command on a stopped
gateway is short-lived itself and reads here.

    yaml          text -> document, what came with it, problems of syntax
    certificate   file, key, pass-phrase -> a profile with its key, or the wish for a pass-phrase
    answer        an authority's answer and a file of intermediates -> certificates, public halves of keys, notes
    authorities   file -> PEM, notes
    revocation    file, known authorities -> the list as DER, what it says of itself, who signed it
    tls-report    file (JSON, compressed or not, or a whole message), when it came -> an account of the report, it itself, packed,
                  and the signatures of its mail
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatepost.core.errors import ConfigurationError, OperatorError, Problem

Values = Mapping[str, Any]


def read(kind: str, values: Values) -> dict[str, Any]:
    """Read a file of one kind; bytes are passed as Latin-1 text. Raises OperatorError."""
    return _KINDS[kind](values)


def as_text(data: bytes) -> str:
    """Bytes as a JSON value, each octet one character."""
    return data.decode("latin-1")


def _bytes(values: Values, name: str) -> bytes:
    return str(values[name]).encode("latin-1")


def _yaml(values: Values) -> dict[str, Any]:
    from gatepost.config.yaml_text import read_yaml

    try:
        data = read_yaml(_bytes(values, "text"))
    except ConfigurationError as error:
        return {"document": None, "readable": False, "problems": [_problem(p) for p in error.problems]}
    if not isinstance(data, dict):
        return {"document": data, "readable": True, "problems": []}
    from gatepost.control.ops.exchange import PARTS, take_parts

    if not any(part in data for part in PARTS):
        return {"document": data, "readable": True, "problems": []}
    document, brought = take_parts(data)
    return {
        "document": document,
        "readable": True,
        "profiles": [profile.with_key_document() for profile in brought.profiles],
        "authorities": brought.authorities,
        "users": None if brought.users is None else dict(brought.users),
        "problems": [_problem(problem) for problem in brought.problems],
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {"path": problem.path, "text": problem.text, "hint": problem.hint, "warning": problem.warning}


def _certificate(values: Values) -> dict[str, Any]:
    from gatepost.certs.making import import_profile
    from gatepost.pki.errors import PassphraseNeeded, PkiError

    try:
        imported = import_profile(
            str(values["name"]),
            _bytes(values, "file"),
            _bytes(values, "key"),
            str(values["passphrase"]) or None,
            float(values["now"]),
            label=str(values.get("label", "")),
            key_label=str(values.get("key_label", "")),
        )
    except PassphraseNeeded:
        return {"needs_passphrase": True}
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    return {"profile": imported.profile.with_key_document(), "notes": list(imported.notes)}


def _answer(values: Values) -> dict[str, Any]:
    from gatepost.certs.making import read_answer
    from gatepost.pki.errors import PkiError

    try:
        brought = read_answer(
            _bytes(values, "file"),
            _bytes(values, "behind"),
            label=str(values.get("label", "")),
            behind_label=str(values.get("behind_label", "")),
        )
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    return {
        "certificates": [as_text(der) for der in brought.certificates],
        "behind": [as_text(der) for der in brought.behind],
        "keys": [as_text(public) for public in brought.keys],
        "notes": list(brought.notes),
    }


def _authorities(values: Values) -> dict[str, Any]:
    from gatepost.certs.authorities import read_authorities
    from gatepost.pki.errors import PkiError

    try:
        reading = read_authorities(_bytes(values, "file"))
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    pem = b"".join(certificate.pem for certificate in reading.certificates)
    return {"pem": pem.decode("ascii"), "notes": list(reading.notes)}


def _revocation(values: Values) -> dict[str, Any]:
    from base64 import b64encode
    from dataclasses import asdict

    from gatepost.certs.crls import check_list, known_authorities
    from gatepost.pki.errors import PkiError
    from gatepost.pki.revocation import key_digest

    try:
        known = known_authorities(str(values["known"]).encode("ascii"))
        checked = check_list(_bytes(values, "file"), known, float(values["now"]))
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    der = b64encode(checked.list.der).decode("ascii")
    return {"der": der, "facts": asdict(checked.list.facts), "signer": key_digest(checked.signer)}


def _tls_report(values: Values) -> dict[str, Any]:
    import gzip
    from base64 import b64encode
    from dataclasses import asdict

    from gatepost.wire.tlsrpt import TlsReportFault, write_report
    from gatepost.wire.tlsrpt_received import by_domain, find_report
    from gatepost.wire.tlsrpt_signed import signed_mail

    data = _bytes(values, "file")
    try:
        found = find_report(data)
    except TlsReportFault as fault:
        raise OperatorError(
            str(fault), "a report is a .json or .json.gz file, or the mail that one came in"
        ) from None
    report = found.report
    return {
        "organization": report.organization,
        "submitter": found.submitter,
        "contact": report.contact,
        "report_id": report.report_id,
        "begin": report.begin,
        "end": report.end,
        "domains": [asdict(one) for one in by_domain(report)],
        "content": b64encode(gzip.compress(write_report(report), mtime=0)).decode("ascii"),
        "signed": signed_mail(data, float(values["at"])).plain() if found.mail else None,
    }


_KINDS: Mapping[str, Callable[[Values], dict[str, Any]]] = {
    "yaml": _yaml,
    "certificate": _certificate,
    "answer": _answer,
    "authorities": _authorities,
    "revocation": _revocation,
    "tls-report": _tls_report,
}
