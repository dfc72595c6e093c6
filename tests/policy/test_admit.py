"""Listeners compiled from documents, and their gates."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from gatepost.config.load import load_plain, load_yaml
from gatepost.config.values import NO_LIMIT
from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.tls import InboundTls
from gatepost.policy.admit import (
    Action,
    Admission,
    ListenerRules,
    admit,
    check_message,
    check_messages,
    check_recipient,
    check_sender,
    network_of,
    still_holds,
)
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.hat import NameState, NoScore, PeerName
from gatepost.policy.tls_in import ClientRule, KnownClient

CONTRACT = load_yaml((Path(__file__).parents[1] / "config" / "data" / "gateway.yaml").read_bytes())
NONE, UNDETERMINED = NameState.NONE, NameState.UNDETERMINED
MARY = Address("mary@example.net", "mary", "example.net")
STRANGER = Address("joe@other.example", "joe", "other.example")


def rules(**listener: Any) -> ListenerRules:
    """One listener on the small policies; sections other than the listener's go under `sections`."""
    sections = listener.pop("sections", {})
    document = load_plain(
        {
            "interfaces": [{"name": "I", "address": "192.0.2.1", "hostname": "MX.Example.net"}],
            "listeners": [{"name": "L", "interface": "I", "port": 25, **listener}],
            "mail_flow_policies": [
                {"name": "ACCEPTED", "action": "accept", "tls": "preferred"},
                {"name": "TLS", "action": "accept", "tls": "required"},
                {"name": "BLOCKED", "action": "reject"},
                {"name": "REFUSED", "action": "tcprefuse"},
                {"name": "RELAYED", "action": "relay"},
                {"name": "NOTED", "action": "continue"},
            ],
            **sections,
        }
    )
    return compile_rules(document).listeners["L"]


def hat(*groups: tuple[str, list[str], str]) -> list[dict[str, Any]]:
    return [{"group": name, "senders": senders, "policy": policy} for name, senders, policy in groups]


def ask(listener: ListenerRules, address: str, name: PeerName = NONE) -> Admission:
    return admit(listener, ipaddress.ip_address(address), name)


# --- the contract's document ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "address", "name", "action", "group", "match"),
    [
        ("IncomingMail", "198.51.100.1", NONE, Action.ACCEPT, "ALL", "ALL"),
        ("IncomingMail", "192.0.2.77", NONE, Action.ACCEPT, "PARTNERS", "192.0.2.0/24"),
        (
            "IncomingMail",
            "198.51.100.1",
            "mx.partner.example",
            Action.ACCEPT,
            "PARTNERS",
            "mx.partner.example",
        ),
        ("IncomingMail", "198.51.100.1", "a.partner.example", Action.ACCEPT, "PARTNERS", ".partner.example"),
        ("OutgoingMail", "127.0.0.1", NONE, Action.RELAY, "RELAYLIST", "127.0.0.0/8"),
        ("OutgoingMail", "::ffff:127.0.0.1", NONE, Action.RELAY, "RELAYLIST", "127.0.0.0/8"),
        ("OutgoingMail", "192.0.2.1", NONE, Action.REJECT, "ALL", "ALL"),
        ("OutgoingMail", "::1", NONE, Action.REJECT, "ALL", "ALL"),
    ],
)
def test_the_contracts_listeners(
    listener: str, address: str, name: PeerName, action: Action, group: str, match: str
) -> None:
    admission = ask(compile_rules(CONTRACT).listeners[listener], address, name)
    assert (admission.action, admission.group, admission.match) == (action, group, match)
    assert admission.score is NoScore.NOT_ENABLED


