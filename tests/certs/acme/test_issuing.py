"""A certificate from names: every kind of proof, every interruption, and everything that a CA may refuse or get wrong."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from tests.certs.acme.kit import START, Scene, new_key, run
from tests.fakes.acme_ca import FakeChallenges, problem

from gatepost.certs.acme.challenges import Dns01, Proof, TlsAlpn01
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.issuing import revoke_certificate
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.pki.keys import KeyKind, generate, key_matches, public_key_der
from gatepost.wire.acme_objects import ChallengeKind

HTTP, DNS, TLS = ChallengeKind.HTTP01, ChallengeKind.DNS01, ChallengeKind.TLS_ALPN01


def names_of(der: bytes) -> list[str]:
    certificate = x509.load_der_x509_certificate(der)
    return [
        str(entry.value)
        for entry in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ]


@pytest.mark.parametrize("kind", [HTTP, DNS, TLS])
def test_a_certificate_by_each_kind_of_proof(kind: ChallengeKind) -> None:
    async def main() -> None:
        scene = Scene(kind)
        key = new_key()
        issued = await scene.obtain("MX.Example", "b.example", "mx.example.", key=key)
        leaf = x509.load_der_x509_certificate(issued.chain[0])
        assert key_matches(key, leaf)
        assert issued.key is key
        assert names_of(issued.chain[0]) == ["mx.example", "b.example"]
        assert len(issued.chain) == 2
        assert issued.remarks == ()
        assert {proof.kind for proof in scene.challenges.presented} == {kind}
        assert scene.challenges.now == []
        assert len(scene.challenges.withdrawn) == 2

    run(main)


def test_the_first_kind_that_is_offered_is_taken() -> None:
    async def main() -> None:
        scene = Scene(TLS, DNS, HTTP, offers=("http-01", "dns-01"))
        await scene.obtain()
        assert [proof.kind for proof in scene.challenges.presented] == [DNS]

    run(main)


def test_a_wildcard_and_its_domain_are_two_values_of_one_record() -> None:
    async def main() -> None:
        scene = Scene(HTTP, DNS)
        issued = await scene.obtain("*.example.net", "example.net")
        assert names_of(issued.chain[0]) == ["*.example.net", "example.net"]
        star = [proof for proof in scene.challenges.presented if isinstance(proof, Dns01)]
        assert [(proof.name, proof.record) for proof in star] == [
            ("example.net", "_acme-challenge.example.net")
        ]

        both = Scene(DNS)
        await both.obtain("*.example.net", "example.net")
        values = {proof.value for proof in both.challenges.presented if isinstance(proof, Dns01)}
        assert len(values) == 2

    run(main)


def test_an_address_is_proved_by_its_reverse_name() -> None:
    async def main() -> None:
        scene = Scene(DNS, TLS)
        issued = await scene.obtain("192.0.2.7", "2001:DB8::1")
        assert names_of(issued.chain[0]) == ["192.0.2.7", "2001:db8::1"]
        proofs = [proof for proof in scene.challenges.presented if isinstance(proof, TlsAlpn01)]
        assert {proof.server_name for proof in proofs} == {
            "7.2.0.192.in-addr.arpa",
            "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa",
        }

    run(main)


@pytest.mark.parametrize(
    ("names", "prefers", "sentence"),
    [
        (("*.example.net",), (HTTP, TLS), "a wildcard needs dns-01"),
        (("192.0.2.7",), (DNS,), "192.0.2.7: the CA offers http-01, dns-01, tls-alpn-01, the configuration allows dns-01"),
        (("mx.example\n",), (HTTP,), "is no name for a certificate"),
        (("a" * 64 + ".example",), (HTTP,), "at most 63 octets"),
        ((".".join(["a" * 60] * 4),), (DNS,), "too long for DNS"),
        (tuple(f"n{number}.example" for number in range(101)), (HTTP,), "1 to 100 names, not 101"),
    ],
)  # fmt: skip
def test_what_cannot_be_proved_is_said_and_final(
    names: tuple[str, ...], prefers: tuple[ChallengeKind, ...], sentence: str
) -> None:
    async def main() -> None:
        scene = Scene(*prefers)
        with pytest.raises(AcmeFailed) as caught:
            await scene.obtain(*names)
        assert sentence in caught.value.whole
        assert caught.value.permanent
        assert caught.value.whole.isprintable()
        assert scene.challenges.presented == []

    run(main)


class Forgetful(FakeChallenges):
    """Presents nothing for some names, or cannot."""

    def __init__(self, *prefers: ChallengeKind, broken: str = "") -> None:
        super().__init__(*prefers)
        self.broken = broken

    async def present(self, proof: Proof, /) -> None:
        if proof.name == self.broken:
            raise AcmeFailed("port 80 is taken by another program")
        if "unseen" not in proof.name:
            await super().present(proof)

    async def withdraw(self, proof: Proof, /) -> None:
        await super().withdraw(proof)
        if "stuck" in proof.name:
            raise AcmeFailed("the record is locked")


def test_every_name_that_failed_is_told_with_the_cas_words() -> None:
    async def main() -> None:
        scene = Scene()
        scene.challenges = scene.ca.shown = Forgetful(HTTP, broken="c.example")
        with pytest.raises(AcmeFailed) as caught:
            await scene.obtain("a.example", "b.unseen.example", "c.example", "d.unseen.example")
        failure = caught.value
        assert failure.text == "3 names could not be proved"
        assert failure.details == (
            "b.unseen.example: no proof for b.unseen.example was seen (unauthorized)",
            "c.example: port 80 is taken by another program",
            "d.unseen.example: no proof for d.unseen.example was seen (unauthorized)",
        )
        assert not failure.permanent
        assert scene.challenges.now == []
        with pytest.raises(AcmeFailed, match=r"^b\.unseen\.example: no proof"):
            await scene.obtain("b.unseen.example")
        assert len(scene.ca.orders) == 2  # the failed order was not gone on with

    run(main)


def test_a_proof_that_cannot_be_taken_away_is_a_remark() -> None:
    async def main() -> None:
        scene = Scene()
        scene.challenges = scene.ca.shown = Forgetful(HTTP)
        issued = await scene.obtain("stuck.example")
        assert issued.remarks == ("the proof for stuck.example was not taken away: the record is locked",)

    run(main)


def test_refused_names_are_told_and_final() -> None:
    async def main() -> None:
        scene = Scene()
        parts = [
            {
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "Policy forbids it",
                "identifier": {"type": "dns", "value": "bank.example"},
            }
        ]
        scene.ca.answer("new-order", problem(400, "rejectedIdentifier", "Some names", subproblems=parts))
        with pytest.raises(AcmeFailed) as caught:
            await scene.obtain("bank.example", "mx.example")
        assert caught.value.permanent
        assert caught.value.details == ("bank.example: Policy forbids it (rejectedIdentifier)",)

    run(main)


# --- profiles and replacements --------------------------------------------------------------------------------


def test_a_profile_must_be_one_of_the_cas() -> None:
    async def main() -> None:
        scene = Scene(profiles={"classic": "", "shortlived": "six days"})
        await scene.obtain(profile="shortlived")
        assert scene.ca.orders[-1].profile == "shortlived"
        with pytest.raises(AcmeFailed, match="no profile `x`; it has: classic, shortlived") as caught:
            await scene.obtain("other.example", profile="x")
        assert caught.value.permanent
        assert len(scene.ca.orders) == 1

    run(main)


def test_a_renewal_names_what_it_replaces() -> None:
    async def main() -> None:
        scene = Scene()
        first = await scene.obtain()
        await scene.journal.forget()
        old = certificate_id_of(first.chain[0])
        await scene.obtain(replaces=old)
        assert scene.ca.orders[-1].replaces == old
        await scene.journal.forget()
        scene.ca.answer("new-order", problem(409, "alreadyReplaced", "by order 1"))
        third = await scene.obtain(replaces=old)
        assert scene.ca.orders[-1].replaces == ""
        assert "by order 1" in third.remarks[0]

    run(main)


# --- interruptions -----------------------------------------------------------------------------------------------


class Killed(Exception):
    """The process ends here, as far as the client is concerned."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize(
    ("place", "number"),
    [("authz", 1), ("chall", 1), ("authz", 2), ("order", 1), ("finalize", 1), ("order", 2), ("cert", 1)],
)
def test_an_order_goes_on_where_it_was_interrupted(place: str, number: int) -> None:
    """Killed before the n-th request of each kind: the next run ends with the same order, and one certificate."""

    async def main() -> None:
        scene = Scene(polls=2)
        account = await scene.account()
        for _ in range(number - 1):
            scene.ca.on(place, lambda: None)
        scene.ca.on(place, kill)
        key = new_key()
        with pytest.raises((Killed, ExceptionGroup)):
            await scene.obtain(key=key, account=account)
        assert scene.journal.order is not None
        issued = await scene.obtain(account=account)  # the caller has made another key by now
        assert len(scene.ca.orders) == 1
        assert scene.ca.count("finalize") <= 2
        assert public_key_der(issued.key) == public_key_der(key)
        assert key_matches(issued.key, x509.load_der_x509_certificate(issued.chain[0]))
        assert scene.challenges.now == []

    run(main)


