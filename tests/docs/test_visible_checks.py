"""Every test shows what it checks, so that one that cannot fail is seen.

A check is an `assert`, what `pytest.raises` and its kind expect, a helper that is named `check…`, a wait that fails when its time is over (`wait_…`), or
a reply in a transcript (`talk >> b"NOOP" << "250"`, `tests.fakes.transcript`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
_CHECKS = re.compile(r"check|assert_|wait_|raises$|warns$|fail$")


def unchecked(source: str) -> Iterator[str]:
    """The names of test functions in which nothing is checked, as far as can be seen."""
    for node in ast.walk(ast.parse(source)):
        is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if is_test and not any(_is_check(inner) for inner in ast.walk(node)):
            yield node.name


def _is_check(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift):
        return True
    if isinstance(node, ast.Call):
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return _CHECKS.match(name) is not None
    return False


@pytest.mark.parametrize("folder", sorted(path.name for path in TESTS.iterdir() if path.is_dir()))
def test_every_test_shows_its_check(folder: str) -> None:
    found = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in (TESTS / folder).rglob("test_*.py")
        for name in unchecked(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    ("body", "checks"),
    [
        ("assert one() == 2", True),
        ("with pytest.raises(ValueError):\n  one()", True),
        ("check_taken(one())", True),
        ("gateway.wait_for_log('x')", True),
        ("t >> b'NOOP' << '250'", True),
        ("one()", False),
        ("try:\n  one()\n except ValueError:\n  pass", False),
    ],
)
def test_what_is_a_check(body: str, checks: bool) -> None:
    indented = "\n".join(f" {line}" for line in body.split("\n ")) if body.startswith("try") else f" {body}"
    assert list(unchecked(f"def test_it():\n{indented}\n")) == ([] if checks else ["test_it"])
