"""The written forms: the contract's file as it stands, and writing and reading as inverses."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.config.documents import CONTRACT, PLAIN_DOCUMENTS

from gatepost.config.inbound import ListenerType, PolicyAction
from gatepost.config.load import (
    dump_json,
    dump_yaml,
    load_json,
    load_plain,
    load_yaml,
    to_plain,
)
from gatepost.config.outbound import Dane
from gatepost.core.errors import ConfigurationError, Exit
from gatepost.core.tls import InboundTls, TlsLevel


def problems(text: bytes | str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_yaml(text)
    assert caught.value.code is Exit.FAULTY_CONFIGURATION
    return [problem.line() for problem in caught.value.problems]


def test_the_contract_loads_exactly_as_it_stands() -> None:
    document = load_yaml(CONTRACT)
    assert document.system.hostname == "gw.example.net"
    [interface] = document.interfaces
    assert (interface.name, interface.address, interface.hostname) == (
        "Data 1",
        "127.0.0.1",
        "mx.example.net",
    )
    assert interface.https is not None
    assert interface.ssh is not None
    assert (interface.https.port, interface.https.certificate, interface.ssh.port) == (8443, "gw", 2222)
    incoming, outgoing = document.listeners
    assert (incoming.type, incoming.port, outgoing.type) == (ListenerType.PUBLIC, 2525, ListenerType.PRIVATE)
    assert [group.group for group in incoming.host_access] == [
        "ALLOWED_LIST", "BLOCKED_LIST", "SUSPECTLIST", "PARTNERS", "UNKNOWNLIST", "ALL",
    ]  # fmt: skip
    assert incoming.host_access[3].senders == ("192.0.2.0/24", "mx.partner.example", ".partner.example")
    assert [rule.recipient for rule in incoming.recipient_access] == ["example.net", ".example.net", "ALL"]
    policies = {policy.name: policy for policy in document.mail_flow_policies}
    assert policies["THROTTLED"].max_message_size == 1024 * 1024
    assert policies["THROTTLED"].max_recipients_per_hour == 20
    assert policies["TRUSTED"].max_recipients_per_hour == "unlimited"
    assert policies["TLS_ONLY"].tls is InboundTls.REQUIRED
    assert policies["BLOCKED"].action is PolicyAction.REJECT
    controls = document.destination_controls
    assert (controls.global_.certificate, controls.global_.alert_on_required_tls_failure) == ("gw", True)
    assert (controls.default.dane, controls.default.max_connections) == (Dane.OPPORTUNISTIC, 500)
    assert [entry.tls for entry in controls.destinations] == [
        TlsLevel.REQUIRED_VERIFY,
        TlsLevel.REQUIRED_VERIFY_HOSTED,
        TlsLevel.NONE,
    ]
    assert controls.destinations[2].until == date(2027, 1, 31)
    assert [route.hosts for route in document.smtp_routes] == [("[127.0.0.1]:2600",), ("usedns",)]
    profile = document.bounce_profile("Default")
    assert profile is not None
    assert (profile.initial_retry, profile.max_retry, profile.max_age, profile.delay_warning) == (
        60,
        3600,
        259_200,
        14_400,
    )
    assert document.alerts.sender == "alert@gw.example.net"
    assert document.log_subscriptions[0].rotate == 100 * 1024**2


@pytest.mark.parametrize("complete", [False, True])
def test_the_contract_is_written_and_read_back(complete: bool) -> None:
    document = load_yaml(CONTRACT)
    assert load_yaml(dump_yaml(document, complete=complete)) == document
    assert load_json(dump_json(document, complete=complete)) == document


def test_what_is_not_set_is_not_written() -> None:
    document = load_yaml(CONTRACT)
    assert "timeouts" not in dump_yaml(document)
    assert "timeouts" in dump_yaml(document, complete=True)
    assert set(to_plain(load_plain({"dns": {"reverse": False}}))) == {"dns"}


def test_off_is_a_word() -> None:
    document = load_yaml("mail_flow_policies: [{name: A, action: accept, tls: off}]")
    assert document.mail_flow_policies[0].tls is InboundTls.OFF
    assert load_yaml(dump_yaml(document)) == document


def test_false_is_not_off() -> None:
    assert problems("mail_flow_policies: [{name: A, action: accept, tls: false}]") == [
        "mail_flow_policies[0].tls: false is not one of off, preferred, required"
    ]


def test_yes_is_not_true() -> None:
    assert problems("dns: {reverse: yes}") == [
        'dns.reverse: "yes" is not true or false (only true and false are truth values)'
    ]


def test_absent_sections_and_empty_keys_are_defaults() -> None:
    document = load_yaml("dns:\nsystem: {hostname: }\nlisteners:\n")
    assert document == load_plain({})
    assert document.listeners == ()
    assert document.bounce_profile("Default") is not None
    assert document.bounce_profile("Other") is None
    assert document.log_subscriptions[0].name == "mail_logs"
    assert [policy.name for policy in document.mail_flow_policies] == [
        "ACCEPTED", "THROTTLED", "TRUSTED", "BLOCKED", "RELAYED",
    ]  # fmt: skip


def test_an_empty_unknown_key_is_still_unknown() -> None:
    assert problems("sytem:\n")[0] == "sytem: unknown key (did you mean system?)"


def test_a_key_may_look_like_anything() -> None:
    assert problems('"a[0].b": 1')[0].startswith("a[0].b: unknown key")
    assert problems('"": 1')[0].startswith("document: unknown key")
    assert problems('"a\\nb": 1')[0].startswith("a\\nb: unknown key")


@pytest.mark.parametrize("text", ["", "# nothing\n", "null"])
def test_an_empty_file_is_no_configuration(text: str) -> None:
    assert problems(text) == ["document: is empty (write at least one section)"]


def test_all_faults_are_told_at_once_with_path_and_hint() -> None:
    found = problems(
        """