def test_a_lost_answer_to_the_signing_request_is_found_out() -> None:
    async def main() -> None:
        scene = Scene(polls=0)
        account = await scene.account()
        original = scene.ca.request

        async def losing(method: str, url: str, **given: Any) -> HttpAnswer:
            answer = await original(method, url, **given)
            if "/finalize/" in url:
                raise HttpFailed("no answer within 30 s")
            return answer

        scene.ca.request = losing  # type: ignore[method-assign]
        with pytest.raises(AcmeFailed, match="did not answer the signing request"):
            await scene.obtain(account=account)
        issued = await scene.obtain(account=account)
        assert issued.chain
        assert scene.ca.count("finalize") == 1

    run(main)


def test_what_was_issued_and_not_stored_is_given_again_and_then_no_more() -> None:
    async def main() -> None:
        scene = Scene()
        first = await scene.obtain()
        assert (await scene.obtain()).chain == first.chain
        # The caller stored it and did not come to say so: as the one to be replaced it is of no use.
        other = await scene.obtain(replaces=certificate_id_of(first.chain[0]))
        assert other.chain != first.chain
        # More than half of its life is over.
        scene.time += 46 * 86_400
        assert (await scene.obtain()).chain != other.chain

    run(main)


@pytest.mark.parametrize("change", ["names", "profile", "account", "key-kind", "kept-key", "url", "garbage"])
def test_an_order_for_something_else_is_not_gone_on_with(change: str) -> None:
    async def main() -> None:
        scene = Scene(profiles={"p": ""})
        account = await scene.account()
        scene.ca.on("chall", kill)
        with pytest.raises(ExceptionGroup):
            await scene.obtain(account=account)
        saved = scene.journal.order
        assert saved is not None
        names, wanted = ("mx.example",), {}
        if change == "names":
            names = ("mx.example", "b.example")  # type: ignore[assignment]
        elif change == "profile":
            wanted = {"profile": "p"}
        elif change == "account":
            scene.key = type(scene.key).generate()
            account = await scene.account()
        elif change == "key-kind":
            wanted = {"key": generate(KeyKind.P384)}
        elif change == "kept-key":
            wanted = {"keep_key": True}
        elif change == "url":
            scene.journal.order = replace(saved, url="http://ca.example/order/0")
        else:
            scene.journal.order = replace(saved, key_pem=type(saved.key_pem)(b"garbage"))
        issued = await scene.obtain(*names, account=account, **wanted)
        assert len(scene.ca.orders) == 2
        assert key_matches(issued.key, x509.load_der_x509_certificate(issued.chain[0]))

    run(main)


