"""What the world sees of our MTA-STS policy, and what is said where it does not fit (RFC 8461 §3 to §5, §8)."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.certs.mx_lookup import Known, MxDomain, MxHost
from gatepost.certs.own_sts import HostCertificate, Record, Seen, StsCode, own_sts_findings, worst
from gatepost.config.public_web import MtaStsPolicy
from gatepost.policy.own_mta_sts import announced_id, policy_file

GOOD = HostCertificate("In", "gw", ("mx.example.net",), covers=True)


def policy(**keys: Any) -> MtaStsPolicy:
    given = {"domain": "example.net", "mode": "enforce", "mx": ["mx.example.net"], "certificate": "gw"}
    return MtaStsPolicy.model_validate(given | keys)


def mx(*hosts: str, known: Known = Known.FOUND) -> MxDomain:
    return MxDomain("example.net", known, tuple(MxHost(host, 10) for host in hosts))


def seen(entry: MtaStsPolicy, **changes: Any) -> Seen:
    usual: dict[str, Any] = {
        "mx": mx("mx.example.net"),
        "certificates": {"mx.example.net": (GOOD,)},
        "record": Record(Known.FOUND, announced_id(entry)),
        "body": policy_file(entry),
        "reports": True,
    }
    return Seen(**(usual | changes))


def told(entry: MtaStsPolicy, **changes: Any) -> list[str]:
    return [f"{one.severity} {one.code}" for one in own_sts_findings(entry, seen(entry, **changes))]


def test_where_all_agrees_nothing_is_said() -> None:
    assert told(policy()) == []
    assert worst(()) == "well"
    assert told(policy(mx=["*.example.net"]), mx=mx("MX.example.net.")) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mx": mx("mx.example.net", "old.example.net")}, ["error mx-not-listed", "info elsewhere"]),
        ({"mx": mx(known=Known.NONE)}, ["warning mx-none"]),
        ({"mx": mx(known=Known.NULL)}, ["warning mx-none"]),
        ({"mx": mx(known=Known.NO_ANSWER)}, ["info mx-unknown"]),
        (
            {"certificates": {"mx.example.net": (HostCertificate("In", "gw", ("a.example",), False),)}},
            ["error certificate-name"],
        ),
        (
            {"certificates": {"mx.example.net": (GOOD, HostCertificate("B", "x", (), True, "expired"))}},
            ["error certificate"],
        ),
        (
            {"certificates": {"mx.example.net": (HostCertificate("In", "gw", (), True, private=True),)}},
            ["error private-authority"],
        ),
        ({"certificates": {}}, ["info elsewhere"]),
        ({"record": Record(Known.NONE)}, ["warning record-missing"]),
        (
            {"record": Record(Known.FOUND, fault="2 records stand where one belongs")},
            ["warning record-faulty"],
        ),
        ({"record": Record(Known.FOUND, "20200101")}, ["warning record-differs"]),
        ({"record": Record(Known.NO_ANSWER, detail="timeout")}, ["info record-unknown"]),
        ({"body": b"", "unreachable": "certificate has expired"}, ["warning file-unreachable"]),
        ({"body": policy_file(policy(mode="testing"))}, ["warning file-differs"]),
        ({"body": b"<html>"}, ["warning file-differs"]),
        ({"reports": False}, ["info no-reports"]),
        ({"reports": None}, []),
    ],
)
def test_each_disagreement_has_its_finding(changes: dict[str, Any], expected: list[str]) -> None:
    assert told(policy(), **changes) == expected


def test_in_testing_the_same_keeps_no_mail_away() -> None:
    entry = policy(mode="testing")
    assert told(entry, mx=mx("mx.example.net", "old.example.net"))[0] == "warning mx-not-listed"
    (finding, *_) = own_sts_findings(entry, seen(entry, mx=mx("mx.example.net", "old.example.net")))
    assert "old.example.net is not in the policy of example.net" in finding.text
    assert "will not deliver once enforced" in finding.text


def test_a_host_of_the_policy_that_no_record_names_is_only_told() -> None:
    assert told(policy(mx=["mx.example.net", "*.next.example"])) == ["info mx-unused"]


def test_an_own_authority_is_usual_where_the_systems_list_is_off() -> None:
    private = HostCertificate("In", "gw", (), True, private=True)
    changes = {"certificates": {"mx.example.net": (private,)}, "private": True}
    assert told(policy(), **changes) == ["info private-authority"]


def test_a_withdrawn_policy_asks_for_nothing_of_mx_and_certificates() -> None:
    entry = policy(mode="none", mx=[])
    assert (
        told(entry, mx=mx("old.example.net"), certificates={}, record=Record(Known.NONE), reports=False) == []
    )


def test_another_spelling_of_the_same_policy_is_the_same() -> None:
    entry = policy()
    assert told(entry, body=policy_file(entry).replace(b"\r\n", b"\n")) == []


def test_not_to_know_is_its_own_status() -> None:
    entry = policy()
    unknown = own_sts_findings(entry, seen(entry, mx=mx(known=Known.NO_ANSWER)))
    assert worst(unknown) == "unknown"
    both = own_sts_findings(entry, seen(entry, mx=mx(known=Known.NO_ANSWER), record=Record(Known.NONE)))
    assert worst(both) == "warning"
    assert {one.code for one in both} == {StsCode.MX_UNKNOWN, StsCode.RECORD_MISSING}