interfaces:
  - {name: Data 1, adress: 127.0.0.1}
listeners:
  - {name: L, interface: Data 1, port: 70000, tls: startls, host_access: [{group: G, senders: [10.0.0.300, 10.1]}]}
mail_flow_policies:
  - {name: X, action: acept, max_message_size: 5X, max_recipients_per_hour: 0}
dns: 7
"""
    )
    assert found == [
        "interfaces[0].address: is missing (IP address that is bound)",
        "interfaces[0].adress: unknown key (did you mean address?)",
        "listeners[0].port: 70000 is out of range (at most 65535)",
        'listeners[0].tls: "startls" is not one of starttls, implicit (did you mean starttls?)',
        'listeners[0].host_access[0].senders[0]: "10.0.0.300" has an octet over 255',
        "listeners[0].host_access[0].senders[1]: 10.1 is a number or a truth value where a text is wanted (put it in quotes)",
        'mail_flow_policies[0].action: "acept" is not one of accept, relay, reject, tcprefuse, continue (did you mean accept?)',
        'mail_flow_policies[0].max_message_size: "5X" is not a size (write a number and B, KB, MB or GB, for example 10MB)',
        "mail_flow_policies[0].max_recipients_per_hour: 0 is not a limit (write a whole number from 1 on, or unlimited)",
        "dns: 7 is not a mapping (write keys with values, one a line or in {})",
    ]


def test_a_listeners_policies_are_a_map_or_a_list() -> None:
    listener: dict[str, Any] = {"name": "L", "interface": "I", "port": 25}
    as_map = load_plain({"listeners": [{**listener, "policies": {"A": {"tls": "required"}}}]})
    as_list = load_plain({"listeners": [{**listener, "policies": [{"name": "A", "tls": "required"}]}]})
    assert as_map == as_list
    assert problems(
        "listeners: [{name: L, interface: I, port: 25, policies: {A: {tls: x}, B: 5, C: {name: D}}}]"
    ) == ["listeners[0].policies: the value names a policy twice (leave out the key name under C)"]
    assert problems("listeners: [{name: L, interface: I, port: 25, policies: {A: {tls: x}, B: 5}}]") == [
        'listeners[0].policies.A.tls: "x" is not one of off, preferred, required',
        "listeners[0].policies.B: 5 is not a mapping (write keys with values, one a line or in {})",
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"dns": {}, "dns": {}}', "dns"),
        ('{"a": NaN}', "file"),
        ('{"dns": \n', "line 2"),
        ("[" * 30, "line 1"),
        (b"\xff", "file"),
        ('{"a": ' + "1" * 5000 + "}", "file"),
    ],
)
def test_json_is_as_strict(text: bytes | str, path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_json(text)
    assert caught.value.problems[0].path == path


def test_brackets_in_json_texts_do_not_count_as_depth() -> None:
    text = '{"system": {"hostname": "' + "[" * 40 + '\\""}}'
    with pytest.raises(ConfigurationError) as caught:
        load_json(text)
    assert caught.value.problems[0].path == "system.hostname"


def test_a_document_cannot_be_changed() -> None:
    document = load_yaml(CONTRACT)
    with pytest.raises(ValueError, match="frozen"):
        document.system.hostname = "x"  # type: ignore[misc]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN_DOCUMENTS, st.booleans())
def test_written_and_read_is_the_same_document(plain: dict[str, Any], complete: bool) -> None:
    document = load_plain(plain)
    assert load_yaml(dump_yaml(document, complete=complete)) == document
    assert load_json(dump_json(document, complete=complete)) == document


_PIECES = st.sampled_from(
    ["listeners:", "dns:", "- ", "  ", "{", "}", "[", "]", "name: x", ", ", ": ", "\n", "port: 25", "'", '"', "policies:", "1", "&a", "*a", "!!x "]
)  # fmt: skip


@given(st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text(max_size=40), st.binary(max_size=40)))
def test_any_text_is_a_document_or_a_configuration_error(text: str | bytes) -> None:
    for load in (load_yaml, load_json):
        try:
            document = load(text)
        except ConfigurationError:
            continue
        assert load_plain(to_plain(document)) == document


_ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["system", "listeners", "host_access", "policies", "name", "timeouts", "x", "global"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["system", "listeners", "destination_controls", "smtp_routes", "x"]), _ANYTHING
    )
)
def test_any_value_is_a_document_or_a_configuration_error(data: dict[str, Any]) -> None:
    try:
        document = load_plain(data)
    except ConfigurationError:
        return
    assert load_plain(to_plain(document)) == document
