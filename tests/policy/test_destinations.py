"""Which destination rule applies to a recipient domain."""

from __future__ import annotations

import datetime

import pytest

from gatepost.core.tls import TlsLevel
from gatepost.policy.destinations import DestinationEntry, DestinationRule, DestinationTable

TODAY = datetime.date(2026, 11, 24)


def entry(domain: str, until: datetime.date | None = None) -> DestinationEntry:
    return DestinationEntry(DestinationRule(TlsLevel.REQUIRED, domain, path=f"d[{domain}]"), until)


TABLE = DestinationTable(
    DestinationRule(TlsLevel.PREFERRED),
    [
        entry("Partner.Example"),
        entry(".partner.example"),
        entry(".deep.partner.example"),
        entry("old.example", TODAY - datetime.timedelta(days=1)),
        entry(".legacy.example", TODAY),
        entry("x.late.example", TODAY - datetime.timedelta(days=1)),
        entry(".late.example"),
        entry("bücher.example"),
        entry("[192.0.2.1]"),
    ],
)


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("partner.example", "Partner.Example"),
        ("a.partner.example", ".partner.example"),
        ("a.b.partner.example", ".partner.example"),
        ("deep.partner.example", ".partner.example"),
        ("a.deep.partner.example", ".deep.partner.example"),
        ("notpartner.example", ""),
        ("old.example", ""),
        ("a.legacy.example", ".legacy.example"),
        ("legacy.example", ""),
        ("x.late.example", ".late.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("example", ""),
    ],
)
def test_exact_beats_longest_suffix_beats_default(domain: str, found: str) -> None:
    assert TABLE.find(domain, TODAY).domain == found


def test_an_entry_ends_with_its_last_day() -> None:
    assert TABLE.find("a.legacy.example", TODAY + datetime.timedelta(days=1)) is TABLE.default


@pytest.mark.parametrize(
    ("domain", "found", "expired"),
    [
        ("partner.example", "Partner.Example", []),
        ("a.partner.example", ".partner.example", []),
        ("old.example", None, ["old.example"]),
        ("x.late.example", ".late.example", ["x.late.example"]),
        ("example", None, []),
    ],
)
def test_the_choice_says_why_the_rule_counts(domain: str, found: str | None, expired: list[str]) -> None:
    choice = TABLE.choose(domain, TODAY)
    assert (choice.entry and choice.entry.rule.domain) == found
    assert [entry.rule.domain for entry in choice.expired] == expired
    assert choice.rule is TABLE.find(domain, TODAY)