@pytest.mark.parametrize("fate", ["invalid", "unknown", "expired"])
def test_an_order_that_is_over_is_made_anew(fate: str) -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        scene.ca.on("chall", kill)
        with pytest.raises(ExceptionGroup):
            await scene.obtain(account=account)
        if fate == "invalid":
            scene.ca.orders[0].status = "invalid"
        elif fate == "unknown":
            scene.ca.answer("order", problem(404, "malformed", "no such order"))
        else:
            stale = await scene.ca.request("GET", "https://ca.example/dir")
            assert stale.status == 200
            scene.ca._moment = lambda: datetime.datetime.fromtimestamp(START - 2 * 86_400, datetime.UTC)  # type: ignore[method-assign]
            order = scene.ca._show_order(scene.ca.orders[0])
            del scene.ca._moment  # type: ignore[method-assign]
            scene.ca.answer("order", order)
        assert (await scene.obtain(account=account)).chain
        assert len(scene.ca.orders) == 2

    run(main)


class Counted(FakeChallenges):
    """Says when two proofs are there."""

    def __init__(self, *prefers: ChallengeKind) -> None:
        super().__init__(*prefers)
        self.both = asyncio.Event()

    async def present(self, proof: Proof, /) -> None:
        await super().present(proof)
        if len(self.now) == 2:
            self.both.set()


