"""What a rehearsal found, for people: what would fail first, then what could not be told, then what would change."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.control.shell.files import STANDARD
from gatepost.control.shell.screen import day, local, paragraph, plural, say

SHOWN = 20  # destinations or senders
REASONS = 3
NAMES = 4
PENDING = "your pending changes"
_INDENT = "    "
_GONE_THROUGH = {"outgoing": "outgoing messages", "incoming": "incoming sessions"}
_SECURITY = {
    "clear": "in clear",
    "encrypted": "encrypted, not verified",
    "verified": "encrypted and verified",
    "refused": "refused",
    "tls": "under TLS",
}


def file_name(file: str) -> str:
    """What a policy from `file` is called on the screen."""
    return "standard input" if file == STANDARD else file


class Progress:
    """How far a long rehearsal is: one line on standard error that changes, where somebody watches, and is gone at the end."""

    def __init__(self) -> None:
        self._watched = sys.stderr.isatty()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def __call__(self, told: Mapping[str, Any]) -> None:
        if self._watched:
            self._shown = True
            noun = _GONE_THROUGH.get(told["what"], told["what"])
            self._write(f"\r\x1b[K{told['done']:,} of {told['of']:,} {noun}")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def say_rehearsal(found: Mapping[str, Any], what: str) -> None:
    """The whole account of `what`, as people call it: a file's name, or their pending changes."""
    reach = found["records"]
    if not reach["from"]:
        say("Nothing is recorded yet: there is nothing to rehearse with.")
        _notes(found)
        return
    span = f"{local(reach['from'])} to {local(reach['to'])}"
    paragraph("", f"Rehearsal of {what} over the records of {plural(found['days'], 'day')}, {span}.")
    say("Nothing was changed.")
    _outbound(found["outbound"])
    _inbound(found["inbound"])
    _notes(found)


def _notes(found: Mapping[str, Any]) -> None:
    notes = list(found["notes"])
    if found["by_today"]:
        notes.append(
            f"{plural(found['by_today'], 'message')} judged by what DNS says today: it was not looked up then"
        )
    if notes:
        say()
    for note in notes:
        paragraph("Note: ", note)


def _outbound(part: Mapping[str, Any]) -> None:
    say()
    say(f"Outgoing: {plural(part['messages'], 'message')}")
    _counts(part, "delivered")
    for one in part["failing"][:SHOWN]:
        say()
        paragraph("  ", f"{one['domain']}: {plural(one['messages'], 'message')} would fail")
        paragraph(_INDENT, f"by {one['rule']}, {one['level']}")
        _reasons(one, named=True)
        _names("from", one["senders"], one["more_senders"])
    _more(part, "destination")
    _undecided(part["undecided"])
    other = part["not_delivered"]
    if count := sum(other.values()):
        passing = f"{other['would_pass']:,} would pass" if other["would_pass"] else "none of them would pass"
        say()
        paragraph("  ", f"{plural(count, 'message')} not delivered then; {passing}.")
    _security(part["security"])
    for one in part["monitored"]:
        paragraph(
            "  ",
            f"{one['domain']}: {plural(one['messages'], 'message')} pass, and an entry in monitor mode would refuse them",
        )


def _inbound(part: Mapping[str, Any]) -> None:
    say()
    say(f"Incoming: {plural(part['messages'], 'message')} begun")
    _counts(part, "accepted")
    for one in part["failing"][:SHOWN]:
        say()
        who = one["address"] if one["host"] == "unknown" else f"{one['host']} [{one['address']}]"
        paragraph("  ", f"{who}: {plural(one['messages'], 'message')} would be refused")
        where = f"listener {one['listener']}, group {one['group']}"
        paragraph(_INDENT, where + (f", policy {one['policy']}" if one["policy"] else ""))
        _reasons(one, named=False)
        _names("from", one["senders"], one["more_senders"])
    _more(part, "sender")
    _undecided(part["undecided"])
    other = part["refused_then"]
    if other["would_pass"]:
        say()
        paragraph("  ", f"{plural(other['would_pass'], 'message')} refused then would be accepted.")
    _security(part["security"])


def _counts(part: Mapping[str, Any], done: str) -> None:
    say(f"  {part['would_fail']:>9,}  {done} then, would fail")
    say(f"  {part['could_not_tell']:>9,}  {done} then, could not tell")
    say(f"  {part['would_pass']:>9,}  {done} then, would pass")


def _reasons(one: Mapping[str, Any], *, named: bool) -> None:
    """Why, and for how many each; `named` with the host that is meant."""
    reasons: Sequence[Mapping[str, Any]] = one["reasons"]
    for reason in reasons[:REASONS]:
        where = reason["host"] if named else ""
        if where and reason["address"] and reason["address"] != where:
            where = f"{where} [{reason['address']}]"
        paragraph(_INDENT, f"{reason['messages']:,} x {reason['reason']}" + (f" ({where})" if where else ""))
        certificate = reason["certificate"]
        if certificate is not None:
            until = f"ends {day(certificate['not_after'])}"
            paragraph(
                _INDENT + "  ", f"{certificate['subject']}, issuer {certificate['issuer'] or '-'}, {until}"
            )
            say(f"{_INDENT}  SHA-256 {certificate['fingerprint']}")
    left = len(reasons) - REASONS + one["more_reasons"]
    if left > 0:
        say(f"{_INDENT}and {plural(left, 'more reason')}")


def _names(word: str, names: Sequence[Mapping[str, Any]], more: int) -> None:
    shown = [f"{one['domain'] or 'the null sender'} ({one['messages']:,})" for one in names[:NAMES]]
    left = len(names) - NAMES + more
    if left > 0:
        shown.append(f"and {left:,} more")
    paragraph(_INDENT, f"{word} {', '.join(shown)}")


def _more(part: Mapping[str, Any], word: str) -> None:
    left = len(part["failing"]) - SHOWN + part["more_failing"]
    if left > 0:
        say()
        say(f"  and {plural(left, f'more {word}')} (--json has the first 200)")


def _undecided(groups: Sequence[Mapping[str, Any]]) -> None:
    for one in groups:
        say()
        paragraph("  ", f"Could not tell for {plural(one['messages'], 'message')}: {one['text']}")
        if "destinations" in one:
            _names("to", one["destinations"], one["more_destinations"])
        else:
            _names("from", one["senders"], one["more_senders"])


def _security(changes: Sequence[Mapping[str, Any]]) -> None:
    changed = [one for one in changes if one["before"] != one["after"]]
    if changed:
        say()
    for one in changed:
        before, after = _SECURITY[one["before"]], _SECURITY[one["after"]]
        paragraph("  ", f"{plural(one['messages'], 'message')}: {before} then, would be {after}")