def test_limits_of_the_contracts_policies() -> None:
    document = CONTRACT.model_copy(
        update={
            "listeners": tuple(
                item.model_copy(update={"host_access": (), "default_policy": name, "name": name})
                for item in CONTRACT.listeners[:1]
                for name in ("ACCEPTED", "THROTTLED", "TRUSTED")
            )
        }
    )
    listeners = compile_rules(document).listeners
    policies = {name: ask(listeners[name], "192.0.2.1").policy for name in listeners}
    accepted, throttled, trusted = policies["ACCEPTED"], policies["THROTTLED"], policies["TRUSTED"]
    assert accepted is not None
    assert throttled is not None
    assert trusted is not None
    assert (accepted.max_messages_per_connection, accepted.max_recipients_per_message) == (1000, 1000)
    assert (accepted.max_message_size, accepted.max_connections_per_ip) == (100 * 1024**2, 1000)
    assert accepted.max_recipients_per_hour is None
    assert (throttled.max_messages_per_connection, throttled.max_recipients_per_message) == (10, 20)
    assert (throttled.max_message_size, throttled.max_recipients_per_hour) == (1024**2, 20)
    assert trusted.max_recipients_per_hour is None


def test_tls_is_off_unless_the_policy_says_otherwise() -> None:
    policy = ask(rules(default_policy="RELAYED"), "192.0.2.1").policy
    assert policy is not None
    assert policy.tls is InboundTls.OFF


# --- the connection ---------------------------------------------------------------------------------


def test_a_rejected_connection_is_greeted_with_554() -> None:
    admission = ask(
        rules(host_access=hat(("BAD", ["192.0.2.7"], "BLOCKED")), default_policy="ACCEPTED"), "192.0.2.7"
    )
    assert (admission.action, admission.group, admission.match, admission.policy) == (
        Action.REJECT,
        "BAD",
        "192.0.2.7",
        None,
    )
    assert admission.refusal is not None
    assert admission.refusal.close
    assert (
        admission.refusal.reply().encode() == b"554 mx.example.net Access to this mail system is refused\r\n"
    )


def test_tcprefuse_has_nothing_to_say() -> None:
    admission = ask(rules(default_policy="REFUSED"), "192.0.2.7")
    assert (admission.action, admission.policy, admission.refusal) == (Action.TCPREFUSE, None, None)


def test_continue_notes_and_goes_on() -> None:
    listener = rules(host_access=hat(("SEEN", ["192.0.2."], "NOTED"), ("REST", ["ALL"], "ACCEPTED")))
    admission = ask(listener, "192.0.2.7")
    assert (admission.action, admission.group, admission.noted) == (Action.ACCEPT, "REST", ("SEEN",))


def test_score_entries_never_match_and_are_shown_normalised() -> None:
    listener = rules(
        host_access=hat(("S", ["SBRS[-10:10]", "sbrs[none]"], "BLOCKED")), default_policy="ACCEPTED"
    )
    assert ask(listener, "192.0.2.7").group == "ALL"


@pytest.mark.parametrize("policy", ["BLOCKED", "REFUSED", "TLS"])
def test_a_name_that_cannot_be_told_is_451_where_it_matters(policy: str) -> None:
    listener = rules(host_access=hat(("G", [".bad.example"], policy)), default_policy="ACCEPTED")
    admission = ask(listener, "192.0.2.7", UNDETERMINED)
    assert admission.refusal is not None
    assert (admission.refusal.code, admission.policy, admission.group) == (451, None, "G")
    assert ask(listener, "192.0.2.7", NONE).policy is not None


@pytest.mark.parametrize("policy", ["RELAYED", "ACCEPTED"])
def test_a_name_that_cannot_be_told_never_relays(policy: str) -> None:
    listener = rules(host_access=hat(("G", [".inside.example"], policy)), default_policy="BLOCKED")
    assert ask(listener, "192.0.2.7", UNDETERMINED).action is Action.REJECT
    assert ask(listener, "192.0.2.7", "a.inside.example").policy is not None


