"""What `gatepost zoo` prints, in lines of at most 80 columns, and as JSON with stable keys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gatepost.app.show.screen import chopped, wrapped
from gatepost.app.zoo.check import Result
from gatepost.app.zoo.places import RESOLVER
from gatepost.app.zoo.population import Population
from gatepost.app.zoo.table import Column, Inhabitant
from gatepost.control.shell.screen import plural, safe


def inhabitant_rows(population: Population) -> list[dict[str, Any]]:
    """Who lives there, for `--json`."""
    return [
        {
            "name": one.name,
            "domain": one.domain,
            "cases": list(one.cases),
            "wrong": one.wrong,
            "addresses": list(population.where[one.name].hosts),
        }
        for one in population.chosen
    ]


def started(population: Population, column: Column) -> dict[str, Any]:
    """`zoo start --json`: one object."""
    return {
        "home": str(population.stage.home.root),
        "pid": os.getpid(),
        "resolver": f"{RESOLVER}:53",
        "level": column.value,
        "inhabitants": inhabitant_rows(population),
    }


def welcome(population: Population, column: Column, *, person: bool) -> list[str]:
    """What `zoo start` says when all is up. `person`: it was not root who started it."""
    lines: list[str] = []
    for one in population.chosen:
        lines += _inhabitant(one, population.where[one.name].hosts)
    home = population.stage.home.root
    enter = "-U --preserve-credentials " if person else ""
    lines += [
        "",
        *wrapped(
            f"{plural(len(population.chosen), 'inhabitant')}. Their gateway stands at the level {column.value};"
            " from another terminal:"
        ),
        f"  export GATEPOST_HOME={home}",
        f"  gatepost explain {population.chosen[0].domain} --live",
        "  gatepost log follow",
        "",
        *wrapped("Other programs, inside the zoo's network (its resolver is in /etc/resolv.conf there):"),
        f"  nsenter -t {os.getpid()} {enter}-n -m",
        "",
        "Up until Ctrl-C.",
    ]
    return lines


def _inhabitant(one: Inhabitant, addresses: Sequence[str]) -> list[str]:
    head = f"{one.domain}  {', '.join(addresses)}  {', '.join(one.cases)}"
    return [*chopped(head), *wrapped(one.wrong, first="    ")]


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """`zoo check --json`: an object for each cell."""
    return [
        {
            "inhabitant": result.inhabitant.name,
            "domain": result.inhabitant.domain,
            "cases": list(result.inhabitant.cases),
            "level": result.column.value,
            "expected_verdict": result.expected.verdict.value,
            "expected_reason": result.expected.reason,
            "verdict": result.found.verdict.value if result.found else "",
            "reason": result.found.reason if result.found else "",
            "agrees": not result.problem,
            "problem": result.problem,
        }
        for result in results
    ]


def differences(results: Sequence[Result]) -> list[str]:
    """Every cell that is not as the table says."""
    lines: list[str] = []
    for result in results:
        if not result.problem:
            continue
        lines += wrapped(f"{result.inhabitant.name} at {result.column.value}: {result.problem}")
        expected, found = result.expected, result.found
        lines += chopped(f"{expected.verdict.value} {expected.reason}", first="    table  ", rest=" " * 11)
        if found is not None:
            lines += chopped(
                safe(f"{found.verdict.value} {found.reason}"), first="    found  ", rest=" " * 11
            )
    return lines


def summary(results: Sequence[Result], seconds: float) -> str:
    wrong = sum(bool(result.problem) for result in results)
    done = f"{plural(len(results), 'outcome')} in {seconds:.0f} s"
    return f"{done}: all as the table says." if not wrong else f"{done}: {wrong:,} not as the table says."
