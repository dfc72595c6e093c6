"""What a host showed when `gatepost explain --live` called it, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatepost.control.shell.screen import day, paragraph, plural

_INDENT = " " * 4
_LABEL = 10
_SOURCES = {
    "operator": "as configured or addressed",
    "dnssec": "from signed DNS",
    "mta-sts": "from the MTA-STS policy",
    "insecure-dns": "from unsigned DNS",
}

_WOULD = {"pass": "would let it pass", "refuse": "would refuse", "untold": "cannot be told"}


def say_call(call: Mapping[str, Any], verdicts: Mapping[str, str]) -> None:
    """One address: its connections, and what a message would have met."""
    for number, connection in enumerate(call["connections"]):
        if number:
            _row("again", "without our certificate, which the host did not stand")
        _say_connection(connection, verdicts)
    if not call["clear_allowed"] and call["connections"]:
        _row("", "in this attempt it had to be TLS, since a handshake broke on an earlier host")
    if call["skipped"]:
        _row("unknown", call["skipped"])
    elif call["failure"]:
        come = "would never pass here" if call["status"].startswith("5") else "would be put off"
        _row("a message", f"{come}: {call['failure']} ({call['status']})")


def _row(label: str, text: str) -> None:
    paragraph(_INDENT + label.ljust(_LABEL), text)


def _say_connection(one: Mapping[str, Any], verdicts: Mapping[str, str]) -> None:
    if one["source"]:
        _row("TCP", f"connected from {one['source']}")
    if one["greeting"]:
        _row("greeting", one["greeting"])
    if one["hello"]:
        offered = "STARTTLS offered" if one["starttls_offered"] else "no STARTTLS"
        _row("EHLO", f"{one['hello']} ({offered if one['esmtp'] else 'no ESMTP'})")
    if one["starttls"]:
        _row("STARTTLS", one["starttls"])
    if one["session"] is not None:
        _say_session(one["session"])
    if one["broken"]:
        _row("broken", one["broken"])
    if one["outcome"] is not None:
        outcome = one["outcome"]
        reason = f": {outcome['reason']}" if outcome["reason"] else ""
        verdict = verdicts[outcome["verdict"]] if one["source"] else "not called"
        _row("verdict", f"{verdict}{reason}")
        if outcome["note"]:
            _row("", outcome["note"])
        if outcome["monitor"] is not None:
            _row("monitor", _monitor(outcome["monitor"]))
    if one["hello_inside"]:
        _row("EHLO", f"{one['hello_inside']} (inside TLS)")


def _monitor(one: Mapping[str, Any]) -> str:
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"{one['level']} ({one['rule']}) {_WOULD[one['would']]}{reason}"


def _say_session(session: Mapping[str, Any]) -> None:
    _row("TLS", ", ".join(filter(None, (session["protocol"], session["cipher"], session["group"]))))
    if session["certificate_asked"]:
        _row("", f"it asked for a certificate and got {session['certificate_shown'] or 'none'}")
    chain = session["chain"]
    count = plural(len(chain["certificates"]), "certificate")
    trust = "leads to a trusted authority" if chain["trusted"] else f"is not trusted: {chain['problem']}"
    _row("chain", f"{count}; it {trust}")
    for certificate in chain["certificates"]:
        names = f" for {', '.join(certificate['names'])}" if certificate["names"] else ""
        _row(
            "",
            f"{certificate['subject']}{names}, by {certificate['issuer']}, to {day(certificate['not_after'])}",
        )
        for problem in certificate["problems"]:
            _row("", f"  problem: {problem}")
    for finding in chain["findings"]:
        if finding["severity"] != "info":
            _row("", f"{finding['severity']}: {finding['text']}")
    for name in session["names"]:
        matched = f"matches {name['matched']}" if name["matched"] else "no match"
        _row("name", f"{name['name']} ({_SOURCES[name['source']]}): {matched}")
    if session["dane_match"] or session["dane_problem"]:
        _row("DANE", session["dane_match"] or session["dane_problem"])
