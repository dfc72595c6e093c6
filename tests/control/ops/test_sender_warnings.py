"""A policy with AUTH and no user who may send."""

from __future__ import annotations

from typing import Any

from tests.control.kit import CONTRACT_LIKE, Bench

OFFERED = CONTRACT_LIKE + (
    "mail_flow_policies: [{name: ACCEPTED, action: accept, tls: preferred, smtp_auth: preferred}]\n"
)
TEXT = "no user may send, so nobody can authenticate"


def told(answer: Any) -> list[str]:
    return [row["path"] for row in answer["warnings"] if row["text"] == TEXT]


def test_it_is_warned_about_until_there_is_one(bench: Bench) -> None:
    assert told(bench.apply(OFFERED)) == ["mail_flow_policies[0].smtp_auth"]
    made = bench.call("user.add", name="mary", passphrase="orchid lantern seventeen rivers")
    assert told(made) == []
    assert told(bench.apply(OFFERED)) == []
    assert told(bench.call("user.disable", name="mary")) == ["mail_flow_policies[0].smtp_auth"]
    assert told(bench.apply(OFFERED)) == ["mail_flow_policies[0].smtp_auth"]


def test_what_a_listener_changes_counts(bench: Bench) -> None:
    changed = CONTRACT_LIKE.replace(
        "    certificate: Demo\n", "    certificate: Demo\n    policies: {ACCEPTED: {smtp_auth: required}}\n"
    )
    assert told(bench.apply(changed)) == ["listeners[0].policies[0].smtp_auth"]


def test_without_auth_nothing_is_said(bench: Bench) -> None:
    assert told(bench.apply(CONTRACT_LIKE)) == []
