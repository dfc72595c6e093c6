"""`gatepost acme …`: what it says, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench
from tests.control.shell.running import Said, gatepost

from gatepost.certs.acme.client import Limits
from gatepost.certs.acme_secrets import Secret, has_secret
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.authority_link import AcmeAuthority
from gatepost.core.errors import Exit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import LocalKeeper

WITH_ACME = (
    CONTRACT_LIKE
    + """
acme:
  directory: https://127.0.0.1:9/directory
  terms_agreed: true
  certificates:
    - {name: mx, names: [mx.example.net]}
"""
)


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


@pytest.fixture
def configured(stopped: Home, tmp_path: Path) -> Home:
    path = tmp_path / "gateway.yaml"
    path.write_text(WITH_ACME)
    assert gatepost("config", "apply", str(path)).code == 0
    return stopped


def test_nothing_automatic(stopped: Home) -> None:
    assert gatepost("acme", "status") == Said(
        0, "No certificate is issued by itself (acme.directory and acme.certificates).\n", ""
    )
    assert gatepost("acme", "status", "--json").out == "[]\n"
    assert gatepost("acme", "account").out == "No authority is set (acme.directory).\n"


def test_a_standing_is_shown_with_its_reason(configured: Home) -> None:
    said = gatepost("acme", "status")
    assert said.code == 0
    assert "a stand-in" in said.out
    assert "mx: mx.example.net, by http-01. A self-signed certificate stands in." in said.out
    (row,) = json.loads(gatepost("acme", "status", "--json").out)
    assert row["name"] == "mx"


def test_a_failure_is_shown_with_the_next_try(configured: Home) -> None:
    bench = Bench(configured)
    vault = AcmeVault(bench.store, LocalKeeper(bench.key), bench.clock)
    failed = replace(
        vault.standing("mx"),
        outcome="connection refused",
        failed=True,
        failures=3,
        attempted=NOW,
        again=NOW + 600,
    )
    vault.put_standing("mx", failed)
    bench.store.close()
    said = gatepost("acme", "status")
    assert "3 failures" in said.out
    assert "The last try failed: connection refused" in said.out


def test_an_authority_out_of_reach_is_said(configured: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AcmeAuthority.__init__.__kwdefaults__, "limits", Limits(first_wait=0.01))
    said = gatepost("acme", "account")
    assert said.code == 0
    assert "none yet; it is registered with the first order" in said.out
    assert "The authority did not answer: 127.0.0.1:9 did not answer the directory" in said.err
    for command in (("acme", "renew", "mx", "--dry-run"), ("cert", "renew", "mx", "--dry-run")):
        said = gatepost(*command)
        assert said.code == Exit.REFUSED
        assert "mx would not be renewed: 127.0.0.1:9 did not answer the directory" in said.err


def test_an_order_needs_the_gateway(configured: Home) -> None:
    assert gatepost("acme", "renew", "mx").code == Exit.NOT_RUNNING


def test_secrets_come_from_a_file_or_standard_input(stopped: Home, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("c2VjcmV0LWtleQ\nsomething else\n")
    assert gatepost("acme", "secret", "eab", "--file", str(path)) == Said(0, "The key is stored.\n", "")
    assert gatepost("acme", "secret", "tsig", stdin=b"c2VjcmV0LWtleQ==\n").code == 0
    store = ConfigStore.open(stopped.config_db)
    assert all(has_secret(store, kind) for kind in Secret)
    store.close()
    assert gatepost("acme", "secret", "eab", "--forget").out == "The key is forgotten.\n"
    assert gatepost("acme", "secret", "eab", stdin=b"\n").code == Exit.USAGE
    assert gatepost("acme", "secret", "hmac", stdin=b"x\n").code == Exit.USAGE
    store = ConfigStore.open(stopped.config_db)
    assert not has_secret(store, Secret.EAB)
    store.close()
