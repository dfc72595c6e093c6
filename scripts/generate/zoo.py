"""docs/zoo-table.md: the zoo's inhabitants and their outcomes, printed from the table that `gatepost zoo check` runs."""

from __future__ import annotations

from gatepost.app.zoo.table import FAMILIES, INHABITANTS, STRUCK_OUT, Column, Inhabitant, Outcome, Verdict
from gatepost.app.zoo.table.expect import NO_RECORDS, NOT_SIGNED, OFF, UNVALIDATED
from gatepost.app.zoo.table.judges import DISSENTS, JUDGED
from gatepost.app.zoo.table.shape import Judge

LETTERS = {
    Verdict.CLEAR: "C",
    Verdict.ENCRYPTED: "E",
    Verdict.VERIFIED: "**V**",
    Verdict.REFUSED: "R",
    Verdict.BOUNCED: "B",
}
HEADS = {
    Column.NONE: "none",
    Column.PREFERRED: "pref.",
    Column.PREFERRED_VERIFY: "pref. verify",
    Column.REQUIRED: "req.",
    Column.REQUIRED_VERIFY: "req. verify",
    Column.REQUIRED_VERIFY_HOSTED: "req. verify hosted",
    Column.STS: "sts",
    Column.DANE: "dane",
    Column.DANE_MANDATORY: "dane mand.",
    Column.DANE_STS: "dane sts",
    Column.DANE_UNVALIDATED: "dane, lied to",
    Column.DANE_MANDATORY_UNVALIDATED: "dane mand., lied to",
}
_UNDERSTOOD = {
    (Column.NONE, OFF),
    (Column.DANE_MANDATORY, NO_RECORDS),
    (Column.DANE_MANDATORY, NOT_SIGNED),
    (Column.DANE_MANDATORY_UNVALIDATED, UNVALIDATED),
}

HEAD = """# The inhabitants of the zoo

Made by `scripts/docs` from the tables in `src/gatepost/app/zoo/table/`, which `gatepost zoo check` runs ([zoo.md](zoo.md)). {count}
inhabitants, {columns} settings. A column is what `destination_controls.default` says: a level, or DANE (opportunistic, mandatory), MTA-STS and
both beside the level `preferred`. *Lied to* is DANE (`dane-unvalidated`, `dane-mandatory-unvalidated`) where the gateway's resolver validates nothing and sets AD all the same
(D10): the gateway finds it out, warns once and raises an alert. Only inhabitants that are about DANE have these two.

**C** delivered in clear, **E** delivered over TLS, nobody verified, **V** delivered over TLS to a verified host, **R** refused: not delivered, kept for the next
attempt, **B** given back to its sender. A reason is part of what the log says. Three are left out: `none` says that TLS is off for the destination,
mandatory DANE that the host's addresses are not signed, or that it has no TLSA records, and behind the lying resolver that none is known to validate.

A domain is `NAME.dark.example`, where nothing is signed, or `NAME.zoo.example`, which is.
"""


def page() -> str:
    parts = [HEAD.format(count=len(INHABITANTS), columns=len(Column))]
    for heading, family in FAMILIES.items():
        columns = [column for column in Column if any(column in one.expected for one in family)]
        heads = ["inhabitant", "cases", "what is wrong", *(HEADS[column] for column in columns), "reasons"]
        parts += [f"## {heading}\n", _row(heads), _row(["---"] * len(heads))]
        parts += [_row(_cells(one, columns)) for one in family]
        parts.append("")
    return "\n".join([*parts, *_struck_out(), *_judges()])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(one: Inhabitant, columns: list[Column]) -> list[str]:
    letters = [LETTERS[one.expected[column].verdict] if column in one.expected else "" for column in columns]
    return [f"`{one.domain}`", ", ".join(one.cases), one.wrong.replace("|", "\\|"), *letters, _reasons(one)]


def _reasons(one: Inhabitant) -> str:
    """Each reason once, with its columns; without them where it is the only one."""
    found: dict[str, list[str]] = {}
    for column, outcome in one.expected.items():
        if outcome.reason and (column, outcome.reason) not in _UNDERSTOOD:
            found.setdefault(_text(one, outcome), []).append(HEADS[column])
    if len(found) == 1:
        return "".join(f"`{reason}`" for reason in found)
    return "; ".join(f"`{reason}` ({', '.join(columns)})" for reason, columns in found.items())


def _text(one: Inhabitant, outcome: Outcome) -> str:
    return outcome.reason.format(domain=one.domain, mx=one.mx).replace("|", "\\|")


def _struck_out() -> list[str]:
    rows = [_row([one.case, one.part, one.reason]) for one in STRUCK_OUT]
    heads = ["case", "what of it", "why it has no inhabitant"]
    return ["## Struck out\n", _row(heads), _row(["---"] * 3), *rows, ""]


def _judges() -> list[str]:
    """Where other programs do not come to our verdict."""
    text = (
        f"{len(JUDGED)} inhabitants are about DANE. `tests/live/test_zoo_judges.py` has three other programs judge them:"
        f" {', '.join(f'`{judge.value}`' for judge in Judge)}. What they say agrees with the column `dane`, but for these."
    )
    heads = ["inhabitant", "judge", "", "why"]
    rows = [
        _row([one.inhabitant, f"`{one.judge.value}`", "differs" if one.differs else "cannot judge", one.why])
        for one in DISSENTS
    ]
    return ["## Other judges\n", text, "", _row(heads), _row(["---"] * 4), *rows, ""]
