"""`gatepost dkim …` on a stopped gateway."""

from __future__ import annotations

import json
import re

import pytest
from tests.control.shell.running import gatepost
from tests.fakes.dns_authority import DnsAuthority

from gatepost.core.errors import Exit
from gatepost.store.home import Home


@pytest.fixture(autouse=True)
def _at_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))


def test_a_key_is_made_listed_and_deleted() -> None:
    assert gatepost("dkim", "list").out == "There is no key; `gatepost dkim new DOMAIN` makes one.\n"
    made = gatepost("dkim", "new", "sender.example", "--selector", "gw1")
    assert (made.code, made.err) == (0, "")
    assert max(map(len, made.out.splitlines())) <= 80
    (shown,) = json.loads(gatepost("dkim", "show", "sender.example", "--json").out)
    strings = "".join(re.findall(r'^    "(.*)"$', made.out, re.MULTILINE))
    assert strings == shown["record"]
    listed = gatepost("dkim", "list").out
    assert "sender.example  gw1       rsa2048" in listed
    assert gatepost("dkim", "delete", "sender.example", "--yes").code == Exit.USAGE
    gone = gatepost("dkim", "delete", "sender.example", "--selector", "gw1", "--yes")
    assert gone.out.startswith("The key gw1 of sender.example is gone.")
    assert json.loads(gatepost("dkim", "list", "--json").out) == []


def test_the_check_ends_with_1_until_the_record_is_right() -> None:
    made = json.loads(gatepost("dkim", "new", "sender.example", "--key", "ed25519", "--json").out)
    with DnsAuthority({}) as server:
        shown = gatepost("config", "show").out
        settings = shown + f'\ndns: {{servers: ["127.0.0.1:{server.port}"]}}\n'
        assert gatepost("config", "apply", "-", stdin=settings.encode()).code == 0
        missing = gatepost("dkim", "check", "sender.example")
        assert missing.code == Exit.REFUSED
        assert "there is no record" in missing.out
        server.update({made["name"]: {"TXT": [f'"{made["record"].replace("; p=", "; t=y; p=")}"']}})
        good = gatepost("dkim", "check", "sender.example")
        assert good.code == 0
        assert good.out == f"{made['name']}: good, the record is of this key\n"
        assert "tests DKIM" in good.err


def test_ed25519_is_told_to_be_young() -> None:
    assert (
        "Many receivers do not verify Ed25519" in gatepost("dkim", "new", "a.example", "--key", "ed25519").out
    )
