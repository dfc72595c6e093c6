"""Proof of an activation: what every listener is meant to show, and whether it does (C41).

`meant` reads the configuration: for each listener the certificate of each SNI name, of the names that its own certificate
and its interface carry, of no SNI and of an unknown name; for clients that verify anything, RSA only and ECDSA only. A
kind of key that the profile does not have must show nothing: else an earlier certificate is still there beside it.

`prove` asks over the wire, once each, and asks again what was not as meant, so that a worker that just restarts is no
difference. `compare` says what differs: another certificate, the right one with another chain, nothing. Workers share
their sockets, and nobody can choose which of them answers; so each is asked besides what its own contexts show, and
that is compared in the same way (decision 0028).

Everything here is values, but for the questions themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from gatepost.config.inbound import Listener, ListenerTls
from gatepost.config.model import Document
from gatepost.config.sni import WILDCARD, meant_name, parse_sni_name, sample_name
from gatepost.config.values import Fault, parse_host_name
from gatepost.net.served import Accepts, Question, Served
from gatepost.pki.profile import Pair, Profile

UNKNOWN_NAME = "unknown-name.invalid"  # RFC 2606 §2: nobody's
MOST_NAMES = 10  # names of one certificate that are asked for
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Chain = tuple[str, ...]
"""Fingerprints (SHA-256, hex) of the certificates of a chain, leaf first."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One question and what must come of it: one of `chains`, or a refused handshake where there are none."""

    listener: str
    question: Question
    profile: str
    chains: tuple[Chain, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when certificates change: who is asked for what."""
        return self.listener, self.question.sni, self.question.accepts.value

    @property
    def wanted(self) -> str:
        """The fingerprint of the first leaf that would do, or empty."""
        return self.chains[0][0] if self.chains else ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something else than was meant. `served` is a leaf's fingerprint, or empty.

    `reached` is false where the listener did not come as far as TLS: then no certificate is to blame. `worker` is set where
    it is a worker's own account.
    """

    expectation: Expectation
    served: str
    reason: str
    reached: bool = True
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What was asked, how it was answered on the wire, and what differs anywhere."""

    expectations: tuple[Expectation, ...]
    answers: tuple[Served, ...]
    differences: tuple[Difference, ...]

    @property
    def fulfilled(self) -> bool:
        return not self.differences

    @property
    def listeners(self) -> int:
        return len({one.listener for one in self.expectations})

    def broken(self) -> set[tuple[str, str, str]]:
        """The keys of the expectations that are not fulfilled."""
        return {difference.expectation.key for difference in self.differences}


class Probe(Protocol):
    """Whoever asks; `net.served.Wire` does."""

    async def ask(self, questions: Sequence[Question], /) -> Sequence[Served]: ...


# --- what is meant -----------------------------------------------------------------------------------


def meant(document: Document, profiles: Mapping[str, Profile]) -> tuple[Expectation, ...]:
    """Everything that the listeners must show. One without a certificate yet shows none, and is left out."""
    addresses = {interface.name: interface.address for interface in document.interfaces}
    found: list[Expectation] = []
    for listener in document.listeners:
        if listener.certificate in profiles and listener.interface in addresses:
            address = addresses[listener.interface]
            hostname = document.interface_hostname(listener.interface)
            found += _of_listener(listener, _LOCAL.get(address, address), hostname, profiles)
    return tuple(found)


def _of_listener(
    listener: Listener, address: str, hostname: str, profiles: Mapping[str, Profile]
) -> Iterator[Expectation]:
    by_name = {
        parse_sni_name(entry.name): entry.certificate
        for entry in listener.sni
        if entry.certificate in profiles
    }
    own = _names(profiles[listener.certificate])
    thorough = dict.fromkeys(("", UNKNOWN_NAME, *(sample_name(name) for name in by_name)))
    briefly = dict.fromkeys(name for name in (*_comparable(hostname), *own) if name not in thorough)
    for sni in (*thorough, *briefly):
        listed = meant_name(by_name, sni)
        profile = profiles[listener.certificate if listed is None else by_name[listed]]
        kinds = _kinds(profile) if sni in thorough else (Accepts.ANY,)
        for accepts in kinds:
            implicit = listener.tls is ListenerTls.IMPLICIT
            question = Question(address, listener.port, implicit, sni, accepts)
            yield Expectation(listener.name, question, profile.name, _chains(profile, accepts))


def _names(profile: Profile) -> list[str]:
    """The first names of its certificates, as a client would ask for them."""
    names = (name for pair in profile.pairs for name in pair.leaf.names.dns)
    found = dict.fromkeys(sample for name in names for sample in _comparable(name))
    return list(found)[:MOST_NAMES]


def _comparable(name: str) -> list[str]:
    """The name in the form of SNI, a wildcard as one name under it; none for what no client asks for."""
    try:
        return [sample_name(parse_sni_name(name) if name.startswith(WILDCARD) else parse_host_name(name))]
    except Fault:
        return []


def _kinds(profile: Profile) -> tuple[Accepts, ...]:
    """Every kind of client; one for Ed25519 only where such a key is."""
    kinds = (Accepts.ANY, Accepts.RSA, Accepts.ECDSA)
    has = any(_key_of(pair) is Accepts.ED25519 for pair in profile.pairs)
    return (*kinds, Accepts.ED25519) if has else kinds


def _chains(profile: Profile, accepts: Accepts) -> tuple[Chain, ...]:
    """The profile's chains that such a client can be shown."""
    return tuple(
        fingerprints(pair.served)
        for pair in profile.pairs
        if accepts is Accepts.ANY or _key_of(pair) is accepts
    )


def _key_of(pair: Pair) -> Accepts | None:
    match pair.leaf.parsed.public_key():
        case rsa.RSAPublicKey():
            return Accepts.RSA
        case ec.EllipticCurvePublicKey():
            return Accepts.ECDSA
        case ed25519.Ed25519PublicKey():
            return Accepts.ED25519
    return None


def fingerprints(chain: Sequence[bytes]) -> Chain:
    """The chain (DER) in the form in which it is compared."""
    return tuple(sha256(der).hexdigest() for der in chain)


# --- what is so --------------------------------------------------------------------------------------


async def prove(expectations: Sequence[Expectation], probe: Probe) -> Proof:
    """Ask for everything over the wire; what is not as meant is asked once more, and the second answer counts."""
    answers = list(await probe.ask([one.question for one in expectations]))
    again = [index for index, one in enumerate(expectations) if compare_one(one, answers[index]) is not None]
    if again:
        second = await probe.ask([expectations[index].question for index in again])
        for index, answer in zip(again, second, strict=True):
            answers[index] = answer
    return Proof(tuple(expectations), tuple(answers), tuple(compare(expectations, answers)))


def compare(expectations: Sequence[Expectation], answers: Sequence[Served]) -> list[Difference]:
    """What was not answered as it was meant."""
    found = (compare_one(one, answer) for one, answer in zip(expectations, answers, strict=True))
    return [difference for difference in found if difference is not None]


def compare_one(expectation: Expectation, answer: Served) -> Difference | None:
    """The difference of one answer, or None where it is as meant."""
    return difference_of(expectation, fingerprints(answer.chain), answer.error, reached=answer.reached)


def difference_of(
    expectation: Expectation, chain: Chain, error: str, *, reached: bool = True, worker: int | None = None
) -> Difference | None:
    """The same with what is known of the answer: fingerprints, or the reason why there are none."""
    if chain in expectation.chains or (not chain and not expectation.chains and reached):
        return None
    if chain:
        return Difference(expectation, chain[0], _how_it_differs(expectation, chain), worker=worker)
    return Difference(expectation, "", error or "no certificate was shown", reached, worker)


def _how_it_differs(expectation: Expectation, chain: Chain) -> str:
    if not expectation.chains:
        return "a certificate with a kind of key that the profile does not have"
    meant_chain = next((one for one in expectation.chains if one[0] == chain[0]), None)
    if meant_chain is None:
        return "another certificate"
    return (
        f"the right certificate with another chain: {len(chain) - 1} intermediates as sent, "
        f"{len(meant_chain) - 1} as meant"
        if len(chain) != len(meant_chain)
        else "the right certificate with other intermediates, or in another order"
    )


def with_accounts(proof: Proof, accounts: Mapping[int, Sequence[tuple[Chain, str]]]) -> Proof:
    """The proof with what each worker says of its own contexts, in the order of the expectations."""
    found = list(proof.differences)
    for worker, shown in accounts.items():
        for expectation, (chain, error) in zip(proof.expectations, shown, strict=True):
            difference = difference_of(expectation, chain, error, worker=worker)
            if difference is not None:
                found.append(difference)
    return replace(proof, differences=tuple(found))
