"""Who is told, and what is told again."""

from __future__ import annotations

import pytest

from gatepost.config.model import Alerts, AlertSeverity
from gatepost.policy.alert import SEVERITIES, recipients_of, told_already

ALERTS = Alerts.model_validate(
    {
        "recipients": [
            {"address": "all@example.net"},
            {"address": "grave@example.net", "classes": ["system"], "severities": ["critical"]},
            {"address": "both@example.net", "classes": ["all"], "severities": ["critical", "warning"]},
            {"address": "all@example.net", "severities": ["warning"]},
        ]
    }
)


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("critical", ("all", "grave", "both")),
        ("warning", ("all", "both")),
        ("information", ("all",)),
    ],
)
def test_each_takes_the_severities_of_its_entry_once(severity: str, told: tuple[str, ...]) -> None:
    assert recipients_of(ALERTS, severity) == tuple(f"{name}@example.net" for name in told)


def test_a_recipient_of_other_classes_is_not_told() -> None:
    assert recipients_of(ALERTS, "critical", about="hardware") == ("all@example.net", "both@example.net")


def test_the_severities_are_those_of_the_configuration() -> None:
    assert set(SEVERITIES) | {"all"} == {severity.value for severity in AlertSeverity}


@pytest.mark.parametrize(
    ("severity", "after", "before", "expected"),
    [
        ("warning", 10.0, "warning", True),
        ("warning", 3599.0, "critical", True),
        ("critical", 10.0, "warning", False),
        ("warning", 3600.0, "warning", False),
        ("warning", -10.0, "warning", False),
    ],
)
def test_the_same_within_an_hour_is_told_only_when_graver(
    severity: str, after: float, before: str, expected: bool
) -> None:
    assert told_already(severity, 1000.0 + after, (1000.0, before)) is expected
    assert told_already(severity, 1000.0, None) is False
