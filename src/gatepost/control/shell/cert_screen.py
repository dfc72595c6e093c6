"""How certificates look on the terminal: lists, pages, findings, and what a change to one says."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.screen import WIDTH, day, facts, local, note, paragraph, safe, say, table

SHORT_FINGERPRINT = 12
_DATE = 10


def note_paragraph(text: str, head: str = "") -> None:
    """A text on standard error, wrapped to the width of a terminal."""
    width = WIDTH - len(head)
    for line in textwrap.wrap(safe(text), width, break_long_words=False, break_on_hyphens=False) or [""]:
        note(head + line)
        head = " " * len(head)


def say_list(rows: Sequence[Mapping[str, Any]]) -> None:
    """The list: one row a certificate, more where more than one thing uses it. Renewals only where there are automatic ones."""
    automatic = any(row["automatic"] for row in rows)
    headings = [
        "Name",
        "Common name",
        "Status",
        "Until",
        "Days",
        *(["Renewal"] if automatic else []),
        "Used by",
    ]
    cells: list[list[str]] = []
    for row in rows:
        first, *more = row["used_by"] or ["-"]
        left = "-" if row["days_left"] is None else f"{row['days_left']:,}"
        head = [row["name"], row["common_name"] or "-", row["status"], day(row["not_after"]), left]
        head += [_renewal(row)] if automatic else []
        cells.append([*head, first])
        cells += [[*([""] * len(head)), use] for use in more]
    table(headings, cells)


def _renewal(row: Mapping[str, Any]) -> str:
    """When it renews itself, or that somebody has to."""
    if not row["automatic"]:
        return "by hand"
    return day(row["next_renewal"]) if row["next_renewal"] else "automatic"


def say_page(found: Mapping[str, Any]) -> None:
    """One certificate's page."""
    facts(
        (
            ("Name", found["name"]),
            *_pair_rows(found),
            ("Status", found["status"]),
            ("Renewal", _renewal(found)),
            ("Level", found["level"]),
            ("Origin", f"{found['origin']}, {local(found['created'])}"),
            ("Private key", "" if found["private_key"] else "missing"),
            ("Request", _request(found)),
            ("Used by", ", ".join(found["used_by"]) or "nothing"),
        )
    )
    _say_chain(found["chain"])
    if found["beside"] is not None:
        say("Second certificate, for peers that can do with it")
        facts((*_pair_rows(found["beside"]), ("Origin", found["beside"]["origin"])), indent="  ")
        _say_chain(found["beside"]["chain"], indent="  ")
    if found["findings"]:
        say("Findings")
        say_findings(found["findings"])
    _say_history(found["history"])
    if found["pending"]:
        say("You have pending changes to it: `gatepost config pending` shows them.")


def _pair_rows(pair: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("Subject", pair["subject"]),
        ("Names", ", ".join(pair["names"])),
        ("Issuer", pair["issuer"]),
        ("Valid", f"{day(pair['not_before'])} to {day(pair['not_after'])}"),
        ("Key", pair["key"]),
        ("Serial", pair["serial"]),
        ("SHA-256", pair["fingerprint"]),
    )


def _say_chain(chain: Sequence[Mapping[str, Any]], indent: str = "") -> None:
    if len(chain) < 2:
        return
    say(f"{indent}Chain")
    for certificate in chain:
        kept = "" if certificate["sent"] else " (a root: kept, not sent)"
        say(safe(f"{indent}  {certificate['subject']}, until {day(certificate['not_after'])}{kept}"))


def _request(found: Mapping[str, Any]) -> str:
    request = found["request"]
    if request is None:
        return ""
    return "for a new key, which waits" if request["waiting_key"] else "for the key that is served"


def _say_history(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    say("History (`gatepost cert restore NAME VERSION` brings one back)")
    cells = []
    for row in rows:
        for place, certificate in enumerate(row["certificates"] or [None]):
            head = ("", "", "") if place else (_versions(row), local(row["time"])[:_DATE], row["origin"])
            cells.append((*head, *_history_cells(certificate)))
    table(("Version", "Since", "Origin", "Until", "SHA-256", "Subject"), cells, indent="  ")


def _versions(row: Mapping[str, Any]) -> str:
    first, last = row["version"], row["last_version"]
    if row["in_force"]:
        return f"{first} (now)"
    return str(first) if first == last else f"{first} to {last}"


def _history_cells(certificate: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if certificate is None:
        return ("-", "-", "unreadable")
    return (
        day(certificate["not_after"]),
        certificate["fingerprint"][:SHORT_FINGERPRINT],
        certificate["subject"],
    )


def say_findings(findings: Sequence[Mapping[str, str]], indent: str = "  ") -> None:
    """Each finding: what it is, what peers will see, what repairs it."""
    for finding in findings:
        paragraph(f"{indent}{finding['severity']}: ", finding["text"])
        if finding["meaning"]:
            paragraph(f"{indent}  meaning: ", finding["meaning"])
        if finding["repair"]:
            paragraph(f"{indent}  repair:  ", finding["repair"])


_OUTCOMES = {"passed": "yes", "failed": "NO", "expected": "no, as expected", "unknown": "not known"}


def say_walk(walk: Mapping[str, Any]) -> None:
    """The steps from the self-signed certificate to the root (R37), one below the other."""
    paragraph("", f"Does {walk['subject']} verify?")
    for step in walk["steps"]:
        paragraph(f"  {_OUTCOMES[step['outcome']]}: ", step["text"])
        if step["repair"]:
            paragraph("    repair: ", step["repair"])


def say_changed(client: Client, answer: Mapping[str, Any]) -> None:
    """What a change to a certificate came to: the certificate, notes, findings, uses, and the version."""
    found = answer["certificate"]
    say(safe(f"Certificate {found['name']}: {found['subject']}"))
    facts(_short_rows(found), indent="  ")
    if found["beside"] is not None:
        say(safe(f"  Beside it: {found['beside']['subject']}"))
        facts(_short_rows(found["beside"]), indent="    ")
    for text in answer["notes"]:
        paragraph("  note: ", text)
    say_findings(found["findings"])
    _say_replaces(answer)
    say_change(client, answer)


def _short_rows(pair: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("names", ", ".join(pair["names"])),
        ("issuer", pair["issuer"]),
        ("valid until", day(pair["not_after"])),
        ("key", pair["key"]),
    )


def _say_replaces(answer: Mapping[str, Any]) -> None:
    used = answer.get("replaces")
    if not used or answer["unchanged"]:
        return
    if answer["pending"]:
        paragraph("", f"After the commit it is served by {', '.join(used)}; until then the old one is.")
    else:
        paragraph("", f"It is served by {', '.join(used)}.")
