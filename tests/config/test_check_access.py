"""HAT, RAT and policies: what cannot work, and what can never be reached."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document, listener

from gatepost.config.check import check


def found(warning: bool, **keys: Any) -> list[str]:
    sections = keys.pop("sections", {})
    doc = document(listeners=[listener(**keys)], **sections)
    return [p.line() for p in check(doc, {"Demo", "gw"}, TODAY) if p.warning is warning]


def faults(**keys: Any) -> list[str]:
    return found(False, **keys)


def warnings(**keys: Any) -> list[str]:
    return found(True, **keys)


def test_policies_must_exist() -> None:
    assert faults(host_access=[{"group": "ALL", "policy": "ACEPTED"}], default_policy="NONE") == [
        'listeners[0].default_policy: no policy named "NONE" (define it in mail_flow_policies)',
        'listeners[0].host_access[0].policy: no policy named "ACEPTED" (did you mean ACCEPTED?)',
    ]
    assert faults(policies=[{"name": "RELAYD"}]) == [
        'listeners[0].policies[0].name: no policy named "RELAYD" (did you mean RELAYED?)'
    ]


def test_a_group_may_leave_its_policy_to_the_listener() -> None:
    assert faults(host_access=[{"group": "ALL"}], default_policy="ACCEPTED") == []
    assert faults(host_access=[{"group": "ALL"}]) == [
        "listeners[0].host_access[0].policy: is missing (name a policy, or give the listener a default_policy)"
    ]


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [{"group": "G", "senders": ["10."], "policy": "ACCEPTED"}],
        [{"group": "ALL", "policy": "CONTINUE"}],
    ],
)
def test_whom_the_hat_does_not_name_is_refused_and_that_is_said(groups: list[dict[str, Any]]) -> None:
    [line] = warnings(host_access=groups)
    assert line.startswith("listeners[0].host_access: senders that no group names are refused")
    assert warnings(host_access=groups, default_policy="ACCEPTED") == []
    assert faults(host_access=groups) == []


@pytest.mark.parametrize(
    "last",
    [{"group": "ALL", "policy": "ACCEPTED"}, {"group": "REST", "senders": ["ALL"], "policy": "ACCEPTED"}],
)
def test_what_stands_behind_all_is_never_reached(last: dict[str, Any]) -> None:
    groups = [last, {"group": "G", "senders": ["10."], "policy": "BLOCKED"}]
    [line] = warnings(host_access=groups)
    assert line.startswith("listeners[0].host_access[1]: is never reached: host_access[0]")


def test_all_takes_no_senders() -> None:
    groups = [{"group": "ALL", "senders": ["10."], "policy": "ACCEPTED"}]
    assert faults(host_access=groups, default_policy="ACCEPTED") == [
        "listeners[0].host_access[0].senders: the group ALL takes no senders (leave them out: it means everybody)"
    ]


def test_groups_are_named_once() -> None:
    groups = [
        {"group": "G", "policy": "BLOCKED"},
        {"group": "G", "policy": "RELAYED"},
        {"group": "ALL", "policy": "ACCEPTED"},
    ]
    [line] = faults(host_access=groups)
    assert line.startswith('listeners[0].host_access[1].group: "G" is already')


def test_a_default_policy_decides() -> None:
    [line] = faults(host_access=[], default_policy="CONTINUE")
    assert line.startswith("listeners[0].default_policy: is a policy that decides nothing")


def test_a_listener_that_can_take_no_mail_is_warned_about() -> None:
    [line] = warnings(recipient_access=[])
    assert line.startswith("listeners[0].recipient_access: is empty")
    relaying = [
        {"group": "G", "senders": ["10."], "policy": "RELAYED"},
        {"group": "ALL", "policy": "BLOCKED"},
    ]
    assert warnings(recipient_access=[], host_access=relaying) == []
    changed = {"RELAYED": {"action": "accept"}}
    [line] = warnings(recipient_access=[], host_access=relaying, policies=changed, type="private")
    assert "relay" in line


def test_rows_of_the_rat_behind_all_are_never_reached() -> None:
    rows = [{"recipient": "ALL", "action": "reject"}, {"recipient": "example.net", "action": "accept"}]
    [line] = warnings(recipient_access=rows)
    assert line.startswith("listeners[0].recipient_access[1]: is never reached")


def test_tls_for_some_senders_needs_an_offer_and_a_list() -> None:
    policies = [
        {"name": "ACCEPTED", "action": "accept", "tls": "preferred", "tls_mandatory_for": "tls_sender"},
        {"name": "OFF", "action": "accept", "tls_mandatory_for": "tls_senders"},
    ]
    lists = [{"name": "tls_senders", "addresses": ["bank.example"]}]
    sections = {"mail_flow_policies": policies, "address_lists": lists}
    assert faults(sections=sections) == [
        'mail_flow_policies[0].tls_mandatory_for: no address list named "tls_sender" (did you mean tls_senders?)',
        "mail_flow_policies[1].tls_mandatory_for: asks for TLS that the policy does not offer (set tls to preferred)",
    ]


def test_an_override_is_judged_with_what_it_overrides() -> None:
    lists = {"address_lists": [{"name": "l"}]}
    assert faults(policies={"ACCEPTED": {"tls_mandatory_for": "l"}}, sections=lists) == []
    [line] = faults(policies={"BLOCKED": {"tls_mandatory_for": "l"}}, sections=lists)
    assert line.startswith("listeners[0].policies[0].tls_mandatory_for: asks for TLS")


def test_names_in_the_hat_need_look_ups() -> None:
    groups = [
        {"group": "G", "senders": ["10.", "mx.example", ".x"], "policy": "BLOCKED"},
        {"group": "ALL", "policy": "ACCEPTED"},
    ]
    assert warnings(host_access=groups) == []
    [line] = warnings(host_access=groups, sections={"dns": {"reverse": False}})
    assert line.startswith("listeners[0].host_access[0].senders[1]: never matches: dns.reverse is false")
