"""Accounts: made, found, bound, changed and closed; and nothing is agreed to that nobody agreed to."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.certs.acme.kit import Scene, run

from gatepost.certs.acme.account import (
    AccountKey,
    ExternalAccount,
    change_key,
    deactivate,
    find,
    register,
)
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes


def test_an_account_is_made_once_and_found_by_its_key() -> None:
    async def main() -> None:
        scene = Scene()
        assert await find(scene.ca, scene.ca.url, scene.key, scene) is None
        made = await scene.account(contact=["postmaster@b.example"])
        again = await scene.account(contact=["postmaster@b.example"])
        assert made == again == await find(scene.ca, scene.ca.url, scene.key, scene)
        assert list(scene.ca.accounts) == [made.url]
        assert scene.ca.accounts[made.url].contact == ["mailto:postmaster@b.example"]
        assert made.directory == scene.ca.url
        other = await register(scene.ca, scene.ca.url, AccountKey.generate(), scene, terms_agreed=True)
        assert other.url != made.url

    run(main)


def test_the_contact_is_brought_up_to_date() -> None:
    async def main() -> None:
        scene = Scene()
        made = await scene.account(contact=["old@b.example"])
        await scene.account(contact=["mailto:new@b.example"])
        assert scene.ca.accounts[made.url].contact == ["mailto:new@b.example"]
        await scene.account()
        assert scene.ca.accounts[made.url].contact == ["mailto:new@b.example"]

    run(main)


def test_terms_are_agreed_to_only_by_the_configuration() -> None:
    async def main() -> None:
        scene = Scene()
        with pytest.raises(
            AcmeFailed, match=r"read https://ca.example/terms and set acme\.terms_agreed"
        ) as caught:
            await scene.account(terms_agreed=False)
        assert caught.value.permanent
        assert scene.ca.accounts == {}
        assert (await Scene(terms="").account(terms_agreed=False)).url

    run(main)


def test_an_external_account_is_bound() -> None:
    secret = bytes(range(32))

    async def main() -> None:
        scene = Scene(external={"kid-1": secret})
        with pytest.raises(AcmeFailed, match=r"set acme\.eab") as caught:
            await scene.account()
        assert caught.value.permanent
        text = base64.urlsafe_b64encode(secret).decode()  # with padding, as some CAs show it
        bound = ExternalAccount.from_text("kid-1", text)
        assert (await scene.account(external=bound)).url in scene.ca.accounts
        assert (await scene.account()).url in scene.ca.accounts  # found: nothing has to be bound
        wrong = ExternalAccount.from_text("kid-1", base64.b64encode(b"\xfb" * 32).decode())
        with pytest.raises(AcmeFailed, match="the binding is wrong"):
            await register(
                scene.ca, scene.ca.url, AccountKey.generate(), scene, terms_agreed=True, external=wrong
            )
        assert "251" not in repr(wrong)

    run(main)


@pytest.mark.parametrize("text", ["", "not base64!", "QUJ", "====="])
def test_a_key_that_is_no_base64_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(AcmeFailed) as caught:
        ExternalAccount.from_text("kid-1", text)
    assert not text or text not in str(caught.value)


def test_another_key_takes_the_place_of_the_first() -> None:
    async def main() -> None:
        scene = Scene()
        old = await scene.account()
        new_key = AccountKey.generate()
        new = await change_key(scene.ca, old, new_key, scene)
        assert new.url == old.url
        assert await find(scene.ca, scene.ca.url, scene.key, scene) is None
        found = await find(scene.ca, scene.ca.url, new_key, scene)
        assert found == new

    run(main)


def test_a_closed_account_says_so() -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        await deactivate(scene.ca, account, scene)
        with pytest.raises(AcmeFailed, match="closed the account") as caught:
            await scene.account()
        assert caught.value.permanent
        assert caught.value.kind == "accountClosed"

    run(main)


def test_a_key_goes_to_pem_and_back_and_is_not_shown() -> None:
    key = AccountKey.generate()
    assert AccountKey.from_pem(key.pem).thumbprint == key.thumbprint
    assert repr(key) == f"AccountKey({key.thumbprint})"
    p384 = ec.generate_private_key(ec.SECP384R1())
    pem = p384.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for bad in (pem, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(PkiError):
            AccountKey.from_pem(SecretBytes(bad))
