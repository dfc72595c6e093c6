"""Who is believed about DNSSEC and why not, look-ups as they are shown, why a policy does not count."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from gatepost.config.load import load_plain
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.net.dns_answer import DnsAnswer, DnsStatus, Mx
from gatepost.net.dns_client import NameServer
from gatepost.net.dns_trust import Validation
from gatepost.net.overheard import LookUp, PolicySeen
from gatepost.policy.outbound import compile_destinations
from gatepost.probe.explain_dns import dnssec, look_up_view, policy_view, tlsa_view
from gatepost.wire.mta_sts import Mode, StsFault, StsPolicy

LOCAL, FAR = NameServer("127.0.0.1"), NameServer("192.0.2.53")
AWAY = Validation(FAR, "is not on this machine")


def view(
    *verdicts: Validation, dane: str = "opportunistic", tls: str = "preferred", **dns: Any
) -> dict[str, Any]:
    document = load_plain({"destination_controls": {"default": {"dane": dane, "tls": tls}}, "dns": dns})
    return dnssec(document, compile_destinations(document), verdicts).document()


def test_a_server_that_passed_the_probe_is_believed() -> None:
    found = view(AWAY, Validation(LOCAL))
    assert (found["believed"], found["reason"]) == (True, "")
    assert found["servers"] == [
        {"server": "192.0.2.53:53", "believed": False, "reason": "is not on this machine"},
        {"server": "127.0.0.1:53", "believed": True, "reason": ""},
    ]


@pytest.mark.parametrize(
    ("verdicts", "choices", "reason"),
    [
        ((AWAY,), {}, "192.0.2.53:53 is not on this machine"),
        ((), {}, "no name server has been tried yet"),
        ((), {"dane": "none"}, "no destination verifies or asks for DANE, so no name server was tried"),
        ((), {"dane": "none", "tls": "preferred-verify"}, "no name server has been tried yet"),
        ((AWAY,), {"dane": "none", "tls": "required-verify"}, "192.0.2.53:53 is not on this machine"),
        ((Validation(LOCAL),), {"validate_dnssec": False}, "dns.validate_dnssec is false"),
    ],
)
def test_why_nobody_is_believed(
    verdicts: tuple[Validation, ...], choices: dict[str, Any], reason: str
) -> None:
    assert view(*verdicts, **choices)["reason"] == reason


def test_look_ups_show_their_values_and_their_state() -> None:
    mx: DnsAnswer[Mx] = DnsAnswer(DnsStatus.FOUND, (Mx(10, "mx.example"), Mx(0, "")), secure=True)
    found = look_up_view(LookUp("MX", "x.example", mx))
    assert (found.kind, found.values, found.secure) == ("MX", ("10 mx.example", "0 ."), True)
    silent: DnsAnswer[Any] = DnsAnswer(DnsStatus.TEMPORARY, detail="timeout asking 192.0.2.53:53")
    found = look_up_view(LookUp("A", "mx.example", silent))
    assert (found.kind, found.status, found.detail) == ("A/AAAA", "temporary", "timeout asking 192.0.2.53:53")
    address: DnsAnswer[Any] = DnsAnswer(DnsStatus.FOUND, (ipaddress.ip_address("2001:db8::1"),))
    assert look_up_view(LookUp("A", "mx.example", address)).values == ("2001:db8::1",)
    failed = TlsaAnswer(TlsaState.FAILED, detail="TLSA of mx.example: SERVFAIL")
    found = look_up_view(LookUp("TLSA", "_25._tcp.mx.example", failed))
    assert (found.status, found.secure, found.detail) == ("failed", False, "TLSA of mx.example: SERVFAIL")


def test_records_of_no_use_say_why() -> None:
    assert tlsa_view(None) is None
    shown = tlsa_view(
        TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, b"\x01" * 32), Tlsa(3, 1, 1, b"\x02")), "mx.example")
    )
    assert shown is not None
    assert [one.unusable for one in shown.records] == [
        "usage 1 is not for SMTP",
        "1 octets of a digest that has 32",
    ]


TXT = ("v=STSv1; id=7;",)


@pytest.mark.parametrize(
    ("seen", "mode", "problem"),
    [
        (
            PolicySeen(
                "d", DnsAnswer(DnsStatus.FOUND, TXT), StsPolicy(Mode.ENFORCE, 60, ("mx",)), "7", 1e9, 1e9 + 60
            ),
            "enforce",
            "",
        ),
        (PolicySeen("d", DnsAnswer(DnsStatus.NXDOMAIN), None), "", "the domain announces no policy"),
        (PolicySeen("d", DnsAnswer(DnsStatus.FOUND, ("other",)), None), "", "the domain announces no policy"),
        (PolicySeen("d", DnsAnswer(DnsStatus.FOUND, TXT * 2), None), "", "2 records stand where one belongs"),
        (
            PolicySeen("d", DnsAnswer(DnsStatus.TEMPORARY, detail="SERVFAIL"), None),
            "",
            "the record could not be looked up: SERVFAIL",
        ),
        (
            PolicySeen("d", DnsAnswer(DnsStatus.FOUND, TXT), None, "7", 1e9, 0, StsFault("it broke").reason),
            "",
            "it broke",
        ),
    ],
)
def test_why_a_policy_counts_or_not(seen: PolicySeen, mode: str, problem: str) -> None:
    shown = policy_view(seen).document()
    assert (shown["mode"], shown["problem"]) == (mode, problem)
    assert shown["until"] == ("2001-09-09T01:47:40Z" if mode else "")