def test_without_look_ups_no_name_is_in_doubt() -> None:
    listener = rules(
        host_access=hat(("G", [".bad.example"], "BLOCKED")),
        default_policy="ACCEPTED",
        sections={"dns": {"reverse": False}},
    )
    assert ask(listener, "192.0.2.7", UNDETERMINED).action is Action.ACCEPT


def test_a_table_that_does_not_decide_refuses() -> None:
    admission = ask(rules(), "192.0.2.7")
    assert (admission.action, admission.group) == (Action.REJECT, "ALL")
    assert admission.refusal is not None


def test_the_default_policy_is_for_whom_no_group_names() -> None:
    listener = rules(host_access=[{"group": "G", "senders": ["10."]}], default_policy="ACCEPTED")
    assert [ask(listener, address).group for address in ("10.1.1.1", "11.1.1.1")] == ["G", "ALL"]


def test_a_listener_changes_a_policy_for_itself_only() -> None:
    listener = rules(
        default_policy="ACCEPTED",
        policies={
            "ACCEPTED": {
                "tls": "required",
                "max_recipients_per_message": "unlimited",
                "max_message_size": "1KB",
            }
        },
    )
    policy = ask(listener, "192.0.2.7").policy
    assert policy is not None
    assert (policy.name, policy.tls) == ("ACCEPTED", InboundTls.REQUIRED)
    assert (policy.max_recipients_per_message, policy.max_message_size) == (NO_LIMIT, 1024)
    assert policy.max_messages_per_connection == 1000
    other = ask(rules(default_policy="ACCEPTED"), "192.0.2.7").policy
    assert other is not None
    assert other.tls is InboundTls.PREFERRED


def test_an_override_may_turn_the_action_and_then_counts_as_strict() -> None:
    listener = rules(
        host_access=hat(("G", [".x.example"], "ACCEPTED")),
        default_policy="RELAYED",
        policies=[{"name": "ACCEPTED", "action": "reject"}],
    )
    assert ask(listener, "192.0.2.7", "a.x.example").action is Action.REJECT
    assert ask(listener, "192.0.2.7", UNDETERMINED).action is Action.REJECT


def test_banners() -> None:
    assert ask(rules(default_policy="ACCEPTED"), "192.0.2.7").banner == "ESMTP"
    assert ask(rules(default_policy="ACCEPTED", banner="hi"), "192.0.2.7").banner == "hi"
    changed = {"ACCEPTED": {"banner": "yo"}, "BLOCKED": {"banner": "go away"}}
    assert ask(rules(default_policy="ACCEPTED", banner="hi", policies=changed), "192.0.2.7").banner == "yo"
    refusal = ask(rules(default_policy="BLOCKED", policies=changed), "192.0.2.7").refusal
    assert refusal is not None
    assert refusal.text == "mx.example.net go away"


def test_limits_of_an_address_count_by_64_bits_of_ipv6() -> None:
    networks = {
        network_of(ipaddress.ip_address(text))
        for text in ("2001:db8::1", "2001:db8:0:0:ffff::", "2001:db8:0:1::")
    }
    assert networks == {"2001:db8::/64", "2001:db8:0:1::/64"}
    assert network_of(ipaddress.ip_address("::ffff:192.0.2.1")) == "192.0.2.1"


def test_names_that_lead_nowhere_were_not_checked() -> None:
    for listener in ({"default_policy": "X"}, {"interface": "X"}):
        with pytest.raises(KeyError):
            rules(**listener)


# --- sender, recipient, message ---------------------------------------------------------------------


def test_recipients_of_an_accepting_policy_are_the_rats() -> None:
    rat = [{"recipient": "example.net", "action": "accept"}]
    listener = rules(default_policy="ACCEPTED", recipient_access=rat)
    admission = ask(listener, "192.0.2.7")
    assert check_recipient(listener, admission, MARY, 0) is None
    refusal = check_recipient(listener, admission, STRANGER, 0)
    assert refusal is not None
    assert (refusal.code, refusal.enhanced, refusal.cause) == (550, "5.7.1", "Rejected by RAT")


