"""reputation: lists asked over a real name server, and the group of each listener that the score leads to."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench
from tests.control.shell.running import gatepost
from tests.fakes.dns_authority import DnsAuthority

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home

RECORDS = {
    "2.0.0.127.bad.example": {"A": ["127.0.0.2"]},
    "7.2.0.192.bad.example": {"A": ["127.0.0.2", "127.0.0.4"]},
    "2.0.0.127.good.example": {"A": ["127.0.0.2"]},
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.good.example": {"A": ["127.0.5.3"]},
    "2.0.0.127.gone.example": {"A": ["203.0.113.80"]},
    "1.0.0.127.gone.example": {"A": ["203.0.113.80"]},
}
LISTS = """
reputation:
  lists:
    - {zone: bad.example, weights: {127.0.0.2: -4, 127.0.0.4: -1.5}}
    - {zone: good.example, weights: {127.0.*.3: 3}}
    - {zone: gone.example, weight: -9}
"""
GROUPS = """
      - {group: BLOCKED_LIST, senders: ["sbrs[-10.0:-3.0]"], policy: BLOCKED}
      - {group: FRIENDS, senders: ["sbrs[1:10]"], policy: TRUSTED}
      - {group: ALL, policy: ACCEPTED}"""


@pytest.fixture
def dns() -> Iterator[DnsAuthority]:
    with DnsAuthority(RECORDS) as authority:
        yield authority


def document(dns: DnsAuthority, lists: str = LISTS, groups: str = GROUPS) -> str:
    text = CONTRACT_LIKE.replace("\n      - {group: ALL, policy: ACCEPTED}", groups)
    return text + f"dns: {{servers: ['{dns.address}:{dns.port}'], reverse: false}}\n{lists}"


def test_the_score_and_where_it_leads(bench: Bench, dns: DnsAuthority) -> None:
    bench.apply(document(dns))
    found = bench.call("reputation", address="192.0.2.7")
    assert (found["score"], found["enabled"], found["note"]) == (-5.5, True, "")
    assert found["host_note"] == "names are not looked up (dns.reverse)"
    assert [(one["zone"], one["said"], one["weight"]) for one in found["lists"]] == [
        ("bad.example", "listed", -5.5),
        ("good.example", "not listed", None),
        ("gone.example", "left out", None),
    ]
    assert found["listeners"] == [
        {
            "listener": "IncomingMail",
            "action": "REJECT",
            "group": "BLOCKED_LIST",
            "match": "sbrs[-10.0:-3.0]",
            "policy": "BLOCKED",
            "noted": [],
        }
    ]
    friend = bench.call("reputation", address="2001:db8::1")
    assert (friend["score"], friend["listeners"][0]["policy"]) == (3.0, "TRUSTED")


def test_who_has_no_score_is_told_why(bench: Bench, dns: DnsAuthority) -> None:
    bench.apply(document(dns))
    inside = bench.call("reputation", address="127.0.0.1")
    assert (inside["score"], inside["note"], inside["listeners"][0]["group"]) == (
        None,
        "loopback address",
        "ALL",
    )
    bench.apply(document(dns, lists=""))
    off = bench.call("reputation", address="192.0.2.7")
    assert (off["enabled"], off["note"]) == (False, "reputation.lists names no list")
    bench.apply(document(dns, groups="\n      - {group: ALL, policy: ACCEPTED}"))
    assert bench.call("reputation", address="192.0.2.7")["note"] == "no listener has an entry sbrs[...]"
    with pytest.raises(OperatorError, match=r"'mx\.example' is no IP address") as caught:
        bench.call("reputation", address="mx.example")
    assert caught.value.code is Exit.USAGE


def test_a_candidate_is_tried_before_it_counts(bench: Bench, dns: DnsAuthority) -> None:
    bench.apply(document(dns, lists=""))
    bench.apply(document(dns), pending=True)
    assert bench.call("reputation", address="192.0.2.7")["score"] is None
    found = bench.call("reputation", address="192.0.2.7", pending=True)
    assert (found["score"], found["pending"]) == (-5.5, True)


def test_the_command_reads_at_eighty_columns(
    home: Home, dns: DnsAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    bench = Bench(home)
    bench.apply(document(dns))
    bench.store.close()
    said = gatepost("reputation", "192.0.2.7")
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 80
    rows = [line.split() for line in said.out.splitlines()]
    assert ["score", "-5.5"] in rows
    assert ["bad.example", "127.0.0.2,", "127.0.0.4", "-5.5"] in rows
    assert ["IncomingMail", "REJECT", "BLOCKED_LIST", "sbrs[-10.0:-3.0]", "BLOCKED"] in rows
    assert "gone.example left out: it gives answers that are not a list's" in said.out
    assert json.loads(gatepost("reputation", "192.0.2.7", "--json").out)["score"] == -5.5
    assert gatepost("reputation", "nobody").code == 2
