"""dkim.*: what is made, shown and compared with a real name server; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.core.errors import Exit, OperatorError

NAME = "gw1._domainkey.sender.example"


@pytest.fixture
def published() -> Iterator[DnsAuthority]:
    with DnsAuthority({}) as authority:
        yield authority


def _made(bench: Bench, **args: str) -> Any:
    return bench.call("dkim.new", domain="Sender.Example.", **args)


def test_a_key_is_made_and_shown_without_its_private_half(bench: Bench) -> None:
    made = _made(bench, selector="GW1", kind="ed25519")
    assert (made["domain"], made["selector"], made["name"]) == ("sender.example", "gw1", NAME)
    assert made["record"].startswith("v=DKIM1; k=ed25519; p=")
    assert made["zone"] == f'{NAME}. IN TXT "{made["record"]}"'
    (listed,) = bench.call("dkim.list")
    assert listed == {key: value for key, value in made.items() if key != "said"}
    assert bench.call("dkim.show", domain="sender.example") == [listed]
    assert "PRIVATE" not in str(made)


def test_a_key_may_be_for_reports_alone(bench: Bench) -> None:
    made = bench.call("dkim.new", domain="sender.example", kind="ed25519", reports_only=True)
    assert made["record"].startswith("v=DKIM1; k=ed25519; s=tlsrpt; p=")
    (listed,) = bench.call("dkim.list")
    assert listed["reports_only"] is True


def test_selectors_are_found_where_none_is_given(bench: Bench) -> None:
    assert _made(bench, kind="ed25519")["selector"] == "gp-ed25519-1"
    assert _made(bench, kind="ed25519")["selector"] == "gp-ed25519-2"


@pytest.mark.parametrize(
    "args",
    [
        {"domain": "sender example"},
        {"domain": ""},
        {"domain": "-x.example"},
        {"domain": "sender.example", "selector": "a b"},
        {"domain": "sender.example", "selector": "a_b"},
        {"domain": "sender.example", "kind": "rsa1024"},
    ],
)
def test_what_is_no_name_or_kind_is_a_wrong_use(bench: Bench, args: dict[str, str]) -> None:
    with pytest.raises(OperatorError) as refusal:
        bench.call("dkim.new", **args)
    assert refusal.value.code is Exit.USAGE
    assert bench.call("dkim.list") == []


def test_a_key_that_is_not_there_is_said(bench: Bench) -> None:
    for operation in ("dkim.show", "dkim.delete", "dkim.check"):
        with pytest.raises(OperatorError, match=r"there is no key of sender\.example"):
            bench.call(operation, domain="sender.example")


def test_a_deleted_key_is_gone(bench: Bench) -> None:
    _made(bench, selector="gw1", kind="ed25519")
    bench.call("dkim.delete", domain="sender.example", selector="gw1")
    assert bench.call("dkim.list") == []


def _check(bench: Bench, server: DnsAuthority) -> Any:
    bench.apply(CONTRACT_LIKE + f'dns: {{servers: ["127.0.0.1:{server.port}"]}}\n')
    (row,) = bench.call("dkim.check", domain="sender.example")
    return row


def test_what_is_published_is_compared_with_the_key(bench: Bench, published: DnsAuthority) -> None:
    made = _made(bench, selector="gw1", kind="rsa2048")
    assert _check(bench, published)["state"] == "missing"
    published.update({NAME: {"TXT": [made["zone"].partition("TXT ")[2]]}})
    row = _check(bench, published)
    assert (row["state"], row["problems"], row["published"]) == ("good", [], [made["record"]])
    published.update({NAME: {"TXT": ['"v=DKIM1; p=AAAA"']}})
    assert _check(bench, published)["problems"] == ["it holds another key"]
    published.update({NAME: {"TXT": ['"v=DKIM1; p=AAAA"', '"another"']}})
    assert _check(bench, published)["problems"] == ["2 records stand where one belongs"]
    published.behave(NAME, Behaviour.SERVFAIL)
    row = _check(bench, published)
    assert row["state"] == "no answer"
    assert row["problems"]


def test_a_configuration_that_sends_unsigned_reports_is_warned_about(bench: Bench) -> None:
    text = CONTRACT_LIKE + "tls_reports: {send: true, from: tls@sender.example}\n"

    def warned() -> list[str]:
        answer = bench.apply(text)
        return [one["text"] for one in answer["warnings"] if one["path"] == "tls_reports.send"]

    assert warned() == [
        "no key of sender.example is stored to sign reports, so none goes by mail: "
        "receivers ignore unsigned ones"
    ]
    _made(bench, kind="ed25519")
    assert warned() == []
