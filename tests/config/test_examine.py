"""Faults of shape and of reference come together, and nothing is said of values that nobody wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.config.documents import CONTRACT, PLAIN_DOCUMENTS, TODAY, listener, small

from gatepost.config.examine import Examination, examine, examine_json, examine_yaml
from gatepost.config.load import load_yaml
from gatepost.core.errors import ConfigurationError, Exit

CERTIFICATES = {"Demo", "gw"}


def lines(examination: Examination) -> list[str]:
    return [problem.line() for problem in examination.faults]


def test_the_contract_has_warnings_only() -> None:
    examination = examine_yaml(CONTRACT, CERTIFICATES, TODAY)
    assert examination.faults == ()
    assert [problem.line() for problem in examination.warnings] == [
        "interfaces[0].https: stored, not yet enforced",
        "interfaces[0].ssh: stored, not yet enforced",
        "tls_settings.web: stored, not yet enforced",
    ]
    assert examination.require() == load_yaml(CONTRACT)


def test_without_its_certificate_the_contract_has_a_fault_at_each_use() -> None:
    examination = examine_yaml(CONTRACT, {"Demo"}, TODAY)
    assert [problem.path for problem in examination.faults] == [
        "interfaces[0].https.certificate",
        "listeners[0].certificate",
        "listeners[1].certificate",
        "destination_controls.global.certificate",
    ]
    assert "gatepost cert new" in examination.faults[0].hint
    with pytest.raises(ConfigurationError) as caught:
        examination.require()
    assert caught.value.code is Exit.FAULTY_CONFIGURATION
    assert caught.value.problems == examination.faults


def test_every_kind_of_fault_in_one_list() -> None:
    text = CONTRACT.decode()
    text = text.replace("type: private", "typ: private").replace("port: 2587", "port: 2525")
    text = text.replace("address: 127.0.0.1", "address: 127.0.0.300").replace(
        "policy: TLS_ONLY", "policy: TLS-ONLY"
    )
    text = text.replace("certificate: gw", "certificate: gv", 2).replace('"192.0.2.0/24"', '"192.0.2.0/33"')
    assert [problem.path for problem in examine_yaml(text, CERTIFICATES, TODAY).faults] == [
        "interfaces[0].address",
        "listeners[0].host_access[3].senders[0]",
        "listeners[1].typ",
        "interfaces[0].https.certificate",
        "listeners[0].certificate",
        "listeners[1].port",
        "listeners[0].host_access[3].policy",
    ]


def test_ports_overlap_beside_a_fault_of_shape() -> None:
    text = CONTRACT.decode().replace("port: 2587", "port: 2525").replace("rotate: 100MB", "rotate: much")
    assert [problem.path for problem in examine_yaml(text, CERTIFICATES, TODAY).faults] == [
        "log_subscriptions[0].rotate",
        "listeners[1].port",
    ]


def test_an_address_that_nobody_can_read_overlaps_with_nothing() -> None:
    interfaces = [{"name": "A", "address": "127.0.0.1"}, {"name": "B", "address": "127.0.0.300"}]
    listeners = [listener(name="a", interface="A"), listener(name="b", interface="B")]
    data = small(interfaces=interfaces, listeners=listeners)
    assert [problem.path for problem in examine(data, CERTIFICATES, TODAY).faults] == [
        "interfaces[1].address"
    ]


def test_a_misspelt_section_does_not_make_its_names_dangle() -> None:
    data = small()
    data["mail_flow_policys"] = data.pop("mail_flow_policies")
    assert lines(examine(data, CERTIFICATES, TODAY)) == [
        "mail_flow_policys: unknown key (did you mean mail_flow_policies?)"
    ]


def test_a_section_of_the_wrong_kind_does_not_either() -> None:
    assert lines(examine(small(interfaces="eth0"), CERTIFICATES, TODAY)) == [
        'interfaces: "eth0" is not a list (begin each entry with - or write [a, b])'
    ]


def test_an_element_with_a_fault_keeps_its_place_and_its_name() -> None:
    policies = [
        {"name": "ACCEPTED", "action": "accpt"},
        {"name": "A", "action": "accept", "tls_mandatory_for": "x"},
    ]
    assert [
        problem.path for problem in examine(small(mail_flow_policies=policies), CERTIFICATES, TODAY).faults
    ] == [
        "mail_flow_policies[0].action",
        "mail_flow_policies[1].tls_mandatory_for",
        "mail_flow_policies[1].tls_mandatory_for",
    ]


def test_an_element_that_is_no_mapping_is_named_once() -> None:
    data = small(listeners=["L", listener(certificate="none")])
    assert [problem.path for problem in examine(data, CERTIFICATES, TODAY).faults] == [
        "listeners[0]",
        "listeners[1].certificate",
    ]


def test_paths_in_a_map_of_policies_carry_its_keys() -> None:
    data = small(listeners=[listener(policies={"ACCEPTED": {"tls": "x"}, "ACEPTED": {}, "BLOCKED": 5})])
    assert lines(examine(data, CERTIFICATES, TODAY)) == [
        'listeners[0].policies.ACCEPTED.tls: "x" is not one of off, preferred, required',
        "listeners[0].policies.BLOCKED: 5 is not a mapping (write keys with values, one a line or in {})",
        'listeners[0].policies.ACEPTED.name: no policy named "ACEPTED" (did you mean ACCEPTED?)',
    ]


def test_the_given_value_is_not_changed() -> None:
    data: dict[str, Any] = small(dns=7, x=1)
    examine(data, CERTIFICATES, TODAY)
    assert data == small(dns=7, x=1)


def test_text_that_is_no_yaml_has_that_fault_alone() -> None:
    examination = examine_yaml("a: [", CERTIFICATES, TODAY)
    assert [problem.path for problem in examination.faults] == ["line 1"]
    assert examination.document is None
    assert examine_json("{", CERTIFICATES, TODAY).document is None
    assert examine_yaml("", CERTIFICATES, TODAY).faults[0].path == "document"
    assert examine_json("[]", CERTIFICATES, TODAY).faults[0].path == "document"


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN_DOCUMENTS)
def test_a_document_of_the_right_shape_is_always_returned(plain: dict[str, Any]) -> None:
    assert examine(plain, CERTIFICATES, TODAY).document is not None


_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["name", "policies", "host_access", "timeouts", "senders", "x", "hosts", "default"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["system", "interfaces", "listeners", "destination_controls", "smtp_routes", "alerts", "x"]
        ),
        _ANYTHING,
        min_size=1,
    )
)
def test_anything_can_be_examined(data: dict[str, Any]) -> None:
    examination = examine(data, CERTIFICATES, TODAY)
    assert (examination.document is not None) or examination.faults
