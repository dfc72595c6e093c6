"""An account at a CA: found by its key or made, bound to an account outside, its key changed, or closed (RFC 8555 §7.3).

A key is the account: whoever has it can order certificates for every name that the account has proved. It is made here (P-256),
kept sealed by the caller, and never shown. Terms of service are agreed to only where the configuration says so; a
CA that has terms gets no account without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gatepost.certs.acme.client import DEFAULT_LIMITS, AcmeClient, Limits, Signer
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.ports import HttpPort, Pause
from gatepost.core.ports import Clock
from gatepost.net.http import HttpAnswer
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, SecretBytes, generate, key_pem, load_private_key
from gatepost.wire.acme import read_account
from gatepost.wire.acme_objects import Directory, Status
from gatepost.wire.acme_requests import key_change, new_account
from gatepost.wire.jose import (
    JoseError,
    SigningKey,
    bind_external_account,
    decode_b64,
    public_jwk,
    thumbprint,
)

_WHAT = "the account"


class AccountKey:
    """The key of an account; its repr shows the thumbprint, never the key."""

    __slots__ = ("signing",)

    def __init__(self, signing: SigningKey) -> None:
        self.signing = signing

    @classmethod
    def generate(cls) -> AccountKey:
        """A new P-256 key."""
        made = generate(KeyKind.P256)
        if not isinstance(made, ec.EllipticCurvePrivateKey):
            raise TypeError("P-256 is a curve")
        return cls(made)

    @classmethod
    def from_pem(cls, pem: SecretBytes) -> AccountKey:
        """Raises PkiError for what is no P-256 or RSA key."""
        key = load_private_key(pem.reveal())
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise PkiError("an account's key is P-256 or RSA")
        try:
            public_jwk(key)
        except JoseError as error:
            raise PkiError(str(error)) from None
        return cls(key)

    @property
    def pem(self) -> SecretBytes:
        """PKCS#8, not encrypted: to be sealed."""
        return key_pem(self.signing)

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.signing)

    def __repr__(self) -> str:
        return f"AccountKey({self.thumbprint})"


@dataclass(frozen=True, slots=True)
class Account:
    """A registered account: the directory it belongs to, its key (PEM), its URL."""

    directory: str
    key_pem: SecretBytes = field(repr=False)
    url: str

    def signer(self) -> Signer:
        """Raises PkiError where the kept key cannot be read."""
        return Signer(AccountKey.from_pem(self.key_pem).signing, self.url)


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """What the CA handed out to bind an account: an identifier and a key for HMAC (RFC 8555 §7.3.4)."""

    key_id: str
    mac_key: SecretBytes = field(repr=False)

    @classmethod
    def from_text(cls, key_id: str, text: str) -> ExternalAccount:
        """`text` is the key as CAs show it, base64url, with or without padding. Raises AcmeFailed without the text."""
        try:
            key = decode_b64(text.strip().rstrip("=").replace("+", "-").replace("/", "_"))
        except JoseError:
            key = b""
        if not key:
            raise AcmeFailed("the key of the external account is not base64url", permanent=True)
        return cls(key_id, SecretBytes(key))


