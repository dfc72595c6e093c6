"""An ACME server for tests that lives in memory: it stands in the place of the HTTP client.

It behaves: nonces are used once, every signature is verified, statuses go the way of RFC 8555 §7.1.6, a proof counts only when
it is the right one and is presented at that moment, certificates come from a `TestAuthority` for the key of the request.

    ca = FakeAcme(now=clock.now)
    shown = FakeChallenges(ca, ChallengeKind.HTTP01)
    await register(ca, ca.url, AccountKey.generate(), clock, terms_agreed=True)

    ca.answer("new-order", problem(429, "rateLimited", retry_after="3600"))      # the next such request gets this
    ca.answer("cert", HttpFailed("timeout"), times=3)
    ca.on("finalize", hook)                                                       # called before the request is done
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority

from gatepost.certs.acme.challenges import Dns01, Http01, Proof, TlsAlpn01
from gatepost.certs.acme.ports import SavedOrder
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.wire.acme_objects import ChallengeKind
from gatepost.wire.acme_requests import acme_identifier, record_value
from gatepost.wire.jose import bind_external_account, thumbprint

HOST = "https://ca.example"
ACME_ERROR = "urn:ietf:params:acme:error:"
ALL_KINDS = ("http-01", "dns-01", "tls-alpn-01")


def problem(
    status: int, kind: str, detail: str = "as the test wants", *, retry_after: str = "", **more: Any
) -> HttpAnswer:
    """An error answer."""
    headers = {"content-type": "application/problem+json"} | (
        {"retry-after": retry_after} if retry_after else {}
    )
    body = {"type": ACME_ERROR + kind, "detail": detail, "status": status, **more}
    return HttpAnswer(status, headers, json.dumps(body).encode())


class Refused(Exception):
    """The request ends with this answer."""

    def __init__(self, status: int, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.answer = problem(status, kind, detail)


@dataclass
class FakeAccount:
    url: str
    key: ec.EllipticCurvePublicKey
    contact: list[str]
    status: str = "valid"


@dataclass
class FakeOrder:
    number: int
    account: FakeAccount
    names: list[dict[str, str]]
    profile: str
    replaces: str
    authorizations: list[FakeAuthorization] = field(default_factory=list)
    status: str = "pending"
    chain: bytes = b""
    error: dict[str, Any] | None = None
    polls: int = 0  # while processing


@dataclass
class FakeAuthorization:
    number: int
    identifier: dict[str, str]
    wildcard: bool
    token: str
    status: str = "pending"
    chosen: str = ""
    polls: int = 0
    error: dict[str, Any] | None = None


class FakeChallenges:
    """Implements `Challenges`: what is presented can be seen by `FakeAcme`. `presented` and `withdrawn` keep count."""

    def __init__(self, *prefers: ChallengeKind) -> None:
        self.prefers = prefers
        self.now: list[Proof] = []
        self.presented: list[Proof] = []
        self.withdrawn: list[Proof] = []

    async def present(self, proof: Proof, /) -> None:
        self.now.append(proof)
        self.presented.append(proof)

    async def withdraw(self, proof: Proof, /) -> None:
        self.withdrawn.append(proof)
        if proof in self.now:
            self.now.remove(proof)


class MemoryJournal:
    """Implements `OrderJournal`."""

    def __init__(self) -> None:
        self.order: SavedOrder | None = None

    async def load(self) -> SavedOrder | None:
        return self.order

    async def save(self, order: SavedOrder, /) -> None:
        self.order = order

    async def forget(self) -> None:
        self.order = None


class FakeAcme:
    """The server. `requests` are the paths asked for, in order; `shown` is where proofs are looked for."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        shown: FakeChallenges | None = None,
        offers: tuple[str, ...] = ALL_KINDS,
        terms: str = "https://ca.example/terms",
        external: Mapping[str, bytes] | None = None,
        profiles: Mapping[str, str] | None = None,
        polls: int = 1,
        life: datetime.timedelta = datetime.timedelta(days=90),
    ) -> None:
        self.url = f"{HOST}/dir"
        self.now = now
        self.shown = shown or FakeChallenges()
        self.offers = offers
        self.terms = terms
        self.external = external
        self.profiles = profiles
        self.polls = polls
        self.life = life
        self.authority = TestAuthority("Fake ACME CA", at=self._moment()).intermediate("Fake ACME Sub CA")
        self.requests: list[str] = []
        self.accounts: dict[str, FakeAccount] = {}
        self.orders: list[FakeOrder] = []
        self.authorizations: list[FakeAuthorization] = []
        self.windows: dict[str, HttpAnswer] = {}
        self.bad_nonces = 0  # this many good nonces are refused
        self._nonces: set[str] = set()
        self._made = 0
        self._answers: list[tuple[str, HttpAnswer | HttpFailed]] = []
        self._hooks: list[tuple[str, Callable[[], None]]] = []

    def answer(self, place: str, outcome: HttpAnswer | HttpFailed, *, times: int = 1) -> None:
        """The next requests to `place` (the first part of the path) end like this, without being done."""
        self._answers += [(place, outcome)] * times

    def on(self, place: str, hook: Callable[[], None]) -> None:
        """Call `hook` once, before the next request to `place`."""
        self._hooks.append((place, hook))

    def count(self, place: str) -> int:
        return sum(path.split("/")[0] == place for path in self.requests)

    # --- HTTP -------------------------------------------------------------------------------------------

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        assert url.startswith(HOST + "/"), url
        path = url.removeprefix(HOST + "/")
        place = path.split("/")[0]
        self.requests.append(path)
        for entry in [entry for entry in self._hooks if entry[0] == place][:1]:
            self._hooks.remove(entry)
            entry[1]()
        for fixed in [entry for entry in self._answers if entry[0] == place][:1]:
            self._answers.remove(fixed)
            if isinstance(fixed[1], HttpFailed):
                raise fixed[1]
            return self._with_nonce(fixed[1])
        if method in ("GET", "HEAD"):
            return self._open(place, path)
        assert (headers or {})["Content-Type"] == "application/jose+json"
        try:
            return self._with_nonce(self._signed(place, path, url, json.loads(body)))
        except Refused as refusal:
            return self._with_nonce(refusal.answer)

    def _open(self, place: str, path: str) -> HttpAnswer:
        if place == "dir":
            return self._json(200, self._directory())
        if place == "nonce":
            return self._with_nonce(HttpAnswer(200, {}, b""))
        if place == "renewal":
            return self.windows.get(path.split("/")[1], problem(404, "malformed", "no such certificate"))
        return problem(405, "malformed", "POST-as-GET")

    def _directory(self) -> dict[str, Any]:
        places = {
            "newNonce": "nonce",
            "newAccount": "account",
            "newOrder": "new-order",
            "revokeCert": "revoke",
            "keyChange": "key-change",
            "renewalInfo": "renewal",
        }
        meta: dict[str, Any] = {"externalAccountRequired": self.external is not None}
        if self.terms:
            meta["termsOfService"] = self.terms
        if self.profiles:
            meta["profiles"] = dict(self.profiles)
        return {**{key: f"{HOST}/{place}" for key, place in places.items()}, "meta": meta}

    def _with_nonce(self, answer: HttpAnswer) -> HttpAnswer:
        self._made += 1
        nonce = f"nonce-{self._made}"
        self._nonces.add(nonce)
        return HttpAnswer(answer.status, {**answer.headers, "replay-nonce": nonce}, answer.body)

    def _json(self, status: int, document: Mapping[str, Any], **headers: str) -> HttpAnswer:
        return HttpAnswer(
            status, {"content-type": "application/json", **headers}, json.dumps(document).encode()
        )

    # --- signatures -------------------------------------------------------------------------------------

    def _signed(self, place: str, path: str, url: str, jws: dict[str, str]) -> HttpAnswer:
        header = json.loads(_unb64(jws["protected"]))
        if header["nonce"] not in self._nonces:
            raise Refused(400, "badNonce", "not a nonce of mine")
        self._nonces.remove(header["nonce"])
        if self.bad_nonces:
            self.bad_nonces -= 1
            raise Refused(400, "badNonce", "a bad day for nonces")
        assert header["url"] == url
        account = None
        if "kid" in header:
            assert "jwk" not in header
            account = self.accounts.get(header["kid"])
            if account is None:
                raise Refused(400, "accountDoesNotExist", "no such account")
            key = account.key
        else:
            key = _key_of(header["jwk"])
        _verify(key, jws)
        payload = json.loads(_unb64(jws["payload"])) if jws["payload"] else None
        if place == "account":
            return self._account(key, payload, account)
        if account is None or account.status != "valid":
            raise Refused(401, "unauthorized", "no valid account")
        return self._routes()[place](account, path, payload)

    def _routes(self) -> dict[str, Callable[[FakeAccount, str, Any], HttpAnswer]]:
        return {
            "new-order": self._new_order,
            "order": lambda a, p, b: self._show_order(self._order(a, p)),
            "authz": self._authorization,
            "chall": self._challenge,
            "finalize": self._finalize,
            "cert": self._certificate,
            "revoke": lambda a, p, b: HttpAnswer(200, {}, b""),
            "key-change": self._key_change,
        }

    def _account(
        self, key: ec.EllipticCurvePublicKey, payload: Any, account: FakeAccount | None
    ) -> HttpAnswer:
        if account is not None:
            account.contact = payload.get("contact", account.contact)
            account.status = payload.get("status", account.status)
            return self._json(200, {"status": account.status, "contact": account.contact})
        print_ = thumbprint(key)
        found = next((a for a in self.accounts.values() if thumbprint(a.key) == print_), None)
        if found is None:
            if payload.get("onlyReturnExisting"):
                raise Refused(400, "accountDoesNotExist", "unable to find existing account")
            if self.terms and not payload.get("termsOfServiceAgreed"):
                raise Refused(400, "userActionRequired", "must agree to the terms")
            self._require_binding(key, payload)
            found = FakeAccount(f"{HOST}/account/{len(self.accounts) + 1}", key, payload.get("contact", []))
            self.accounts[found.url] = found
        document = {"status": found.status, "contact": found.contact}
        return self._json(200, document, location=found.url)

    def _require_binding(self, key: ec.EllipticCurvePublicKey, payload: Any) -> None:
        if self.external is None:
            return
        binding = payload.get("externalAccountBinding")
        if binding is None:
            raise Refused(400, "externalAccountRequired", "bind it")
        kid = json.loads(_unb64(binding["protected"]))["kid"]
        secret = self.external.get(kid, b"unknown")
        if binding != bind_external_account(kid, secret, f"{HOST}/account", key):
            raise Refused(403, "unauthorized", "the binding is wrong")

    def _key_change(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        new = _key_of(json.loads(_unb64(payload["protected"]))["jwk"])
        _verify(new, payload)
        inner = json.loads(_unb64(payload["payload"]))
        assert inner["account"] == account.url
        assert thumbprint(_key_of(inner["oldKey"])) == thumbprint(account.key)
        account.key = new
        return self._json(200, {"status": "valid"})

    # --- orders -----------------------------------------------------------------------------------------

    def _new_order(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        for name in payload["identifiers"]:
            if name["value"].endswith("forbidden.example"):
                raise Refused(400, "rejectedIdentifier", f"policy forbids {name['value']}")
        order = FakeOrder(
            len(self.orders),
            account,
            payload["identifiers"],
            payload.get("profile", ""),
            payload.get("replaces", ""),
        )
        self.orders.append(order)
        for name in order.names:
            wildcard = name["value"].startswith("*.")
            entry = FakeAuthorization(
                len(self.authorizations),
                {"type": name["type"], "value": name["value"].removeprefix("*.")},
                wildcard,
                f"token-of-authorization-{len(self.authorizations):04}",
            )
            order.authorizations.append(entry)
            self.authorizations.append(entry)
        return self._show_order(order, 201)

    def _order(self, account: FakeAccount, path: str) -> FakeOrder:
        number = int(path.split("/")[1])
        if number >= len(self.orders) or self.orders[number].account is not account:
            raise Refused(404, "malformed", "no such order")
        return self.orders[number]

    def _show_order(self, order: FakeOrder, status: int = 200) -> HttpAnswer:
        statuses = {a.status for a in order.authorizations}
        if order.status == "pending" and "invalid" in statuses:
            order.status = "invalid"
        elif order.status == "pending" and statuses == {"valid"}:
            order.status = "ready"
        elif order.status == "processing":
            order.polls += 1
            if order.polls > self.polls:
                order.status = "valid"
        document: dict[str, Any] = {
            "status": order.status,
            "expires": (self._moment() + datetime.timedelta(days=1)).isoformat(),
            "identifiers": order.names,
            "authorizations": [f"{HOST}/authz/{a.number}" for a in order.authorizations],
            "finalize": f"{HOST}/finalize/{order.number}",
        }
        if order.status == "valid":
            document["certificate"] = f"{HOST}/cert/{order.number}"
        if order.error is not None:
            document["error"] = order.error
        return self._json(status, document, location=f"{HOST}/order/{order.number}")

    def _authorization(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        entry = self.authorizations[int(path.split("/")[1])]
        if entry.chosen and entry.status == "pending":
            entry.polls += 1
            if entry.polls > self.polls:
                self._validate(entry, account)
        kinds = ("dns-01",) if entry.wildcard else self.offers
        challenges = []
        for kind in kinds:
            status = entry.status if kind == entry.chosen and entry.status != "pending" else "pending"
            if kind == entry.chosen and status == "pending":
                status = "processing"
            document: dict[str, Any] = {
                "type": kind,
                "url": f"{HOST}/chall/{entry.number}/{kind}",
                "status": status,
                "token": entry.token,
            }
            if kind == entry.chosen and entry.error is not None:
                document["error"] = entry.error
            challenges.append(document)
        document = {"identifier": entry.identifier, "status": entry.status, "challenges": challenges}
        if entry.wildcard:
            document["wildcard"] = True
        return self._json(200, document)

    def _challenge(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        assert payload == {}
        _, number, kind = path.split("/")
        entry = self.authorizations[int(number)]
        if entry.chosen:
            raise Refused(400, "malformed", "a challenge is answered once")
        entry.chosen = kind
        return self._json(
            200, {"type": kind, "url": f"{HOST}/{path}", "status": "processing", "token": entry.token}
        )

    def _validate(self, entry: FakeAuthorization, account: FakeAccount) -> None:
        expected = f"{entry.token}.{thumbprint(account.key)}"
        for proof in self.shown.now:
            if proof.name == entry.identifier["value"] and proof.kind.value == entry.chosen:
                match proof:
                    case Http01(key_authorization=text) if text == expected:
                        entry.status = "valid"
                    case Dns01(value=text) if text == record_value(expected):
                        entry.status = "valid"
                    case TlsAlpn01(certificate=der) if acme_identifier(expected) in der:
                        entry.status = "valid"
        if entry.status != "valid":
            entry.status = "invalid"
            entry.error = {
                "type": ACME_ERROR + "unauthorized",
                "detail": f"no proof for {entry.identifier['value']} was seen",
                "status": 403,
            }

    # --- certificates -----------------------------------------------------------------------------------

    def _finalize(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        order = self._order(account, path)
        self._show_order(order)
        if order.status != "ready":
            raise Refused(403, "orderNotReady", f"the order is {order.status}")
        csr = x509.load_der_x509_csr(_unb64(payload["csr"]))
        assert csr.is_signature_valid
        asked = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {str(entry.value) for entry in asked} == {name["value"] for name in order.names}
        order.chain = self.issue(csr)
        order.status = "processing" if self.polls else "valid"
        return self._show_order(order)

    def issue(self, csr: x509.CertificateSigningRequest) -> bytes:
        """The chain (PEM) for a request."""
        alternatives = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.certificate.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._moment() - datetime.timedelta(hours=1))
            .not_valid_after(self._moment() + self.life)
            .add_extension(alternatives.value, critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.key.public_key()),
                critical=False,
            )
        )
        leaf = builder.sign(self.authority.key, hashes.SHA256())
        chain = (leaf, *self.authority.intermediates)
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)

    def _certificate(self, account: FakeAccount, path: str, payload: Any) -> HttpAnswer:
        order = self._order(account, path)
        return HttpAnswer(200, {"content-type": "application/pem-certificate-chain"}, order.chain)

    def _moment(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(int(self.now()), datetime.UTC)


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _key_of(jwk: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_unb64(jwk[axis]), "big") for axis in "xy")
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _verify(key: ec.EllipticCurvePublicKey, jws: Mapping[str, str]) -> None:
    signature = _unb64(jws["signature"])
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, f"{jws['protected']}.{jws['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
