"""The account of a rehearsal: which destinations and which senders would have failed, how many messages, why, and with which certificate.

Lists are sorted, the worst first, and bounded; how much was left out stands beside them. The keys of `document` are stable
(docs/rehearsing.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gatepost.core.tls import PeerCertificate
from gatepost.probe.rehearse_facts import Doubt
from gatepost.probe.rehearse_mail import Fate, Refused, Replayed
from gatepost.probe.rehearse_sessions import Cause, Mails, SessionDoubt
from gatepost.probe.rehearse_trial import Trial

MAX_ENTRIES = 200  # destinations, senders, groups of doubt
MAX_REASONS = 10  # of one entry
MAX_NAMES = 20  # domains, MIDs
CLEAR = "clear"

DOUBTS = {
    Doubt.NOT_TRIED: "TLS was never tried with the host, since the rule was none",
    Doubt.NOT_CALLED: "the host was not called in these days",
    Doubt.NO_TLSA: "no rule asked for the host's TLSA records",
    Doubt.NO_STS: "no rule asked for the MTA-STS policy",
    Doubt.NOT_SIGNED: "nobody asked whether the DNS that leads to the host is signed",
    Doubt.NO_CERTIFICATE: "the host's certificate is not kept any more",
    Doubt.OTHER_NAME: "the host would be asked for another server name",
    Doubt.OTHER_ROUTE: "the smtp route leads elsewhere",
    Doubt.NO_RECORD: "the connection is not recorded any more",
}
SESSION_DOUBTS = {
    SessionDoubt.NO_LISTENER: "the configuration has no such listener",
    SessionDoubt.NOT_OFFERED: "STARTTLS was not offered to the sender",
    SessionDoubt.NOT_ASKED: "the sender was not asked for a certificate",
    SessionDoubt.NO_CERTIFICATE: "the sender's certificate is not kept any more",
}


@dataclass(slots=True)
class _Group:
    """Messages that end alike."""

    messages: int = 0
    recipients: int = 0
    reasons: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    names: Counter[str] = field(default_factory=Counter)
    mids: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def because(
        self, reason: str, host: str, address: str, certificate: PeerCertificate | None, times: int = 1
    ) -> None:
        fingerprint = certificate.fingerprint if certificate is not None else ""
        known = self.reasons.setdefault(
            (reason, address, fingerprint),
            {
                "reason": reason,
                "host": host,
                "address": address,
                "certificate": _certificate(certificate),
                "messages": 0,
            },
        )
        known["messages"] += times

    def document(self, names: str) -> dict[str, Any]:
        reasons = sorted(self.reasons.values(), key=lambda one: -one["messages"])
        ordered = sorted(self.names.items(), key=lambda item: (-item[1], item[0]))
        return {
            **self.facts,
            "messages": self.messages,
            "recipients": self.recipients,
            "reasons": reasons[:MAX_REASONS],
            "more_reasons": max(0, len(reasons) - MAX_REASONS),
            names: [{"domain": name, "messages": count} for name, count in ordered[:MAX_NAMES]],
            f"more_{names}": max(0, len(self.names) - MAX_NAMES),
            "mids": self.mids,
        }


class MailAccount:
    """The outgoing side."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._fates: Counter[tuple[bool, Fate]] = Counter()
        self._failing: dict[str, _Group] = {}
        self._doubtful: dict[Doubt, _Group] = {}
        self._changes: Counter[tuple[str, str]] = Counter()
        self._monitored: Counter[str] = Counter()
        self.today = 0

    def add(self, one: Replayed) -> None:
        """Count a message."""
        self._fates[one.delivered, one.fate] += 1
        self.today += one.today
        match one.fate:
            case Fate.FAILS if one.delivered:
                self._fails(one)
            case Fate.UNKNOWN if one.delivered and one.doubt is not None:
                group = self._doubtful.setdefault(one.doubt, _Group())
                _count(group, one, one.domain)
                group.because(DOUBTS[one.doubt], one.doubtful, "", None)
            case Fate.PASSES:
                self._passes(one)

    def _fails(self, one: Replayed) -> None:
        group = self._failing.get(one.domain)
        if group is None:
            rule = self._trial.destinations.find(one.domain, self._trial.today)
            facts = {"domain": one.domain, "rule": rule.path, "level": rule.level.value}
            group = self._failing[one.domain] = _Group(facts=facts)
        _count(group, one, one.sender_domain)
        told = _telling(one.refused)
        leaf = told.outcome.facts.chain[0] if told.outcome is not None and told.outcome.facts.chain else None
        row = told.row
        group.because(told.reason, row.host if row else "", row.address if row else "", leaf)

    def _passes(self, one: Replayed) -> None:
        if one.outcome is None:
            return
        if one.delivered and one.before is not None:
            self._changes[str(one.before["verdict"]), one.outcome.verdict.value] += 1
        if one.outcome.monitored is not None and not one.outcome.monitored.may_pass:
            self._monitored[one.domain] += 1

    def document(self) -> dict[str, Any]:
        """The outgoing part of the answer."""
        failing = _sorted(self._failing.values())
        return {
            "messages": sum(self._fates.values()),
            "would_pass": self._fates[True, Fate.PASSES],
            "would_fail": self._fates[True, Fate.FAILS],
            "could_not_tell": self._fates[True, Fate.UNKNOWN],
            "not_delivered": {
                "would_pass": self._fates[False, Fate.PASSES],
                "still_fail": self._fates[False, Fate.FAILS] + self._fates[False, Fate.UNREACHED],
                "could_not_tell": self._fates[False, Fate.UNKNOWN],
            },
            "failing": [group.document("senders") for group in failing[:MAX_ENTRIES]],
            "more_failing": max(0, len(failing) - MAX_ENTRIES),
            "undecided": [
                {"doubt": doubt.value, "text": DOUBTS[doubt], **group.document("destinations")}
                for doubt, group in sorted(self._doubtful.items(), key=lambda item: -item[1].messages)
            ],
            "security": [
                {"before": before, "after": after, "messages": count}
                for (before, after), count in self._changes.most_common()
            ],
            "monitored": [
                {"domain": domain, "messages": count}
                for domain, count in self._monitored.most_common(MAX_NAMES)
            ],
        }


