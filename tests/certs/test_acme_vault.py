"""What automatic certificates keep: sealed, found again, forgotten, and absent when the master key is another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.certs.renewal_box import NOW, Clock
from tests.fakes.ca import TestAuthority

from gatepost.certs.acme.account import AccountKey
from gatepost.certs.acme.ports import SavedOrder
from gatepost.certs.acme_secrets import Secret, has_secret
from gatepost.certs.acme_vault import AcmeVault, Ready
from gatepost.certs.renewal import SeenWindow, Standing
from gatepost.pki.keys import KeyKind, SecretBytes, generate, key_pem, load_private_key
from gatepost.pki.profile import Origin, make_profile
from gatepost.store.config_store import ConfigStore
from gatepost.store.secrets import LocalKeeper, MasterKey

DIRECTORY = "https://acme.example/directory"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield store
    store.close()


def vault_over(store: ConfigStore, key: bytes = b"k" * 32) -> AcmeVault:
    return AcmeVault(store, LocalKeeper(MasterKey(key)), Clock())


def test_a_standing_is_read_as_it_was_written(store: ConfigStore) -> None:
    vault = vault_over(store)
    assert vault.standing("mx") == Standing()
    written = Standing(
        "wish", ("f1", "f2"), NOW, "no", True, 3, windows=(SeenWindow("f1", NOW, 1.0, 2.0, "why"),)
    )
    vault.put_standing("mx", written)
    assert vault.standing("mx") == written
    assert vault.standing("other") == Standing()


@pytest.mark.parametrize("junk", [b"", b"no json", b"[]", b'{"windows": 5}', b'{"later": 1}', b'"x"'])
def test_a_standing_that_cannot_be_read_is_forgotten(store: ConfigStore, junk: bytes) -> None:
    store.put_meta("acme standing mx", junk)
    assert vault_over(store).standing("mx") == Standing()


def test_an_account_is_kept_before_and_after_it_is_registered(store: ConfigStore) -> None:
    async def main() -> None:
        vault, key = vault_over(store), AccountKey.generate()
        assert await vault.account_key(DIRECTORY) is None
        await vault.put_account(DIRECTORY, key, "", "")
        kept = await vault.account_key(DIRECTORY)
        assert kept is not None
        assert kept.thumbprint == key.thumbprint
        assert await vault.account(DIRECTORY) is None
        await vault.put_account(DIRECTORY, key, f"{DIRECTORY}/1", "a@example.net")
        account = await vault.account(DIRECTORY)
        assert account is not None
        assert (account.url, account.key_pem) == (f"{DIRECTORY}/1", key.pem)
        assert await vault.account("https://other.example/") is None
        facts = {"url": f"{DIRECTORY}/1", "thumbprint": key.thumbprint, "contact": "a@example.net"}
        assert vault.account_facts(DIRECTORY) == facts
        assert await vault_over(store, os.urandom(32)).account(DIRECTORY) is None  # another master key
        vault.forget_account(DIRECTORY)
        assert await vault.account_key(DIRECTORY) is None
        assert vault.account_facts(DIRECTORY) == {}

    asyncio.run(main())


def test_secrets_are_sealed_and_forgotten(store: ConfigStore, tmp_path: Path) -> None:
    async def main() -> None:
        vault = vault_over(store)
        mark = vault.secrets_mark()
        await vault.put_secret(Secret.EAB, SecretBytes(b"very-secret-text"))
        assert await vault.secret(Secret.EAB) == SecretBytes(b"very-secret-text")
        assert await vault.secret(Secret.TSIG) is None
        assert vault.secrets_mark() != mark
        assert has_secret(store, Secret.EAB)
        assert await vault_over(store, os.urandom(32)).secret(Secret.EAB) is None
        await vault.put_secret(Secret.EAB, SecretBytes(b""))
        assert not has_secret(store, Secret.EAB)

    asyncio.run(main())
    assert b"very-secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_an_order_and_what_came_of_it(store: ConfigStore) -> None:
    async def main() -> None:
        vault = vault_over(store)
        journal = vault.journal("mx", "main")
        assert await journal.load() is None
        key = key_pem(generate(KeyKind.P256))
        order = SavedOrder(
            "https://acme.example/1", DIRECTORY, "url", ("a.example", "b.example"), "p", key, NOW
        )
        await journal.save(order)
        assert await journal.load() == order
        assert await vault.journal("mx", "beside").load() is None
        await journal.forget()
        assert await journal.load() is None

        issued = TestAuthority("CA").issue(["mx.example.net"])
        own = load_private_key(issued.key_pem)
        profile = make_profile("mx", issued.chain_der[0], own, origin=Origin.AUTOMATIC, created=NOW)
        await vault.put_ready("mx", Ready(profile, "wish", ("a remark",)))
        ready = await vault.ready("mx")
        assert ready is not None
        ready.profile.require_keys()
        assert (ready.profile.certificate, ready.wish, ready.remarks) == (
            profile.certificate,
            "wish",
            ("a remark",),
        )
        await vault.put_ready("mx", None)
        assert await vault.ready("mx") is None

    asyncio.run(main())