def test_cancelling_withdraws_the_proofs() -> None:
    async def main() -> None:
        scene = Scene(polls=10**9)
        counted = scene.challenges = scene.ca.shown = Counted(HTTP)
        account = await scene.account()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scene.obtain("a.example", "b.example", account=account))
            await counted.both.wait()
            task.cancel()
        assert scene.challenges.now == []
        assert len(scene.challenges.withdrawn) == 2
        assert scene.journal.order is not None

    run(main)


# --- what the CA sends ---------------------------------------------------------------------------------------------


def spoiled(scene: Scene, how: str) -> bytes:
    """A chain as no CA should send it; the honest one is in the first order."""
    honest = scene.ca.orders[0].chain
    leaf, sub = (
        block + b"-----END CERTIFICATE-----\n" for block in honest.split(b"-----END CERTIFICATE-----\n")[:2]
    )
    match how:
        case "empty":
            return b""
        case "key":
            return honest + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        case "html":
            return b"<html></html>"
        case "damaged":
            return leaf.replace(b"MI", b"AA", 1) + sub
        case "swapped":
            return sub + leaf
        case "twice":
            return leaf + leaf
        case "long":
            return leaf + sub * 20
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("empty", "0 certificates"),
        ("key", "something that is no certificate"),
        ("html", "something that is no certificate"),
        ("damaged", "cannot be read"),
        ("swapped", "another key"),
        ("twice", "the CA's chain is broken"),
        ("long", "not 1 to 10"),
    ],
)
def test_a_chain_that_cannot_be_served_is_not_taken(how: str, sentence: str) -> None:
    async def main() -> None:
        scene = Scene()

        def spoil() -> None:
            scene.ca.orders[0].chain = spoiled(scene, how)

        scene.ca.on("cert", spoil)
        with pytest.raises(AcmeFailed, match=sentence):
            await scene.obtain()
        # The next run does not stumble over the same certificate: it is ordered anew.
        assert (await scene.obtain()).chain
        assert len(scene.ca.orders) == 2

    run(main)


@pytest.mark.parametrize(
    ("days", "sentence"), [(-1, "has expired already"), (3, "not valid yet"), (0.5, None)]
)
def test_dates_are_compared_with_the_clock(days: float, sentence: str | None) -> None:
    """C41: a clock that is wrong by less than a day is only remarked on."""

    async def main() -> None:
        scene = Scene()
        if days < 0:
            scene.ca.life = datetime.timedelta(seconds=-60)
        else:
            moment = datetime.datetime.fromtimestamp(START + days * 86_400, datetime.UTC)
            scene.ca._moment = lambda: moment  # type: ignore[method-assign]
        if sentence is None:
            assert "this machine's clock" in (await scene.obtain()).remarks[0]
            return
        with pytest.raises(AcmeFailed, match=sentence):
            await scene.obtain()

    run(main)


def test_a_name_that_is_missing_is_seen() -> None:
    async def main() -> None:
        scene = Scene()
        honest = scene.ca.issue

        def short(csr: x509.CertificateSigningRequest) -> bytes:
            wanted = x509.SubjectAlternativeName([x509.DNSName("*.example"), x509.DNSName("b.example")])
            builder = x509.CertificateSigningRequestBuilder().subject_name(csr.subject)
            key = new_key()
            with_other_names = builder.add_extension(wanted, critical=False).sign(
                key, csr.signature_hash_algorithm
            )
            return honest(_Swapped(csr, with_other_names))  # type: ignore[arg-type]

        scene.ca.issue = short  # type: ignore[method-assign]
        with pytest.raises(AcmeFailed, match=r"lacks mx\.example"):
            await scene.obtain("mx.example", "b.example")

    run(main)


class _Swapped:
    """A request with the key of one and the extensions of another."""

    def __init__(self, key: x509.CertificateSigningRequest, names: x509.CertificateSigningRequest) -> None:
        self.public_key = key.public_key
        self.extensions = names.extensions


def test_a_certificate_is_revoked_by_the_account_that_ordered_it() -> None:
    async def main() -> None:
        scene = Scene()
        account = await scene.account()
        issued = await scene.obtain(account=account)
        await revoke_certificate(issued.chain[0], account, scene.ca, scene, reason=1)
        scene.ca.answer("revoke", problem(400, "alreadyRevoked"))
        await revoke_certificate(issued.chain[0], account, scene.ca, scene)
        scene.ca.answer("revoke", problem(403, "unauthorized", "not yours"))
        with pytest.raises(AcmeFailed, match="not yours"):
            await revoke_certificate(issued.chain[0], account, scene.ca, scene)

    run(main)