def test_a_relaying_policy_skips_the_rat() -> None:
    listener = rules(default_policy="RELAYED")
    assert check_recipient(listener, ask(listener, "192.0.2.7"), STRANGER, 0) is None


@pytest.mark.parametrize("kind", ["public", "private"])
def test_accepting_alone_never_relays_on_any_listener(kind: str) -> None:
    listener = rules(type=kind, default_policy="ACCEPTED")
    refusal = check_recipient(listener, ask(listener, "192.0.2.7"), STRANGER, 0)
    assert refusal is not None
    assert refusal.code == 550


def test_too_many_recipients_are_452_and_relaying_is_denied_first() -> None:
    rat = [{"recipient": "example.net", "action": "accept"}]
    listener = rules(
        default_policy="ACCEPTED",
        recipient_access=rat,
        policies={"ACCEPTED": {"max_recipients_per_message": 2}},
    )
    admission = ask(listener, "192.0.2.7")
    assert check_recipient(listener, admission, MARY, 1) is None
    refusal = check_recipient(listener, admission, MARY, 2)
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (452, "4.5.3")
    denied = check_recipient(listener, admission, STRANGER, 2)
    assert denied is not None
    assert denied.code == 550


def test_required_tls_stands_before_every_sender() -> None:
    listener = rules(default_policy="TLS")
    admission = ask(listener, "192.0.2.7")
    refusal = check_sender(listener, admission, NULL_ADDRESS, tls=False)
    assert refusal is not None
    assert refusal.code == 530
    assert check_sender(listener, admission, NULL_ADDRESS, tls=True) is None


def test_tls_mandatory_for_a_list_of_senders() -> None:
    listener = rules(
        default_policy="ACCEPTED",
        policies={"ACCEPTED": {"tls_mandatory_for": "banks"}},
        sections={"address_lists": [{"name": "banks", "addresses": ["bank.example"]}]},
    )
    admission = ask(listener, "192.0.2.7")
    bank = Address("a@bank.example", "a", "bank.example")
    refusal = check_sender(listener, admission, bank, tls=False)
    assert refusal is not None
    assert refusal.code == 530
    assert check_sender(listener, admission, bank, tls=True) is None
    assert check_sender(listener, admission, STRANGER, tls=False) is None


def test_messages_of_a_connection() -> None:
    listener = rules(default_policy="ACCEPTED", policies={"ACCEPTED": {"max_messages_per_connection": 2}})
    admission = ask(listener, "192.0.2.7")
    assert check_messages(admission, 1) is None
    refusal = check_messages(admission, 2)
    assert refusal is not None
    assert (refusal.code, refusal.close) == (421, True)


def test_size_and_hops_of_a_message() -> None:
    listener = rules(
        default_policy="ACCEPTED", max_hops=3, policies={"ACCEPTED": {"max_message_size": "1KB"}}
    )
    admission = ask(listener, "192.0.2.7")
    assert check_message(listener, admission, 1024, 3) is None
    big, loop = check_message(listener, admission, 1025, 0), check_message(listener, admission, 1, 4)
    assert big is not None
    assert loop is not None
    assert (big.code, big.cause) == (552, "Message size exceeds limit")
    assert (loop.code, loop.enhanced, loop.cause) == (554, "5.4.6", "Message loop")


def test_a_refused_connection_has_no_gates() -> None:
    listener = rules(default_policy="BLOCKED")
    with pytest.raises(ValueError, match="no policy"):
        check_recipient(listener, ask(listener, "192.0.2.7"), MARY, 0)


