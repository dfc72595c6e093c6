"""The pages of docs/ that are made from the code, so that they cannot say anything else.

    rfc           docs/rfc.md               which clause of which RFC is heeded where
    events        docs/events.md            every event, its fields, and its lines in the mail log
    settings      docs/settings.md          every key of the configuration
    states        docs/smtp-states.md       the states of an SMTP session, as a diagram
    combinations  docs/tls-combinations.md  what level, DANE and MTA-STS come to together
    zoo           docs/zoo-table.md         the inhabitants of the zoo, and what has to come of mail for each

Each module has one pure function `page() -> str`. `scripts/docs` writes the pages; `tests/docs` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.generate import combinations, events, rfc, settings, states, zoo

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "rfc.md": lambda: rfc.page(PROJECT / "src"),
    "events.md": events.page,
    "settings.md": settings.page,
    "smtp-states.md": states.page,
    "tls-combinations.md": combinations.page,
    "zoo-table.md": zoo.page,
}


def stale() -> list[str]:
    """The pages whose file does not say what the code says."""
    return [
        name
        for name, page in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text("utf-8") != page()
    ]
