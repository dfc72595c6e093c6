"""Keys for DKIM: sealed, found again, used to sign, forgotten, and of no use under another master key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.certs.renewal_box import NOW, Clock
from tests.fakes.dkim_verifier import verdicts

from gatepost.certs.dkim_vault import MAX_OF_A_DOMAIN, DkimVault, dkim_keys
from gatepost.core.errors import OperatorError
from gatepost.pki.dkim import DkimKind
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import LocalKeeper, MasterKey
from gatepost.wire.dkim import sign_message

MESSAGE = b"From: <a@sender.example>\r\n\r\nText\r\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield store
    store.close()


def vault_over(store: ConfigStore, key: bytes = b"k" * 32) -> DkimVault:
    return DkimVault(store, LocalKeeper(MasterKey(key)), Clock())


def test_every_key_of_a_domain_signs(store: ConfigStore) -> None:
    vault = vault_over(store)

    async def main() -> bytes:
        await vault.make("sender.example", "r1", DkimKind.RSA2048)
        await vault.make("sender.example", "e1", DkimKind.ED25519)
        await vault.make("sender.example.net", "x1", DkimKind.ED25519)
        return sign_message(MESSAGE, await vault.signers("sender.example"), ("From",), NOW)

    signed = asyncio.run(main())
    keys = dkim_keys(store, "sender.example")
    assert [(key.selector, key.kind, key.made) for key in keys] == [
        ("e1", DkimKind.ED25519, NOW),
        ("r1", DkimKind.RSA2048, NOW),
    ]
    assert verdicts(signed, {key.record_name: key.record for key in keys}) == ["good", "good"]
    assert len(dkim_keys(store)) == 3


def test_nothing_in_the_store_holds_a_key_in_clear(store: ConfigStore) -> None:
    key = asyncio.run(vault_over(store).make("sender.example", "e1", DkimKind.ED25519))
    values = store.metas("dkim")
    assert len(values) == 2
    assert not any(b"PRIVATE" in value for value in values.values())
    assert "PRIVATE" not in repr(key)


def test_a_key_is_forgotten_for_good(store: ConfigStore) -> None:
    vault = vault_over(store)
    key = asyncio.run(vault.make("sender.example", "e1", DkimKind.ED25519))
    vault.forget(key)
    assert store.metas("dkim") == {}
    assert asyncio.run(vault.signers("sender.example")) == ()


def test_under_another_master_key_nothing_signs(store: ConfigStore) -> None:
    asyncio.run(vault_over(store).make("sender.example", "e1", DkimKind.ED25519))
    assert asyncio.run(vault_over(store, b"x" * 32).signers("sender.example")) == ()


def test_a_name_is_given_once_and_their_number_is_bounded(store: ConfigStore) -> None:
    vault = vault_over(store)

    async def make(selector: str) -> None:
        await vault.make("sender.example", selector, DkimKind.ED25519)

    asyncio.run(make("s0"))
    with pytest.raises(OperatorError, match="has a key with the selector s0"):
        asyncio.run(make("s0"))
    for number in range(1, MAX_OF_A_DOMAIN):
        asyncio.run(make(f"s{number}"))
    with pytest.raises(OperatorError, match="too many keys"):
        asyncio.run(make("more"))
