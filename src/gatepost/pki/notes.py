"""What the doctor says: one finding in a form for people, with what peers will see and what repairs it.

The codes are those of the contract (contract/README.md, Output) and our own (`findings.Code`). `error` breaks
verification, `warning` deserves attention, `info` only explains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from gatepost.pki.findings import Code

Severity = Literal["error", "warning", "info"]

REPAIR_COMMAND = "`gatepost cert check NAME --repair`"


@dataclass(frozen=True, slots=True)
class Note:
    """One finding. `subject` is the certificate that it is about, `meaning` what peers will see of it."""

    code: str
    severity: Severity
    text: str
    repair: str = ""
    meaning: str = ""
    subject: str = ""

    def document(self) -> dict[str, Any]:
        """The JSON form with the stable keys of the contract."""
        return {
            "code": str(self.code),
            "severity": self.severity,
            "text": self.text,
            "meaning": self.meaning,
            "repair": self.repair,
            "subject": self.subject,
        }

    def named(self, profile: str) -> Note:
        """The same with the profile's name in the commands of its repair."""
        return replace(self, repair=self.repair.replace(REPAIR_COMMAND, _command(profile)))


def _command(profile: str) -> str:
    return REPAIR_COMMAND.replace("NAME", profile)


def note(
    code: Code, severity: Severity, text: str, subject: str = "", *, repair: str = "", meaning: str = ""
) -> Note:
    """A finding with the usual explanation of its code, where none is given."""
    usual_meaning, usual_repair = ADVICE.get(code, ("", ""))
    return Note(code.value, severity, text, repair or usual_repair, meaning or usual_meaning, subject)


_REFUSED = "peers that verify refuse it; peers that only encrypt do not notice"
_LEAVE_OUT = f"leave it out; {REPAIR_COMMAND} does"

ADVICE: dict[Code, tuple[str, str]] = {
    Code.EXPIRED: (_REFUSED, "renew the certificate, or import a new one with --replace"),
    Code.EXPIRES_SOON: ("nothing yet; from that day on peers that verify refuse it", "renew it now"),
    Code.NOT_YET_VALID: (_REFUSED, "wait until it is valid, or look at this machine's clock"),
    Code.SELF_SIGNED: (
        "TLS works and the mail is encrypted; a peer that requires verification refuses it, which is expected",
        "have it signed by an authority",
    ),
    Code.DEMO: (
        "TLS works and the mail is encrypted; a peer that requires verification refuses it, which is expected",
        "make or import a certificate of your own",
    ),
    Code.MISSING_INTERMEDIATE: (
        "most mail servers cannot verify the certificate; browsers may, because they fetch or remember what is missing",
        "import it again together with the intermediates of its authority",
    ),
    Code.UNTRUSTED_ROOT: (
        "only peers that were told to trust this authority can verify the certificate",
        "import the authority with `gatepost ca import` if you trust it",
    ),
    Code.BAD_SIGNATURE: (_REFUSED, "import the certificate again from its authority; this copy is damaged"),
    Code.WEAK_KEY: (_REFUSED, "make a new key: RSA of 2048 bits or more, or P-256"),
    Code.WEAK_HASH: (_REFUSED, "have it signed again with SHA-256"),
    Code.WRONG_USAGE: (_REFUSED, "ask the authority for a TLS server certificate"),
    Code.NOT_A_CA: (_REFUSED, "take the intermediates from the authority's own pages; this one may not sign"),
    Code.CA_AS_HOST: (
        "most peers take it; some that are strict refuse a host's certificate with CA:TRUE",
        "ask the authority for a certificate of a host, with CA:FALSE",
    ),
    Code.PATH_LENGTH: (_REFUSED, "ask the authority: one of its certificates may not have others below it"),
    Code.TOO_LONG: (_REFUSED, f"leave out what does not belong to the chain; {REPAIR_COMMAND} does"),
    Code.NAME_CONSTRAINTS: (_REFUSED, "ask the authority: it may not sign for this name"),
    Code.UNKNOWN_CRITICAL: (_REFUSED, "ask the authority for a certificate without that extension"),
    Code.MALFORMED: (_REFUSED, "import the certificate again; this copy is damaged"),
    Code.NO_CERTIFICATE: ("no TLS handshake succeeds", "give it a certificate"),
    Code.REVOKED: (
        "peers that look at revocation lists refuse it",
        "have a new certificate issued, with a new key",
    ),
    Code.CRL_STALE: (
        "nothing; a revocation since then would not be noticed here",
        "look why the authority's revocation list is not fetched any more",
    ),
    Code.INVALID: (_REFUSED, "have a new certificate issued"),
    Code.DUPLICATE: ("some strict peers refuse such a chain, for others it is only longer", _LEAVE_OUT),
    Code.STALE: ("a peer that takes the old one for the current cannot verify the chain", _LEAVE_OUT),
    Code.MISORDERED: (
        "peers that take the order seriously cannot verify the chain",
        f"put each behind the one that it signed; {REPAIR_COMMAND} does",
    ),
    Code.UNRELATED: ("it makes the handshake longer, and strict peers refuse such a chain", _LEAVE_OUT),
    Code.ROOT_INCLUDED: (
        "nothing but a longer handshake: a peer trusts its own copy of a root or none",
        _LEAVE_OUT,
    ),
    Code.CROSS_SIGN: ("peers differ in the root that they verify up to", "nothing has to be done"),
    Code.KEY_MISMATCH: ("no TLS handshake succeeds", "give the key that the certificate was made for"),
    Code.NAME_MISMATCH: ("senders that verify the name refuse it", "use one that carries the name"),
    Code.COMMON_NAME_ONLY: (
        "browsers and many mail servers look only at the subject alternative names, and refuse it",
        "have it issued again with the name as subject alternative name",
    ),
    Code.UNUSABLE_NAME: ("no peer matches a host with such a name", "have it issued again without that name"),
    Code.MUST_STAPLE: (
        "peers that honour the extension refuse it, since no OCSP answer is sent along",
        "have it issued again without the extension “must staple”",
    ),
    Code.BAD_SERIAL: (
        "some software, all that is written in Go for one, refuses a certificate with such a number",
        "have it issued again; the authority has to give it a positive serial number",
    ),
    Code.RARE_KEY: (
        "peers that do not know this kind of key fail the handshake or go on in the clear",
        "put an RSA or P-256 certificate beside it, or use one instead",
    ),
}
"""For each code what peers will see, and what repairs it."""
