"""What the listeners are meant to show, and what of it differs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from tests.fakes.ca import Issued, TestAuthority

from gatepost.certs.proof import (
    MOST_NAMES,
    UNKNOWN_NAME,
    Difference,
    Expectation,
    Proof,
    compare,
    difference_of,
    fingerprints,
    meant,
    prove,
    with_accounts,
)
from gatepost.config.load import load_plain
from gatepost.net.served import Accepts, Question, Served
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Pair, Profile

ANY, RSA, ECDSA, ED25519 = Accepts.ANY, Accepts.RSA, Accepts.ECDSA, Accepts.ED25519


@cache
def issue(*names: str, key: str = "p256") -> Issued:
    return TestAuthority("Example Issuer", parent=TestAuthority("Example CA")).issue(names, key=key)


def profile(name: str, *issued: Issued) -> Profile:
    main, *beside = [Pair(one.chain_der[0], one.chain_der[1:], SecretBytes(b"")) for one in issued]
    return Profile(name, main.certificate, main.intermediates, beside=beside[0] if beside else None)


def document(**listener: Any) -> Any:
    return load_plain(
        {
            "interfaces": [
                {"name": "In", "address": "127.0.0.2", "hostname": "mx.example.net"},
                {"name": "Everywhere", "address": "0.0.0.0"},
                {"name": "Six", "address": "::"},
            ],
            "listeners": [
                {"name": "A", "interface": "In", "port": 25, "certificate": "gw", **listener},
            ],
            "system": {"hostname": "gw.example"},
        }
    )


def asked(found: Sequence[Expectation]) -> dict[tuple[str, Accepts], Expectation]:
    return {(one.question.sni, one.question.accepts): one for one in found}


def test_a_listener_is_asked_without_a_name_with_an_unknown_one_and_with_its_certificates_names() -> None:
    own = issue("mx.example.net", "*.example.org", "MX3.example.net")
    found = asked(meant(document(), {"gw": profile("gw", own)}))
    every = (ANY, RSA, ECDSA)
    assert list(found) == [
        *(("", kind) for kind in every),
        *((UNKNOWN_NAME, kind) for kind in every),
        ("mx.example.net", ANY),
        ("gatepost-proof.example.org", ANY),
        ("mx3.example.net", ANY),
    ]
    chain = tuple(sha256(der).hexdigest() for der in own.chain_der)
    assert len(chain) == 2
    assert {one.chains for (_, kind), one in found.items() if kind in (ANY, ECDSA)} == {(chain,)}
    assert {one.chains for (_, kind), one in found.items() if kind is RSA} == {()}
    one = found["", ANY]
    assert (one.listener, one.profile, one.wanted) == ("A", "gw", chain[0])
    assert one.question == Question("127.0.0.2", 25, False, "", ANY)


def test_two_kinds_of_keys_are_each_meant_for_their_clients() -> None:
    rsa, ec = issue("mx.example.net", key="rsa2048"), issue("mx.example.net")
    for order in ((rsa, ec), (ec, rsa)):
        found = asked(meant(document(), {"gw": profile("gw", *order)}))
        assert found["", RSA].chains == (fingerprints(rsa.chain_der),)
        assert found["", ECDSA].chains == (fingerprints(ec.chain_der),)
        assert set(found["", ANY].chains) == {fingerprints(rsa.chain_der), fingerprints(ec.chain_der)}
        assert ("", ED25519) not in found


def test_ed25519_is_a_kind_of_its_own_where_it_is() -> None:
    ed = issue("mx.example.net", key="ed25519")
    found = asked(meant(document(), {"gw": profile("gw", ed)}))
    assert found["", ED25519].chains == (fingerprints(ed.chain_der),)
    assert found["", RSA].chains == found["", ECDSA].chains == ()


def test_names_of_sni_mean_their_own_certificates() -> None:
    gw, two = issue("mx.example.net", "mx2.example.net", "a.example.org"), issue("two.example")
    sni = [
        {"name": "MX2.Example.net.", "certificate": "two"},
        {"name": "*.example.org", "certificate": "two"},
        {"name": "later.example", "certificate": "not there yet"},
    ]
    found = asked(meant(document(sni=sni), {"gw": profile("gw", gw), "two": profile("two", two)}))
    assert {name: one.profile for (name, kind), one in found.items() if kind is ANY} == {
        "": "gw",
        UNKNOWN_NAME: "gw",
        "mx2.example.net": "two",
        "gatepost-proof.example.org": "two",
        "mx.example.net": "gw",
        "a.example.org": "two",
    }
    assert ("mx2.example.net", RSA) in found
    assert ("a.example.org", RSA) not in found


def test_what_no_client_asks_for_is_not_asked_for_and_names_are_bounded() -> None:
    odd = [
        "192.0.2.1",
        "x_y.example",
        "a..b.example",
        "b\0.example",
        "*.com",
        *(f"n{i}.example" for i in range(99)),
    ]
    found = asked(meant(document(), {"gw": profile("gw", issue(*odd))}))
    names = {name for name, _ in found} - {"", UNKNOWN_NAME, "mx.example.net"}
    assert len(names) == MOST_NAMES
    assert names <= {"x_y.example", *odd[5:]}


def test_a_listener_on_every_address_is_asked_on_loopback_and_implicit_tls_is_known() -> None:
    profiles = {"gw": profile("gw", issue("mx.example.net"))}
    for interface, address in (("Everywhere", "127.0.0.1"), ("Six", "::1")):
        found = meant(document(interface=interface, tls="implicit"), profiles)
        assert {(one.question.address, one.question.implicit) for one in found} == {(address, True)}
        assert ("gw.example", ANY) in asked(found)


def test_a_listener_without_its_certificate_means_nothing() -> None:
    assert meant(document(), {}) == ()


# --- what differs --------------------------------------------------------------------------------


def expected(*issued: Issued, accepts: Accepts = ANY) -> Expectation:
    question = Question("127.0.0.1", 25, False, "", accepts)
    return Expectation("A", question, "gw", tuple(fingerprints(one.chain_der) for one in issued))


OLD, NEW = issue("mx.example.net", key="p384"), issue("mx.example.net")


def reason(expectation: Expectation, *answers: Served) -> str:
    (found,) = compare([expectation], answers)
    return found.reason


def test_what_is_as_meant_is_no_difference() -> None:
    assert compare([expected(OLD, NEW)], [Served(NEW.chain_der)]) == []
    refused = Served(error="no shared cipher", reached=True)
    assert compare([expected(accepts=RSA)], [refused]) == []


def test_a_difference_says_what_it_is() -> None:
    found = compare([expected(NEW)], [Served(OLD.chain_der)])
    assert [(one.served, one.reason, one.reached) for one in found] == [
        (fingerprints(OLD.chain_der)[0], "another certificate", True)
    ]
    short = reason(expected(NEW), Served(NEW.chain_der[:1]))
    assert short == "the right certificate with another chain: 0 intermediates as sent, 1 as meant"
    other = reason(expected(NEW), Served((NEW.chain_der[0], OLD.chain_der[0])))
    assert other == "the right certificate with other intermediates, or in another order"
    assert "kind of key" in reason(expected(accepts=RSA), Served(OLD.chain_der))
    assert reason(expected(NEW), Served(error="timeout")) == "timeout"
    (closed,) = compare([expected(accepts=RSA)], [Served(error="connection refused", reached=False)])
    assert (closed.reached, closed.reason) == (False, "connection refused")


class Answers:
    """A probe that gives each question the answers of its list, one after the other, the last one again."""

    def __init__(self, *answers: list[Served]) -> None:
        self.answers = dict(enumerate(answers))
        self.asked: list[int] = []

    async def ask(self, questions: Sequence[Question]) -> list[Served]:
        found = []
        for question in questions:
            self.asked.append(question.port)
            left = self.answers[question.port]
            found.append(left.pop(0) if len(left) > 1 else left[0])
        return found


def numbered(*expectations: Expectation) -> list[Expectation]:
    return [
        Expectation(one.listener, Question("127.0.0.1", port, False, "", ANY), one.profile, one.chains)
        for port, one in enumerate(expectations)
    ]


def test_what_was_not_as_meant_is_asked_once_more() -> None:
    right, wrong, lost = Served(NEW.chain_der), Served(OLD.chain_der), Served(error="reset", reached=False)
    probe = Answers([right], [lost, right], [wrong, wrong, right])
    proof = asyncio.run(prove(numbered(*[expected(NEW)] * 3), probe))
    assert probe.asked == [0, 1, 2, 1, 2]
    assert [one.expectation.question.port for one in proof.differences] == [2]
    assert proof.answers == (right, right, wrong)
    assert not proof.fulfilled
    assert proof.listeners == 1


def test_every_worker_tells_of_its_own_contexts() -> None:
    one = expected(NEW)
    proof = Proof((one,), (Served(NEW.chain_der),), ())
    assert with_accounts(proof, {0: [(fingerprints(NEW.chain_der), "")]}).fulfilled
    found = with_accounts(proof, {0: [(one.chains[0], "")], 3: [(fingerprints(OLD.chain_der), "")]})
    assert found.differences == (
        Difference(one, fingerprints(OLD.chain_der)[0], "another certificate", worker=3),
    )
    assert found.broken() == {("A", "", "any")}
    silent = difference_of(one, (), "no certificate for the listener", worker=1)
    assert silent is not None
    assert silent.reason == "no certificate for the listener"
