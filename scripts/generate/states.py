"""docs/smtp-states.md: the server's states and what moves them, drawn from the table that the engine uses."""

from __future__ import annotations

from collections import defaultdict

from gatepost.wire.server_commands import TRANSITIONS, Move, State

HEAD = """# The states of an SMTP session

Made by `scripts/docs` from `TRANSITIONS` in `src/gatepost/wire/server_commands.py`. An arrow is a command that was answered with
success; a command that has no arrow in a state is answered 503. NOOP, HELP, VRFY and QUIT may come in every state and move nothing,
except that QUIT, 421, a breach of the protocol and the peer's end lead to CLOSED.

```mermaid
stateDiagram-v2
"""

WORDS = {
    Move.HELLO: "EHLO, HELO",
    Move.DONE: "end of the message",
}
BEGINNING = (
    "[*] --> SILENT",
    "SILENT --> GREETED: 220",
    "SILENT --> REFUSED: 554, 421",
    "REFUSED --> CLOSED: QUIT",
    "CLOSED --> [*]",
)


def page() -> str:
    arrows: dict[tuple[State, State], list[str]] = defaultdict(list)
    for (state, move), then in TRANSITIONS.items():
        arrows[state, then].append(WORDS.get(move, move.name))
    rows = [f"    {row}" for row in BEGINNING]
    rows += [f"    {a.name} --> {b.name}: {', '.join(moves)}" for (a, b), moves in sorted(arrows.items())]
    return HEAD + "\n".join(rows) + "\n```\n"
