"""Does the world see our MTA-STS policy as we mean it: MX records, certificates, the record, the file (RFC 8461 §3 to §5).

A sender that heeds the policy delivers only to MX hosts that it names and whose certificate is valid for the MX host's own name; it
learns of a new policy only by the record's id, and gets it only over HTTPS with a valid certificate. So four things must agree, and
each disagreement is a finding with what to do about it. What could not be looked up is a finding too, and never taken for wrong.

This is pure: what was seen comes in (`Seen`), findings go out. Severities are the doctor's: an `error` keeps mail away, a `warning`
takes away protection, `info` explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gatepost.certs.mx_lookup import Known, MxDomain
from gatepost.config.public_web import MtaStsPolicy, PolicyMode
from gatepost.policy.own_mta_sts import announced_id, own_policy, policy_file
from gatepost.wire.mta_sts import StsFault, StsPolicy, read_policy, record_text


class StsCode(StrEnum):
    """What a finding is about; stable."""

    MX_NOT_LISTED = "mx-not-listed"
    MX_UNUSED = "mx-unused"
    MX_NONE = "mx-none"
    MX_UNKNOWN = "mx-unknown"
    CERTIFICATE = "certificate"
    CERTIFICATE_NAME = "certificate-name"
    PRIVATE_AUTHORITY = "private-authority"
    ELSEWHERE = "elsewhere"
    RECORD_MISSING = "record-missing"
    RECORD_FAULTY = "record-faulty"
    RECORD_DIFFERS = "record-differs"
    RECORD_UNKNOWN = "record-unknown"
    FILE_UNREACHABLE = "file-unreachable"
    FILE_DIFFERS = "file-differs"
    NO_REPORTS = "no-reports"


UNKNOWN = frozenset({StsCode.MX_UNKNOWN, StsCode.RECORD_UNKNOWN})
"""Findings that say that nothing could be said."""


@dataclass(frozen=True, slots=True)
class StsFinding:
    """One disagreement."""

    code: StsCode
    severity: str
    text: str
    repair: str = ""

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "text": self.text,
            "repair": self.repair,
        }


@dataclass(frozen=True, slots=True)
class HostCertificate:
    """The certificate that a listener of ours shows for an MX host. `problem`: why no sender's authorities vouch for it."""

    listener: str
    profile: str
    names: tuple[str, ...]
    covers: bool
    problem: str = ""
    private: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """The TXT record of `_mta-sts`, or why there is none: `fault` where it cannot be read, `detail` where nobody answered."""

    known: Known
    identifier: str = ""
    fault: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the world sees of one domain. `certificates` are by MX host, for those that lead to a listener of ours.

    `body` is the file as it was fetched, `unreachable` why it could not be. `reports`: there is a record `_smtp._tls`, None where
    that is not known. `private` authorities are usual here: the system's list is switched off.
    """

    mx: MxDomain
    certificates: dict[str, tuple[HostCertificate, ...]]
    record: Record
    body: bytes = b""
    unreachable: str = ""
    reports: bool | None = None
    private: bool = False


def own_sts_findings(entry: MtaStsPolicy, seen: Seen) -> tuple[StsFinding, ...]:
    """Everything in which policy and world disagree, the worst first."""
    domain, policy = entry.comparable_domain, own_policy(entry)
    found = [*_record(domain, entry, seen.record), *_file(entry, seen)]
    if entry.mode is not PolicyMode.NONE:
        found += [*_mx(entry, policy, seen.mx), *_certificates(entry, seen)]
        if seen.reports is False:
            text = f"there is no record _smtp._tls.{domain}, so senders do not report what fails"
            found.append(
                StsFinding(StsCode.NO_REPORTS, "info", text, "publish it: `gatepost sts show` has it")
            )
    order = ("error", "warning", "info")
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _grave(entry: MtaStsPolicy) -> str:
    """What keeps mail away under `enforce` is only reported in testing."""
    return "error" if entry.mode is PolicyMode.ENFORCE else "warning"


def _consequence(entry: MtaStsPolicy) -> str:
    return (
        "do not deliver to it"
        if entry.mode is PolicyMode.ENFORCE
        else "report it, and will not deliver once enforced"
    )


# --- MX records -----------------------------------------------------------------------------------------


def _mx(entry: MtaStsPolicy, policy: StsPolicy, mx: MxDomain) -> Iterator[StsFinding]:
    domain = entry.comparable_domain
    if mx.known in (Known.NO_ANSWER, Known.NOT_LOOKED_UP):
        why = f": {mx.detail}" if mx.detail else ""
        text = f"the MX records of {domain} could not be looked up{why}"
        yield StsFinding(StsCode.MX_UNKNOWN, "info", text, "try again")
        return
    if mx.known in (Known.NONE, Known.NULL):
        text = f"{domain} has no MX host, so nobody delivers to it"
        yield StsFinding(StsCode.MX_NONE, "warning", text, "publish its MX records, or take the policy away")
        return
    hosts = [host.host.rstrip(".").lower() for host in mx.hosts]
    for host in hosts:
        if not policy.allows(host):
            yield StsFinding(
                StsCode.MX_NOT_LISTED,
                _grave(entry),
                f"the MX host {host} is not in the policy of {domain}: senders {_consequence(entry)}",
                f"add {host} under mx and publish the new id, or take it out of the MX records",
            )
    for pattern in policy.hosts:
        if not any(StsPolicy(policy.mode, 0, (pattern,)).allows(host) for host in hosts):
            text = f"the policy names {pattern}, and no MX record of {domain} does"
            repair = "leave it for a host that is to come, else take it out"
            yield StsFinding(StsCode.MX_UNUSED, "info", text, repair)


def _certificates(entry: MtaStsPolicy, seen: Seen) -> Iterator[StsFinding]:
    for host in seen.mx.hosts:
        name = host.host.rstrip(".").lower()
        shown = seen.certificates.get(name, ())
        if not shown and host.known is not Known.NO_ANSWER:
            text = f"the MX host {name} leads to none of our listeners; its certificate is not looked at here"
            yield StsFinding(StsCode.ELSEWHERE, "info", text, "its own administrator sees to it")
        for one in shown:
            yield from _certificate(entry, name, one, seen.private)


def _certificate(
    entry: MtaStsPolicy, host: str, one: HostCertificate, private_usual: bool
) -> Iterator[StsFinding]:
    what = f"the certificate {one.profile} of listener {one.listener}"
    if not one.covers:
        names = ", ".join(one.names[:5]) or "no name"
        text = f"{what} names {names} and not {host}: senders {_consequence(entry)}"
        repair = f"use a certificate that carries {host} as a DNS name"
        yield StsFinding(StsCode.CERTIFICATE_NAME, _grave(entry), text, repair)
    if one.problem:
        text = f"{what} does not hold for senders ({one.problem}): they {_consequence(entry)}"
        repair = f"look at `gatepost cert check {one.profile}`"
        yield StsFinding(StsCode.CERTIFICATE, _grave(entry), text, repair)
    elif one.private:
        text = f"{what} leads to an authority of your own list only: senders elsewhere {_consequence(entry)}"
        severity = "info" if private_usual else _grave(entry)
        yield StsFinding(StsCode.PRIVATE_AUTHORITY, severity, text, "use a certificate of a public authority")


# --- record and file ------------------------------------------------------------------------------------


def _record(domain: str, entry: MtaStsPolicy, record: Record) -> Iterator[StsFinding]:
    name, wanted = f"_mta-sts.{domain}", announced_id(entry)
    publish = f'publish: {name} TXT "{record_text(wanted)}"'
    if record.known is Known.NO_ANSWER:
        text = f"the record {name} could not be looked up: {record.detail or 'no answer'}"
        yield StsFinding(StsCode.RECORD_UNKNOWN, "info", text, "try again")
    elif record.fault:
        text = f"the record {name} does not count for senders: {record.fault}"
        yield StsFinding(StsCode.RECORD_FAULTY, "warning", text, publish)
    elif not record.identifier:
        if entry.mode is not PolicyMode.NONE:
            text = f"there is no record {name}, so senders do not know of the policy"
            yield StsFinding(StsCode.RECORD_MISSING, "warning", text, publish)
    elif record.identifier != wanted:
        text = f"the record {name} has the id {record.identifier}, and the policy is {wanted}: senders keep the earlier one"
        yield StsFinding(StsCode.RECORD_DIFFERS, "warning", text, publish)


def _file(entry: MtaStsPolicy, seen: Seen) -> Iterator[StsFinding]:
    where = f"https://{entry.host}"
    if seen.unreachable:
        text = f"the policy cannot be fetched from {where}: {seen.unreachable}"
        repair = "let the name lead to the public port (public_web), with a certificate that carries it"
        yield StsFinding(StsCode.FILE_UNREACHABLE, "warning", text, repair)
    elif seen.body != policy_file(entry) and _differs(entry, seen.body):
        text = f"{where} serves another policy than the one that is configured"
        repair = "another server answers there, or another node has another version of the configuration"
        yield StsFinding(StsCode.FILE_DIFFERS, "warning", text, repair)


def _differs(entry: MtaStsPolicy, body: bytes) -> bool:
    """Another spelling of the same policy, by a web server that somebody else keeps, is the same."""
    try:
        return read_policy(body) != own_policy(entry)
    except StsFault:
        return True


def worst(findings: Sequence[StsFinding]) -> str:
    """`error`, `warning`, `unknown` where something could not be looked up, or `well`."""
    severities = {one.severity for one in findings}
    if severities & {"error", "warning"}:
        return "error" if "error" in severities else "warning"
    return "unknown" if any(one.code in UNKNOWN for one in findings) else "well"
