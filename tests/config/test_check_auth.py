"""SMTP AUTH in policies: inside TLS only, as each listener has it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document, listener

from gatepost.config.check import check
from gatepost.config.load import load_plain
from gatepost.core.errors import ConfigurationError

TOLD = "mail_flow_policies[0].smtp_auth: is offered inside TLS only, and tls is off (set tls to preferred or required)"


def found(policy: dict[str, Any], *listeners: dict[str, Any], **sections: Any) -> list[str]:
    whole = {"name": "ACCEPTED", "action": "accept", **policy}
    doc = document(listeners=list(listeners) or [listener()], mail_flow_policies=[whole], **sections)
    return [p.line() for p in check(doc, {"Demo", "gw"}, TODAY) if "smtp_auth" in p.line()]


@pytest.mark.parametrize("level", ["preferred", "required"])
@pytest.mark.parametrize("tls", ["preferred", "required"])
def test_it_goes_with_tls(level: str, tls: str) -> None:
    assert found({"smtp_auth": level, "tls": tls}) == []


@pytest.mark.parametrize("tls", [{}, {"tls": "off"}])
def test_without_tls_it_is_a_fault(tls: dict[str, str]) -> None:
    assert found({"smtp_auth": "preferred", **tls}) == [TOLD]
    assert found({"smtp_auth": "off", **tls}) == []


def test_implicit_tls_is_tls() -> None:
    assert found({"smtp_auth": "required", "tls": "off"}, listener(tls="implicit")) == []


def test_a_listener_may_mend_it_and_may_break_it() -> None:
    mended = listener(policies=[{"name": "ACCEPTED", "tls": "required"}])
    assert found({"smtp_auth": "required"}, mended) == []
    without = listener(policies=[{"name": "ACCEPTED", "smtp_auth": "off"}])
    assert found({"smtp_auth": "required"}, without) == []
    broken = listener(policies=[{"name": "ACCEPTED", "tls": "off"}])
    assert found({"smtp_auth": "required", "tls": "preferred"}, broken) == [
        "listeners[0].policies[0].tls: is off, and smtp_auth is offered inside TLS only "
        "(set tls to preferred or required, or smtp_auth to off)"
    ]
    added = listener(policies=[{"name": "ACCEPTED", "smtp_auth": "preferred"}])
    assert found({"tls": "off"}, added) == [
        "listeners[0].policies[0].smtp_auth: is offered inside TLS only, and tls is off "
        "(set tls to preferred or required, or smtp_auth to off)"
    ]
    assert found({"tls": "preferred"}, added) == []


@pytest.mark.parametrize("action", ["reject", "tcprefuse"])
def test_where_no_mail_is_taken_it_means_nothing(action: str) -> None:
    assert found({"action": action, "smtp_auth": "required"}) == [
        f"mail_flow_policies[0].smtp_auth: has no effect with action {action} (leave it out)"
    ]


def test_a_mechanism_twice() -> None:
    assert found({}, smtp_auth={"mechanisms": ["PLAIN", "LOGIN", "PLAIN"]}) == [
        "smtp_auth.mechanisms[2]: PLAIN is given twice (leave one out)"
    ]


@pytest.mark.parametrize(
    "section",
    [
        {"mechanisms": []},
        {"mechanisms": ["CRAM-MD5"]},
        {"max_failures_per_user": 0},
        {"max_failures_per_session": "unlimited"},
        {"max_failures": 3},
    ],
)
def test_what_is_not_taken(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        load_plain({"smtp_auth": section})


def test_a_listener_that_demands_it_needs_no_recipient_table() -> None:
    def empty(policy: dict[str, Any], **keys: Any) -> bool:
        whole = {"name": "ACCEPTED", "action": "accept", "tls": "required", **policy}
        doc = document(listeners=[listener(recipient_access=[], **keys)], mail_flow_policies=[whole])
        return any("recipient_access: is empty" in p.line() for p in check(doc, {"Demo", "gw"}, TODAY))

    assert empty({})
    assert empty({"smtp_auth": "preferred"})
    assert not empty({"smtp_auth": "required"})
    assert not empty({}, policies=[{"name": "ACCEPTED", "smtp_auth": "required"}])
    assert empty({"smtp_auth": "required"}, policies=[{"name": "ACCEPTED", "smtp_auth": "preferred"}])