async def register(
    http: HttpPort,
    directory_url: str,
    key: AccountKey,
    clock: Clock,
    *,
    contact: Sequence[str] = (),
    terms_agreed: bool = False,
    external: ExternalAccount | None = None,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> Account:
    """The account of this key: the one that the CA has already, with its contact brought up to date, or a new one.

    `contact` are mailboxes or `mailto:` URLs. Raises AcmeFailed, permanent where the CA wants an agreement or a binding that is not given.
    """
    client = AcmeClient(http, directory_url, clock, limits=limits, pause=pause)
    wanted = tuple(text if ":" in text else f"mailto:{text}" for text in contact)
    existing = await _find(client, key)
    if existing is not None:
        return await _brought_up_to_date(client, key, existing, wanted)
    directory = await client.directory()
    _require_consent(directory, terms_agreed, external)
    binding = (
        None
        if external is None
        else bind_external_account(
            external.key_id, external.mac_key.reveal(), directory.new_account, key.signing
        )
    )
    payload = new_account(contact=wanted, terms_agreed=terms_agreed, binding=binding)
    answer = await client.post(directory.new_account, payload, Signer(key.signing), "a new account")
    return _registered(client, key, answer)


async def find(
    http: HttpPort,
    directory_url: str,
    key: AccountKey,
    clock: Clock,
    *,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> Account | None:
    """The account that the CA has for this key; None where it has none (RFC 8555 §7.3.1). Raises AcmeFailed."""
    client = AcmeClient(http, directory_url, clock, limits=limits, pause=pause)
    answer = await _find(client, key)
    return None if answer is None else _registered(client, key, answer)


async def change_key(
    http: HttpPort,
    account: Account,
    new_key: AccountKey,
    clock: Clock,
    *,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> Account:
    """Put another key in the place of the account's (RFC 8555 §7.3.5). The old one is of no use afterwards.

    Keep both keys until this has returned: when the answer is lost, `find` with each tells which one counts. Raises AcmeFailed.
    """
    client = AcmeClient(http, account.directory, clock, limits=limits, pause=pause)
    url = (await client.directory()).key_change
    if not url:
        raise AcmeFailed("the CA does not change keys of accounts", permanent=True)
    signer = account.signer()
    await client.post(
        url, key_change(signer.key, new_key.signing, url, account.url), signer, "the change of the key"
    )
    return Account(account.directory, new_key.pem, account.url)


async def deactivate(
    http: HttpPort,
    account: Account,
    clock: Clock,
    *,
    limits: Limits = DEFAULT_LIMITS,
    pause: Pause = asyncio.sleep,
) -> None:
    """Close the account for ever; certificates stay valid (RFC 8555 §7.3.6). Raises AcmeFailed."""
    client = AcmeClient(http, account.directory, clock, limits=limits, pause=pause)
    await client.post(
        account.url, {"status": Status.DEACTIVATED.value}, account.signer(), "the end of the account"
    )


async def _find(client: AcmeClient, key: AccountKey) -> HttpAnswer | None:
    directory = await client.directory()
    try:
        return await client.post(
            directory.new_account, new_account(only_existing=True), Signer(key.signing), _WHAT
        )
    except AcmeFailed as failure:
        # A CA that wants a binding may look for it before it looks for the account.
        if failure.kind in ("accountDoesNotExist", "externalAccountRequired"):
            return None
        raise


async def _brought_up_to_date(
    client: AcmeClient, key: AccountKey, answer: HttpAnswer, contact: tuple[str, ...]
) -> Account:
    account = _registered(client, key, answer)
    state = client.understood(read_account, answer, _WHAT)
    if contact and set(contact) != set(state.contact):
        await client.post(account.url, {"contact": list(contact)}, account.signer(), "the account's contact")
    return account


def _registered(client: AcmeClient, key: AccountKey, answer: HttpAnswer) -> Account:
    state = client.understood(read_account, answer, _WHAT)
    if state.status is not Status.VALID:
        raise AcmeFailed(
            f"the CA has closed the account of this key ({state.status.value}); a new key makes a new account",
            permanent=True,
            kind="accountClosed",
        )
    return Account(client.directory_url, key.pem, client.location(answer, _WHAT))


def _require_consent(directory: Directory, agreed: bool, external: ExternalAccount | None) -> None:
    if directory.terms and not agreed:
        raise AcmeFailed(
            f"the CA has terms of service that nobody has agreed to: read {directory.terms} and set acme.terms_agreed",
            permanent=True,
            kind="userActionRequired",
        )
    if directory.external_account_required and external is None:
        raise AcmeFailed(
            "the CA makes accounts only for those that it knows: set acme.eab to what it handed out",
            permanent=True,
            kind="externalAccountRequired",
        )