class SessionAccount:
    """The incoming side; what is counted are MAILs, that is messages begun."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[bool, str]] = Counter()
        self._failing: dict[tuple[str, str, Cause | None], _Group] = {}
        self._doubtful: dict[SessionDoubt, _Group] = {}
        self._changes: Counter[tuple[str, str]] = Counter()

    def add(self, one: Mails) -> None:
        """Count the MAILs of one sender in one session."""
        answer = one.answer
        kind = "doubt" if answer.doubt is not None else "fail" if answer.refusal else "pass"
        self._counts[one.accepted, kind] += one.times
        if not one.accepted:
            return
        if answer.doubt is not None:
            group = self._doubtful.setdefault(answer.doubt, _Group())
            group.because(SESSION_DOUBTS[answer.doubt], _who(one), one.session.address, None, one.times)
        elif answer.refusal:
            facts = {
                "listener": one.session.listener,
                "host": one.session.host,
                "address": one.session.address,
                "group": one.group,
                "policy": one.policy,
                "cause": answer.cause.value if answer.cause is not None else "",
            }
            key = (one.session.listener, one.session.address, answer.cause)
            group = self._failing.setdefault(key, _Group(facts=facts))
            group.because(answer.refusal, _who(one), one.session.address, answer.certificate, one.times)
        else:
            self._changes["tls" if one.tls else CLEAR, "tls" if answer.tls else CLEAR] += one.times
            return
        group.messages += one.times
        group.names[one.sender.rpartition("@")[2].lower()] += one.times

    def document(self) -> dict[str, Any]:
        """The incoming part of the answer."""
        failing = _sorted(self._failing.values())
        return {
            "messages": sum(self._counts.values()),
            "would_pass": self._counts[True, "pass"],
            "would_fail": self._counts[True, "fail"],
            "could_not_tell": self._counts[True, "doubt"],
            "refused_then": {
                "would_pass": self._counts[False, "pass"],
                "still_fail": self._counts[False, "fail"],
                "could_not_tell": self._counts[False, "doubt"],
            },
            "failing": [_incoming(group) for group in failing[:MAX_ENTRIES]],
            "more_failing": max(0, len(failing) - MAX_ENTRIES),
            "undecided": [
                {"doubt": doubt.value, "text": SESSION_DOUBTS[doubt], **_incoming(group)}
                for doubt, group in sorted(self._doubtful.items(), key=lambda item: -item[1].messages)
            ],
            "security": [
                {"before": before, "after": after, "messages": count}
                for (before, after), count in self._changes.most_common()
            ],
        }


def _count(group: _Group, one: Replayed, name: str) -> None:
    group.messages += 1
    group.recipients += one.recipients
    group.names[name] += 1
    if len(group.mids) < MAX_NAMES:
        group.mids.append(one.mid)


def _telling(refused: Iterable[Refused]) -> Refused:
    """Of several hosts the one to tell of: one with a certificate before one without TLS."""
    return max(refused, key=lambda one: one.outcome is not None and bool(one.outcome.facts.chain))


def _sorted(groups: Iterable[_Group]) -> list[_Group]:
    return sorted(groups, key=lambda group: (-group.messages, str(group.facts.get("domain", ""))))


def _incoming(group: _Group) -> dict[str, Any]:
    found = group.document("senders")
    return {key: value for key, value in found.items() if key not in ("recipients", "mids")}


def _who(one: Mails) -> str:
    return one.session.host if one.session.host != "unknown" else one.session.address


def _certificate(found: PeerCertificate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "fingerprint": found.fingerprint,
        "not_after": found.not_after,
    }