# --- a commit during a session ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        ({"default_policy": "ACCEPTED"}, True),
        ({"default_policy": "ACCEPTED", "policies": {"ACCEPTED": {"max_message_size": "1KB"}}}, True),
        ({"host_access": hat(("G", ["192.0.2."], "ACCEPTED")), "default_policy": "BLOCKED"}, True),
        ({"default_policy": "TLS"}, False),
        ({"default_policy": "RELAYED"}, False),
        ({"default_policy": "BLOCKED"}, False),
        (
            {"default_policy": "ACCEPTED", "policies": {"ACCEPTED": {"verify_client_certificate": True}}},
            False,
        ),
    ],
)
def test_a_session_goes_on_unless_its_rule_or_level_changed(now: dict[str, Any], holds: bool) -> None:
    before = ask(rules(default_policy="ACCEPTED"), "192.0.2.7")
    assert still_holds(before, ask(rules(**now), "192.0.2.7")) is holds


def client_policy(**keys: Any) -> ListenerRules:
    """A listener whose default policy asks for certificates."""
    asking = {"verify_client_certificate": True, **keys}
    return rules(default_policy="ACCEPTED", policies={"ACCEPTED": asking})


def test_a_session_goes_on_when_only_the_accepted_clients_changed() -> None:
    """Whether it still may send is judged anew at MAIL; what was asked in the handshake is the same."""
    before = ask(client_policy(), "192.0.2.7")
    for now in (
        client_policy(client_identities=[{"name": "mx.partner.example"}]),
        client_policy(accept_server_only_certificates=True),
    ):
        assert still_holds(before, ask(now, "192.0.2.7"))
    assert not still_holds(before, ask(rules(default_policy="ACCEPTED"), "192.0.2.7"))


def test_clients_that_a_policy_accepts() -> None:
    def rule(**keys: Any) -> ClientRule | None:
        policy = ask(client_policy(**keys), "192.0.2.7").policy
        assert policy is not None
        return policy.tls_rule.client

    assert rule() == ClientRule()
    assert rule(verify_client_certificate=False, accept_server_only_certificates=True) is None
    entries = [
        {"name": "MX.Partner.example.", "authority": "Partner CA"},
        {"name": "2001:DB8::1"},
        {"authority": "Partner CA"},
        {"spki": "AB" * 32},
    ]
    assert rule(client_identities=entries, accept_server_only_certificates=True) == ClientRule(
        (
            KnownClient.named("mx.partner.example", authority="Partner CA"),
            KnownClient.named("2001:db8::1", is_address=True),
            KnownClient("Partner CA"),
            KnownClient(key="ab" * 32),
        ),
        server_only=True,
    )


def test_a_listener_replaces_the_list_of_clients_as_a_whole() -> None:
    asking = {
        "name": "ACCEPTED",
        "action": "accept",
        "tls": "preferred",
        "verify_client_certificate": True,
        "client_identities": [{"name": "a.example"}],
    }
    for changed, names in (
        ({"banner": "x"}, ["a.example"]),
        ({"client_identities": [{"name": "b.example"}]}, ["b.example"]),
        ({"client_identities": []}, []),
    ):
        listener = rules(
            default_policy="ACCEPTED",
            policies={"ACCEPTED": changed},
            sections={"mail_flow_policies": [asking]},
        )
        policy = ask(listener, "192.0.2.7").policy
        assert policy is not None
        assert policy.tls_rule.client is not None
        assert [client.name and client.name.name for client in policy.tls_rule.client.identities] == names


def test_what_a_listener_is_compiled_to() -> None:
    listener = rules(
        default_policy="ACCEPTED",
        tls="implicit",
        max_connections="unlimited",
        timeouts={"session": "unlimited", "data": "1m"},
    )
    assert (listener.hostname, listener.interface, listener.address, listener.port) == (
        "mx.example.net",
        "I",
        "192.0.2.1",
        25,
    )
    assert (listener.implicit_tls, listener.certificate, listener.max_connections) == (True, "Demo", NO_LIMIT)
    assert (listener.timeouts.command, listener.timeouts.data, listener.timeouts.session) == (300, 60, None)
