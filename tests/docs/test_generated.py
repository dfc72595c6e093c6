"""The generated pages say what the code says, and the generators read it rightly."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import BaseModel
from scripts.generate import DOCS, PAGES, PROJECT, events, rfc, settings, states

from gatepost.config.model import Document
from gatepost.core.events import Event
from gatepost.wire.server_commands import TRANSITIONS, Move, State


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run scripts/docs"


def test_every_event_is_described_with_all_its_fields() -> None:
    page = events.page()
    for kind in Event.__subclasses__():
        text = page.partition(f"### {kind.__name__}")[2].partition("###")[0]
        named = [field.name for field in fields(kind) if field.name != "at"]
        assert text.partition("Fields: ")[2].startswith(", ".join(f"`{name}`" for name in named))


def test_every_key_of_the_configuration_is_described() -> None:
    page = PAGES["settings.md"]()

    def look(section: type[BaseModel], path: str) -> None:
        table = page.partition(f"## {path}\n")[2].partition("\n## ")[0]
        for name, field in section.model_fields.items():
            assert f"\n| `{field.alias or name}` | " in table, (path, name)
            assert settings.cleaned(field.description or "") in table, (path, name)

    look(Document, "The document")
    for name, field in Document.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            look(field.annotation, f"`{field.alias or name}`")


def test_every_transition_is_an_arrow() -> None:
    page = states.page()
    for (state, move), then in TRANSITIONS.items():
        (arrow,) = [line for line in page.splitlines() if f" {state.name} --> {then.name}: " in line]
        assert states.WORDS.get(move, move.name) in arrow
    assert {state.name for state in State} == {word for word in page.split() if word in State.__members__}
    assert not [move for move in Move if move not in {m for _, m in TRANSITIONS} and move is not Move.ANY]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RFC 5321 §4.4 (trace), §6.3 (loops)", [(5321, "4.4"), (5321, "6.3")]),
        ("RFC 3848 and RFC 6531 §4.3", [(3848, ""), (6531, "4.3")]),
        ("# RFC 5321\n    # §3 and §4, RFC 1870", [(5321, "3"), (5321, "4"), (1870, "")]),
        ("RFC 9525; see YAML 1.2.2 §10.3", [(9525, "")]),
        ("RFC 5280 §A.1 says", [(5280, "A.1")]),
        ("§2 of nothing", []),
    ],
)
def test_citations_are_read_from_prose(text: str, found: list[tuple[int, str]]) -> None:
    assert list(rfc.citations(text)) == found


def test_every_cited_rfc_has_a_title_and_every_title_is_cited() -> None:
    assert set(rfc.collect(PROJECT / "src")) == set(rfc.TITLES)
