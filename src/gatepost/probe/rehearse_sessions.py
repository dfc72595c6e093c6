"""Recorded incoming sessions under another policy: whose MAIL would have been refused, and why.

`admit` chooses group and policy anew from the recorded address, name and score; `check_sender` says what the policy's TLS means for each envelope
sender, in clear or inside TLS as it was; `judge_client` judges the recorded chain of the client at the recorded time under the policy's
authorities. A client is taken to do what it did: one that was offered STARTTLS and did not use it will not use it.

What was never offered or asked for on that day is a doubt: STARTTLS where the old policy had it off, a client certificate that nobody
asked for. A session that got as far as no MAIL (a failed handshake, TLS that was required and not used) tells of no message and is left out.
Who has authenticated is not recorded: with `smtp_auth: required` a MAIL inside TLS is taken to come from a user, one in clear cannot.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gatepost.core.address import Address, normalise_domain
from gatepost.core.tls import InboundTls, PeerCertificate
from gatepost.policy.admit import AUTH_REQUIRED, Admission, ListenerRules, admit, check_sender
from gatepost.policy.hat import NameState, NoScore, PeerName, Score
from gatepost.policy.observed import client_facts
from gatepost.policy.tls_in import judge_client
from gatepost.probe.rehearse_facts import older
from gatepost.probe.rehearse_trial import Trial
from gatepost.store.records import SessionRow


class SessionDoubt(StrEnum):
    """Why nothing can be said of a MAIL."""

    NO_LISTENER = "no-listener"
    NOT_OFFERED = "starttls-not-offered"
    NOT_ASKED = "certificate-not-asked"
    NO_CERTIFICATE = "no-certificate"


class Cause(StrEnum):
    """What a refusal rests on."""

    TLS = "tls"
    CERTIFICATE = "certificate"
    ACCESS = "access"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the new policy says to a MAIL: nothing (it takes it), a refusal in the log's words, or a doubt. `tls`: inside TLS."""

    tls: bool = False
    refusal: str = ""
    cause: Cause | None = None
    doubt: SessionDoubt | None = None
    certificate: PeerCertificate | None = None


@dataclass(frozen=True, slots=True)
class Mails:
    """MAILs of one session with one sender that end alike: `times` of them.

    `tls` and `accepted` are what became of them then; `group` and `policy` are those of the new configuration.
    """

    session: SessionRow
    sender: str
    times: int
    tls: bool
    accepted: bool
    answer: Answer
    group: str = ""
    policy: str = ""


def replay_session(trial: Trial, row: SessionRow) -> Iterator[Mails]:
    """What each sender's MAILs would have come to."""
    said = list(_said(row))
    if not said:
        return
    rules = trial.rules.listeners.get(row.listener)
    if rules is None:
        for sender, times, tls, accepted in said:
            yield Mails(row, sender, times, tls, accepted, Answer(doubt=SessionDoubt.NO_LISTENER))
        return
    admission = admit(rules, ipaddress.ip_address(row.address), _name(row), _score(row.facts))
    policy = admission.policy.name if admission.policy is not None else ""
    inside = _inside(trial, rules, admission, row)
    for sender, times, tls, accepted in said:
        answer = _answer(rules, admission, row, sender, inside if tls else None)
        yield Mails(row, sender, times, tls, accepted, answer, admission.group, policy)


def _said(row: SessionRow) -> Iterator[tuple[str, int, bool, bool]]:
    """Sender, how often, inside TLS, accepted. What was refused for other reasons than TLS is left out.

    So is a refusal that an older release recorded: it has no code.
    """
    for sender, (clear, inside) in row.facts.get("senders", {}).items():
        if clear:
            yield sender, clear, False, True
        if inside:
            yield sender, inside, True, True
    for refused in row.facts.get("refused", ()):
        if refused["sender"] and refused.get("code"):
            yield refused["sender"], refused["times"], refused["tls"], False


def _answer(
    rules: ListenerRules, admission: Admission, row: SessionRow, sender: str, inside: Answer | None
) -> Answer:
    """The new policy's answer to a MAIL; `inside` is that to a session under TLS, None in clear."""
    policy = admission.policy
    if policy is None or admission.refusal is not None:  # at once, or at each recipient (delayed rejection)
        return Answer(refusal=f"access refused: group {admission.group}", cause=Cause.ACCESS)
    if inside is not None and (inside.tls or inside.refusal):
        return inside  # TLS is all that the sender's address could ask for
    refusal = check_sender(rules, admission, _address(sender), tls=False)
    if refusal is None:
        return Answer()
    if inside is None and row.facts.get("level") == InboundTls.OFF:
        return Answer(doubt=SessionDoubt.NOT_OFFERED)
    if refusal is AUTH_REQUIRED:
        return Answer(refusal=refusal.cause, cause=Cause.ACCESS)
    text = refusal.cause or f"TLS is required by policy {policy.name}, and the sender did not use it"
    return Answer(refusal=text, cause=Cause.TLS)


def _inside(trial: Trial, rules: ListenerRules, admission: Admission, row: SessionRow) -> Answer | None:
    """What a session that was under TLS would be told at MAIL; in clear where TLS is not offered any more."""
    facts, policy = row.facts, admission.policy
    if not facts.get("protocol") or policy is None:
        return None
    rule = policy.tls_rule
    if not (rules.implicit_tls or rule.offers_starttls(tls_active=False)):
        return Answer(tls=False)
    if too_old := older(facts["protocol"], trial.document.tls_settings.inbound.minimum.value):
        return Answer(refusal=f"the TLS handshake fails: the sender {too_old}", cause=Cause.TLS)
    if rule.client is None:
        return Answer(tls=True)
    asked: Mapping[str, Any] | None = facts.get("client")
    if asked is None:
        return Answer(tls=True, doubt=SessionDoubt.NOT_ASKED)
    fingerprints = asked.get("chain", ())
    chain = trial.chain(fingerprints)
    if chain is None or (asked.get("fingerprint") and not fingerprints):
        return Answer(tls=True, doubt=SessionDoubt.NO_CERTIFICATE)
    seen = client_facts(chain, trial.judged(fingerprints, row.at), trial.described)
    refused = judge_client(rule.level, rule.client, seen).refusal
    if refused is None:
        return Answer(tls=True)
    return Answer(True, refused.cause or refused.text, Cause.CERTIFICATE, certificate=seen.certificate)


def _name(row: SessionRow) -> PeerName:
    match row.facts.get("verified"):
        case "yes":
            return row.host
        case "no":
            return NameState.NONE
        case _:
            return NameState.UNDETERMINED


def _score(facts: Mapping[str, Any]) -> Score:
    text = facts.get("score", "")
    try:
        return float(text)
    except ValueError:
        return NoScore.NONE if text == NoScore.NONE.value else NoScore.NOT_ENABLED


def _address(sender: str) -> Address:
    """The envelope sender; `@example.net` stands for the others of a domain."""
    local, _, domain = sender.rpartition("@")
    try:
        return Address(sender, local, normalise_domain(domain) if domain else "")
    except ValueError:
        return Address(sender, local, domain.lower())
