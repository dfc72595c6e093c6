"""The hand-written pages: links lead somewhere, and what the tour names is where it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "src" / "gatepost"
DECISIONS = PROJECT / "docs" / "decisions"
PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")],
    key=lambda path: path.relative_to(PROJECT).as_posix(),
)

LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
NAMED = re.compile(r"`([A-Za-z_][\w.]*)`\s+\(`([\w/]+\.py)`")
FILE = re.compile(r"`([\w/]+\.py)`")
HEADINGS = ["## Context", "## Choice", "## Consequence", "## What would change our mind"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()]
    assert broken == []


def defined(path: Path) -> set[str]:
    """The names that a module defines, and `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in inner}
        for target in node.targets if isinstance(node, ast.Assign) else ():
            names |= {target.id} if isinstance(target, ast.Name) else set()
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_the_tour_names_what_there_is() -> None:
    text = (PROJECT / "docs" / "tour.md").read_text("utf-8")
    named = NAMED.findall(text)
    assert len(named) > 40
    missing = [
        f"{name} ({file})"
        for name, file in named
        if not (PACKAGE / file).is_file() or name not in defined(PACKAGE / file)
    ]
    missing += [file for file in FILE.findall(text) if not (PACKAGE / file).is_file()]
    assert missing == []


def test_the_table_of_rows_names_every_row_and_tests_that_there_are() -> None:
    text = (PROJECT / "docs" / "rows.md").read_text()
    rows = re.findall(r"^\| (R\d+h?) \|", text, re.MULTILINE)
    assert sorted(rows, key=lambda row: (int(row[1:].rstrip("h")), row)) == rows
    assert {row.rstrip("h") for row in rows} == {f"R{number}" for number in range(1, 39)}
    for test in re.findall(r"`(tests/[^`]+)`", text):
        assert (PROJECT / test).is_file(), f"docs/rows.md names {test}"


def test_the_index_of_documents_is_complete() -> None:
    index = (PROJECT / "docs" / "README.md").read_text("utf-8")
    there = {path.name for path in (PROJECT / "docs").glob("*.md")} - {"README.md"}
    assert [name for name in sorted(there) if f"({name})" not in index] == []


def test_the_index_of_decisions_is_complete_and_in_order() -> None:
    pages = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    rows = re.findall(
        r"^- \[(\d{4})\]\((\S+)\) (.*)$", (DECISIONS / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert [name for _, name, _ in rows] == [page.name for page in pages]
    for (number, name, title), page in zip(rows, pages, strict=True):
        assert name.startswith(f"{number}-")
        lines = page.read_text("utf-8").splitlines()
        assert lines[0] == f"# {number}. {title}"
        assert [line for line in lines if line.startswith("## ")] == HEADINGS


def test_the_numbers_of_decisions_run_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted(DECISIONS.glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
