"""The zoo's table is complete and sound: every case, every column, and nothing that the zoo does not know."""

from __future__ import annotations

import re

import pytest

from gatepost.app.zoo.behaviours import BEHAVIOURS
from gatepost.app.zoo.certificates import RECIPES
from gatepost.app.zoo.places import CREDULOUS, RESOLVER, addresses, places
from gatepost.app.zoo.stage import KEEPER, configuration
from gatepost.app.zoo.table import FAMILIES, INHABITANTS, STRUCK_OUT, Column, Inhabitant, Verdict
from gatepost.app.zoo.table.expect import (
    CLEAR,
    REFUSED,
    UNVALIDATED,
    VERIFIED,
    but,
    by_dane,
    expect,
    fine,
    unbelieved,
    unreached,
)
from gatepost.config.load import load_plain
from gatepost.core.tls import TlsLevel
from gatepost.policy.tls_out import LEVELS_BY_STRICTNESS

CASES = [f"C{number}" for number in (*range(33, 41), 45)] + [f"D{number}" for number in range(1, 11)]
SAFER = {Verdict.CLEAR: 0, Verdict.ENCRYPTED: 1, Verdict.VERIFIED: 2, Verdict.REFUSED: 3, Verdict.BOUNCED: 3}


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_an_inhabitant_or_is_struck_out(case: str) -> None:
    assert [one for one in INHABITANTS if case in one.cases] or [
        one for one in STRUCK_OUT if one.case == case
    ]


@pytest.mark.parametrize(
    "case", ["C33", "C34", "C35", "C36", "C45", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10"]
)
def test_what_concerns_deliveries_has_inhabitants(case: str) -> None:
    assert any(case in one.cases for one in INHABITANTS)


def test_what_is_struck_out_says_why_and_names_tests_that_exist() -> None:
    from pathlib import Path

    top = Path(__file__).parents[3]
    for one in STRUCK_OUT:
        assert len(one.reason) > 20, one
        assert one.case in CASES, one
        for path in re.findall(r"tests/[\w/]+\.py", one.reason):
            assert (top / path).is_file(), (one.case, path)


def test_names_are_unique_and_short_enough_for_a_label() -> None:
    names = [one.name for one in INHABITANTS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])", name) for name in names)
    assert KEEPER in names


@pytest.mark.parametrize("one", INHABITANTS, ids=lambda one: one.name)
def test_a_line_is_whole(one: Inhabitant) -> None:
    about_dane = one in FAMILIES["DANE: records"] or one in FAMILIES["DANE: DNS and DNSSEC"]
    assert list(one.expected) == [column for column in Column if column.validated or about_dane]
    assert set(one.cases) <= {*CASES, "C7", "C8", "C9", "C10", "C11"}
    assert one.wrong.endswith(".")
    assert len(one.wrong) < 110
    for host in one.hosts:
        assert host.does in BEHAVIOURS
        assert host.shows in RECIPES
    if one.policy is not None:
        assert one.policy.shows in RECIPES
    for outcome in one.expected.values():
        assert "{" not in outcome.reason.format(domain=one.domain, mx=one.mx).replace("{0}", "")
        if outcome.verdict in (REFUSED, Verdict.BOUNCED, CLEAR):
            assert outcome.reason, "refused, given back or in clear, and nobody says why"


@pytest.mark.parametrize("one", INHABITANTS, ids=lambda one: one.name)
def test_no_stricter_setting_lets_pass_more(one: Inhabitant) -> None:
    """Rule (e) as far as the table can break it: by level, and by DANE and MTA-STS added to `preferred`."""
    by_level = [one.expected[Column(level.value)].verdict for level in LEVELS_BY_STRICTNESS]
    protection = [SAFER[verdict] for verdict in by_level]
    # Verified is more than encrypted, and `required` does not verify: of the two either may come first.
    folded = [1 if rank == 2 else rank for rank in protection]
    if not any(verdict is Verdict.BOUNCED for verdict in by_level):
        hosted_last = [
            rank
            for rank, level in zip(folded, LEVELS_BY_STRICTNESS, strict=True)
            if level is not TlsLevel.NONE
        ]
        assert hosted_last == sorted(hosted_last)
    alone = SAFER[one.expected[Column.PREFERRED].verdict]
    for column in (Column.STS, Column.DANE, Column.DANE_MANDATORY, Column.DANE_STS):
        assert SAFER[one.expected[column].verdict] >= alone, column


def test_the_places_are_documentation_addresses_and_everybody_has_his_own() -> None:
    found = addresses(places(INHABITANTS))
    assert len(set(found)) == len(found)
    assert all(re.match(r"(198\.51\.100|203\.0\.113|192\.0\.2)\.", address) for address in found)


@pytest.mark.parametrize("column", Column)
def test_the_configuration_of_each_column_is_a_good_one(column: Column) -> None:
    document = load_plain(configuration(column, INHABITANTS))
    made = document.destination_controls.default
    assert made.tls.value == (
        column.value if column.value in [level.value for level in TlsLevel] else "preferred"
    )


def test_outcomes_in_short_name_every_column_once() -> None:
    with pytest.raises(ValueError, match="no outcome for"):
        expect(("none", CLEAR, "x"))
    with pytest.raises(ValueError, match="named twice"):
        expect(("none rest", CLEAR, "x"), ("none", REFUSED, "y"))
    base = expect(("rest", CLEAR, "x"))
    assert set(base) == {column for column in Column if column.validated}
    changed = but(base, ("sts dane", REFUSED, "y"))
    assert [column.value for column, outcome in changed.items() if outcome.verdict is REFUSED] == [
        "sts",
        "dane",
    ]


def test_behind_a_resolver_that_validates_nothing_it_is_as_if_nothing_were_published() -> None:
    found = unbelieved(by_dane(fine(), VERIFIED, "verified yes: DANE-EE 3 1 1"))
    assert found[Column.DANE_UNVALIDATED] == found[Column.PREFERRED]
    mandatory = found[Column.DANE_MANDATORY_UNVALIDATED]
    assert (mandatory.verdict, mandatory.reason) == (REFUSED, UNVALIDATED)
    nowhere = unbelieved(unreached(Verdict.BOUNCED, "accepts no mail"), ("dane-unvalidated", CLEAR, "x"))
    assert nowhere[Column.DANE_MANDATORY_UNVALIDATED] == nowhere[Column.PREFERRED]
    assert nowhere[Column.DANE_UNVALIDATED].verdict is CLEAR


def test_only_the_last_columns_ask_the_resolver_that_lies() -> None:
    asked = {column: configuration(column, ())["dns"]["servers"] for column in Column}
    lied_to = {Column.DANE_UNVALIDATED, Column.DANE_MANDATORY_UNVALIDATED}
    assert {column for column, servers in asked.items() if servers == [CREDULOUS]} == lied_to
    assert {column for column, servers in asked.items() if servers == [RESOLVER]} == set(Column) - lied_to
