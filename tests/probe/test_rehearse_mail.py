"""Messages, attempts and hosts: which host takes a message under another policy, what counts as failed, and what is a doubt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.probe.test_rehearse_facts import (
    CURIOUS,
    DOMAIN,
    HOST,
    Seen,
    at,
    direct,
    record,
    seen_as,
    trial,
)

from gatepost.config.outbound import Dane
from gatepost.core.tls import TlsLevel, TlsStage
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.tls_out import HopNames
from gatepost.probe.rehearse import Rehearsal
from gatepost.probe.rehearse_account import MAX_ENTRIES
from gatepost.probe.rehearse_facts import Doubt
from gatepost.probe.rehearse_mail import Deliveries, Fate, Replayed
from gatepost.store.records import ConnectionRow, DeliveryRow

VERIFY = DestinationRule(TlsLevel.REQUIRED_VERIFY, insecure_names=True)
PREFERRED = DestinationRule(TlsLevel.PREFERRED)
BAD, GOOD = 4, 0  # certificates of `test_rehearse_facts`
BROKEN = seen_as(stage=TlsStage.HANDSHAKE_FAILED)
PLAIN = seen_as(stage=TlsStage.NOT_OFFERED)


def connection(
    dcid: int, what: Seen, *, began: float = 0.0, rule: DestinationRule = CURIOUS, **changes: Any
) -> ConnectionRow:
    row = record(rule, what, direct(rule, what))
    facts = {**row.facts, **changes.pop("facts", {})}
    values = {"dcid": dcid if row.dcid else 0, "began": at() - 100 + began, "at": at() - 90 + began}
    return replace(row, facts=facts, **{**values, **changes})


def delivery(
    dcid: int, result: str = "delivered", *, mid: int = 1, later: float = 0.0, **changes: Any
) -> DeliveryRow:
    return DeliveryRow(
        **{
            "at": at() - 80 + later,
            "mid": mid,
            "domain": DOMAIN,
            "recipients": 1,
            "sender_domain": "a.example",
            "result": result,
            "dcid": dcid,
            **changes,
        }
    )


def one(
    rule: DestinationRule, connections: list[ConnectionRow], deliveries: list[DeliveryRow], **sections: Any
) -> Replayed:
    (found,) = Deliveries(connections, deliveries).replay(trial(rule, **sections))
    return found


def test_a_message_on_a_connection_that_is_not_recorded_any_more() -> None:
    assert one(VERIFY, [], [delivery(7)]).doubt is Doubt.NO_RECORD


def test_the_next_host_of_the_same_attempt_takes_what_the_first_may_not() -> None:
    first = connection(1, seen_as(certificate=BAD), facts={"broken": "gone", "tls": None})
    second = connection(2, seen_as(certificate=GOOD), address="192.0.2.8")
    found = one(VERIFY, [first, second], [delivery(2)])
    assert found.fate is Fate.PASSES


def test_a_host_that_was_not_come_to_is_known_from_another_attempt() -> None:
    place = f"{HOST} [192.0.2.8]:25"
    first = connection(1, seen_as(certificate=BAD), facts={"later": [place]})
    assert one(VERIFY, [first], [delivery(1)]).doubt is Doubt.NOT_CALLED
    other = connection(2, seen_as(certificate=GOOD), began=-50, address="192.0.2.8")
    assert one(VERIFY, [other, first], [delivery(1)]).fate is Fate.PASSES
    other = connection(2, seen_as(certificate=BAD), began=-50, address="192.0.2.8")
    found = one(VERIFY, [other, first], [delivery(1)])
    assert found.fate is Fate.FAILS
    assert len(found.refused) == 2


def test_after_a_broken_handshake_no_other_host_is_in_clear() -> None:
    """R24"""
    rows = [
        connection(1, BROKEN),
        connection(2, PLAIN, address="192.0.2.8"),
    ]
    assert one(PREFERRED, rows, [delivery(2)]).fate is Fate.FAILS
    assert one(DestinationRule(TlsLevel.NONE), rows, [delivery(2)]).fate is Fate.PASSES
    assert one(PREFERRED, rows[1:], [delivery(2)]).fate is Fate.PASSES


def test_a_rule_that_gives_tls_up_passes_in_the_end() -> None:
    rows = [connection(1, BROKEN), connection(2, BROKEN, began=10)]
    tries = [delivery(1, "delayed", status="4.7.5"), delivery(2, "delayed", later=10, status="4.7.5")]
    assert one(PREFERRED, rows, tries).fate is Fate.FAILS
    for after in (1, 2, 5):
        patient = replace(PREFERRED, preferred_clear_after=after)
        assert one(patient, rows, tries).fate is Fate.PASSES
    required = DestinationRule(TlsLevel.REQUIRED, preferred_clear_after=1)
    assert one(required, rows, tries).fate is Fate.FAILS


def test_a_host_that_was_forbidden_is_known_from_whoever_called_it() -> None:
    failed = seen_as(tlsa=TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL"))
    forbidden = connection(0, failed)
    assert forbidden.dcid == 0
    put_off = [delivery(0, "delayed", status="4.7.5")]
    assert one(PREFERRED, [forbidden], put_off).doubt is Doubt.NOT_CALLED
    other = connection(5, seen_as(), domain="other.example", began=-50)
    assert one(PREFERRED, [other, forbidden], put_off).fate is Fate.PASSES
    mandatory = replace(PREFERRED, dane=Dane.MANDATORY)
    found = one(mandatory, [forbidden], put_off)
    assert found.fate is Fate.FAILS
    assert found.refused[0].reason == "its TLSA records could not be looked up: SERVFAIL"


def test_what_never_reached_a_host_is_no_matter_of_tls() -> None:
    nowhere = [delivery(0, "delayed", status="4.4.3", reason="DNS Soft Error")]
    assert one(VERIFY, [], nowhere).fate is Fate.UNREACHED
    dead = connection(1, seen_as(), facts={"tls": None, "broken": "refused"})
    assert one(VERIFY, [dead], [delivery(1, "delayed", status="4.4.0")]).fate is Fate.UNREACHED


def test_a_borrowed_connection_is_judged_for_the_other_destination() -> None:
    row = connection(1, seen_as(certificate=GOOD, names=HopNames(DOMAIN, mx_host=HOST, mx_secure=True)))
    other = [delivery(1, domain="other.example")]
    # Its certificate names the host; whether signed DNS of the other domain leads there was never asked.
    assert one(replace(VERIFY, insecure_names=False), [row], other).doubt is Doubt.NOT_SIGNED
    assert one(PREFERRED, [row], other).fate is Fate.PASSES
    assert one(replace(PREFERRED, mta_sts=True), [row], other).doubt is Doubt.NO_STS


def test_another_route_is_a_doubt_and_a_refusing_one_refuses() -> None:
    row = connection(1, seen_as())
    elsewhere = {"smtp_routes": [{"domain": DOMAIN, "hosts": ["[192.0.2.99]"]}]}
    assert one(PREFERRED, [row], [delivery(1)], **elsewhere).doubt is Doubt.OTHER_ROUTE
    refused = {"smtp_routes": [{"domain": DOMAIN, "hosts": ["reject"]}]}
    found = one(PREFERRED, [row], [delivery(1)], **refused)
    assert (found.fate, found.refused[0].reason) == (
        Fate.FAILS,
        "the smtp route of this domain says reject",
    )


def test_a_message_that_requires_tls_is_asked_for_proof() -> None:
    row = connection(1, seen_as(certificate=BAD))
    assert one(PREFERRED, [row], [delivery(1)]).fate is Fate.PASSES
    found = one(PREFERRED, [row], [delivery(1, wishes="requiretls")])
    assert found.fate is Fate.FAILS
    assert "requires TLS" in found.refused[0].reason


def test_each_message_counts_once_whatever_its_attempts() -> None:
    rows = [connection(1, seen_as(certificate=BAD)), connection(2, seen_as(certificate=BAD), began=10)]
    tries = [delivery(1, "delayed", status="4.2.0"), delivery(2, later=10), delivery(2, mid=2, later=11)]
    account = Rehearsal(trial(VERIFY), Deliveries(rows, tries)).document(())["outbound"]
    assert (account["messages"], account["would_fail"]) == (2, 2)
    (failing,) = account["failing"]
    assert failing["mids"] == [1, 2]
    assert failing["reasons"][0]["messages"] == 2


def test_long_lists_are_cut_and_say_so() -> None:
    count = MAX_ENTRIES + 5
    rows, tries = [], []
    for number in range(1, count + 1):
        domain = f"d{number}.example"
        what = seen_as(certificate=BAD, names=HopNames(domain, mx_host=HOST))
        rows.append(connection(number, what, domain=domain))
        tries += [
            delivery(number, mid=number * 10 + copy, domain=domain) for copy in range(1 + (number == 3))
        ]
    account = Rehearsal(trial(VERIFY), Deliveries(rows, tries)).document(())["outbound"]
    assert account["would_fail"] == count + 1
    assert (len(account["failing"]), account["more_failing"]) == (MAX_ENTRIES, 5)
    assert account["failing"][0]["domain"] == "d3.example"


def test_a_host_that_hung_up_inside_tls_lets_no_later_one_be_taken_in_clear() -> None:
    """R24: what fails behind the 220 of STARTTLS is a broken handshake, also where it is EHLO that was not answered."""
    rows = [
        connection(1, seen_as(certificate=GOOD), facts={"lost": "the remote host closed the connection"}),
        connection(2, PLAIN, address="192.0.2.8"),
    ]
    assert one(PREFERRED, rows, [delivery(2)]).fate is Fate.FAILS
    assert one(DestinationRule(TlsLevel.NONE), rows, [delivery(2)]).fate is Fate.PASSES
