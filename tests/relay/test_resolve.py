"""From a recipient domain to the hops of an attempt: routes, MX records, refused addresses, ourselves."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from tests.fakes.gateway_parts import DOCUMENT, route
from tests.fakes.resolver import FakeResolver

from gatepost.app.runtime import build_runtime
from gatepost.config.load import load_plain, to_plain
from gatepost.net.dns_client import NameServer
from gatepost.net.dns_trust import Validation
from gatepost.policy.hop import Hop, LeftOut
from gatepost.relay.outcome import Failure, Stage
from gatepost.relay.resolve import Unresolved, resolve
from gatepost.relay.services import Runtime

D = "partner.example"


@dataclass
class Parts:
    """What `resolve` uses of the services."""

    resolver: FakeResolver
    rng: random.Random


class Lookup:
    """A zone, a configuration, and what comes of a domain."""

    def __init__(self, *routes: dict[str, Any], **sections: Any) -> None:
        self.zone = FakeResolver()
        document = to_plain(load_plain({**DOCUMENT, "smtp_routes": list(routes), **sections}))
        self.runtime: Runtime = build_runtime(
            {
                "version": 1,
                "document": document,
                "profiles": {},
                "authorities": {"system": False, "custom_pem": ""},
            }
        )
        self.rng = random.Random(3)

    def hops(self, domain: str = D, **choices: Any) -> list[Hop]:
        parts = Parts(self.zone, self.rng)
        rule = self.runtime.destinations.find(domain, date(2026, 1, 1))
        return asyncio.run(resolve(parts, self.runtime, domain, rule, **choices))  # type: ignore[arg-type]

    def shown(self, domain: str = D) -> list[str]:
        return [str(hop) for hop in self.hops(domain)]

    def failure(self, domain: str = D) -> Failure:
        with pytest.raises(Unresolved) as caught:
            self.hops(domain)
        return caught.value.failure


def test_exchangers_in_order_of_preference_with_all_their_addresses() -> None:
    it = Lookup()
    it.zone.set_mx(D, (20, "second.example"), (10, "first.example"))
    it.zone.set_addresses("first.example", "192.0.2.1", "2001:db8::1")
    it.zone.set_addresses("second.example", "192.0.2.2")
    assert it.shown() == [
        "first.example [192.0.2.1]:25",
        "first.example [2001:db8::1]:25",
        "second.example [192.0.2.2]:25",
    ]


def test_equals_come_in_random_order() -> None:
    it = Lookup()
    it.zone.set_mx(D, (10, "a.example"), (10, "b.example"))
    it.zone.set_addresses("a.example", "192.0.2.1")
    it.zone.set_addresses("b.example", "192.0.2.2")
    assert len({it.shown()[0] for _ in range(50)}) == 2


def test_without_mx_the_domain_itself() -> None:
    it = Lookup()
    it.zone.set_addresses(D, "192.0.2.7")
    assert it.shown() == [f"{D} [192.0.2.7]:25"]


@pytest.mark.parametrize(
    ("mx", "stage", "permanent"),
    [
        ([(0, "")], Stage.NULL_MX, True),
        ([(10, "mx.example.net")], Stage.LOOP, True),
        ([(10, "gw.example.net"), (20, "other.example")], Stage.LOOP, True),
        ([(10, "192.0.2.1")], Stage.UNROUTABLE, True),
        ([(10, "nowhere.example")], Stage.HOST, True),
        ([(10, "servfail.example")], Stage.DIRECTORY, False),
        ([(10, "servfail.example"), (20, "nowhere.example")], Stage.DIRECTORY, False),
        ([(10, "loopback.example")], Stage.HOST, True),
        ([(10, "ours.example")], Stage.LOOP, True),
    ],
)
def test_records_that_lead_nowhere(mx: list[tuple[int, str]], stage: Stage, permanent: bool) -> None:
    it = Lookup()
    it.zone.set_mx(D, *mx)
    it.zone.set_addresses("other.example", "192.0.2.1")
    it.zone.set_addresses("loopback.example", "127.0.0.2")
    it.zone.set_addresses("ours.example", "127.0.0.1")
    it.zone.failing.add("servfail.example")
    failure = it.failure()
    assert (failure.stage, failure.permanent) == (stage, permanent)


def test_answers_of_the_mx_look_up_itself() -> None:
    it = Lookup()
    nothing = it.failure("nx.example")
    assert (nothing.status, nothing.texts) == (
        "5.1.2",
        ("DNS Hard Error looking up nx.example (MX):  NXDomain",),
    )
    it.zone.failing.add(D)
    unknown = it.failure()
    assert (unknown.status, unknown.texts) == (
        "4.4.3",
        (f"DNS Soft Error looking up {D} (MX): SERVFAIL",),
    )


def test_better_exchangers_than_ourselves_are_used() -> None:
    it = Lookup()
    it.zone.set_mx(
        D, (10, "best.example"), (20, "mx.example.net"), (20, "equal.example"), (30, "worse.example")
    )
    for number, host in enumerate(("best.example", "equal.example", "worse.example", "mx.example.net")):
        it.zone.set_addresses(host, f"192.0.2.{number + 1}")
    assert it.shown() == ["best.example [192.0.2.1]:25"]


@pytest.mark.parametrize(
    "address", ["127.9.9.9", "0.0.0.0", "224.0.0.1", "169.254.1.1", "::1", "::ffff:127.0.0.1", "10.1.1.1"]
)
def test_addresses_that_dns_may_not_lead_to(address: str) -> None:
    it = Lookup()
    it.zone.set_mx(D, (10, "inside.example"), (20, "fine.example"))
    it.zone.set_addresses("inside.example", address)
    it.zone.set_addresses("fine.example", "192.0.2.1")
    assert it.shown() == ["fine.example [192.0.2.1]:25"]


def test_private_addresses_where_they_are_allowed() -> None:
    it = Lookup(dns={"allow_private_mx": True})
    it.zone.set_addresses(D, "10.1.1.1")
    assert it.shown() == [f"{D} [10.1.1.1]:25"]


def test_address_literals() -> None:
    it = Lookup()
    assert it.shown("[192.0.2.1]") == ["[192.0.2.1]:25"]
    assert it.hops("[192.0.2.1]")[0].names.literal
    assert it.failure("[127.0.0.1]").stage is Stage.HOST
    assert it.failure("[tag:x]").permanent


def test_routes_are_exempt_and_keep_their_order() -> None:
    it = Lookup(route(D, "[127.0.0.1]:2600", "[host.example]:26", "mxhost.example:27"))
    it.zone.set_addresses("host.example", "10.0.0.1")
    it.zone.set_mx("mxhost.example", (10, "inner.example"))
    it.zone.set_addresses("inner.example", "10.0.0.2")
    assert it.shown() == [
        "[127.0.0.1]:2600",
        "host.example [10.0.0.1]:26",
        "inner.example [10.0.0.2]:27",
    ]
    fixed, host, mx = (hop.names for hop in it.hops())
    assert (fixed.literal, fixed.address) == (True, "127.0.0.1")
    assert (host.route_host, host.mx_host) == ("host.example", "")
    assert (mx.route_host, mx.mx_host, mx.mx_secure) == ("mxhost.example", "inner.example", False)


def test_one_host_of_a_route_may_fail() -> None:
    it = Lookup(route(D, "[gone.example]", "[192.0.2.1]"))
    assert it.shown() == ["[192.0.2.1]:25"]
    it = Lookup(route(D, "[gone.example]", "[servfail.example]"))
    it.zone.failing.add("servfail.example")
    assert not it.failure().permanent


def test_reject_and_usedns() -> None:
    it = Lookup(route(D, "reject"), route("sub.example", "usedns"), route("ALL", "[192.0.2.9]"))
    assert (it.failure().status, it.failure().permanent) == ("5.7.1", True)
    it.zone.set_addresses("sub.example", "192.0.2.1")
    assert it.shown("sub.example") == ["sub.example [192.0.2.1]:25"]
    assert it.shown("any.example") == ["[192.0.2.9]:25"]


def test_a_signed_chain_of_answers_makes_a_secure_name() -> None:
    it = Lookup()
    it.zone.set_mx(D, (10, "mx.partner.example"))
    it.zone.set_addresses("mx.partner.example", "192.0.2.1")
    it.zone.secure.add(D)
    assert not it.hops()[0].names.mx_secure
    it.zone.secure.add("mx.partner.example")
    assert it.hops()[0].names.mx_secure
    assert not [kind for kind, _ in it.zone.asked if kind == "TLSA"]


LOCAL = NameServer("127.0.0.1")


@pytest.mark.parametrize(
    ("verdicts", "judged"),
    [
        ((), False),
        ((Validation(LOCAL),), True),
        ((Validation(LOCAL, "takes the broken signature of x.example"),), True),
        ((Validation(LOCAL, "timeout asking 127.0.0.1:53", untried=True),), False),
        ((Validation(LOCAL, "timeout", untried=True), Validation(NameServer("127.0.0.2"))), True),
    ],
)
def test_names_tell_whether_anybody_could_say_that_they_are_signed(
    verdicts: tuple[Validation, ...], judged: bool
) -> None:
    it = Lookup()
    it.zone.set_mx(D, (10, "mx.partner.example"))
    it.zone.set_addresses("mx.partner.example", "192.0.2.1")
    it.zone.verdicts = verdicts
    assert it.hops()[0].names.mx_judged is judged


def test_a_domain_with_hundreds_of_exchangers_is_bounded() -> None:
    it = Lookup()
    it.zone.set_mx(D, *((n, f"h{n}.example") for n in range(300)))
    for number in range(300):
        it.zone.set_addresses(f"h{number}.example", f"192.0.2.{number % 200 + 1}", "2001:db8::1")
    assert len(it.hops()) == 20
    assert len(it.zone.asked) < 30


def test_what_is_left_out_is_told_with_its_reason() -> None:
    it = Lookup()
    it.zone.set_mx(
        D, (10, "good.example"), (20, "mixed.example"), (25, "gone.example"), (30, "mx.example.net")
    )
    it.zone.set_addresses("good.example", "192.0.2.1")
    it.zone.set_addresses("mixed.example", "192.0.2.2", "127.0.0.9")
    told: list[LeftOut] = []
    assert len(it.hops(told=told.append)) == 2
    assert set(told) == {
        LeftOut("mx.example.net", "", "leads to this gateway itself"),
        LeftOut("mixed.example", "127.0.0.9", "loopback address"),
        LeftOut("gone.example", "", "DNS Hard Error looking up gone.example (A):  NXDomain"),
    }
