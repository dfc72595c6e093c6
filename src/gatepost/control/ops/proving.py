"""Making the proof of the version in force: the questions to the listeners, and the workers' own accounts.

A version is in force when the store's latest is the supervisor's active one and every worker that runs says the same. While a
commit is on its way the three differ for a moment, so this waits; it does not wait for a worker that keeps to an old
version longer than a switch may take, since that is what a proof is for. If another version comes meanwhile, the proof
is made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gatepost.certs.proof import Chain, Expectation, Proof, meant, prove, with_accounts
from gatepost.config.load import load_plain
from gatepost.control.ports import Gateway, WorkerAnswer
from gatepost.core.errors import Exit, OperatorError
from gatepost.net.reactor import Reactor
from gatepost.net.served import Announce, Clients, Wire
from gatepost.net.socket_address import SocketAddress
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.store.config_store import ConfigStore, Content, Version

SWITCH_PATIENCE = 15  # looks at the workers; one that has not switched after ten seconds is killed
SETTLE_SECONDS = 1.0  # between them
MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Proved:
    """The proof of a version. `silent` are the workers that gave no account, with the reason."""

    version: Version
    proof: Proof
    silent: Mapping[int, str]


async def prove_now(store: ConfigStore, gateway: Gateway) -> Proved:
    """Prove the version in force. Raises OperatorError (exit 75) when versions follow each other too fast."""
    for _ in range(MOST_ROUNDS):
        version = await _settled(store, gateway)
        found = await _prove(store, gateway, version)
        if store.latest_number() == version.number:
            return found
    raise OperatorError(
        "the configuration changed while the listeners were asked", "try again", code=Exit.TRY_AGAIN
    )


async def _settled(store: ConfigStore, gateway: Gateway) -> Version:
    """The latest version, once it is in force everywhere or a worker has had time enough."""
    for _ in range(SWITCH_PATIENCE):
        number = store.latest_number()
        active = int((await gateway.status())["version"])
        answers = await gateway.ask_workers("proof.contexts", {})
        told = {0 if answer.error else int(answer.result["version"]) for answer in answers}
        if active == number and told <= {number}:
            break
        await asyncio.sleep(SETTLE_SECONDS)
    version = store.latest()
    if version is None:
        raise OperatorError("the store has no configuration", code=Exit.FAULTY_CONFIGURATION)
    return version


async def _prove(store: ConfigStore, gateway: Gateway, version: Version) -> Proved:
    expectations = await asyncio.to_thread(_expectations, store, version.content)
    reactor = Reactor(asyncio.get_running_loop())
    try:
        proof = await prove(expectations, Wire(reactor, Clients(), _announcer(gateway)))
    finally:
        reactor.close()
    questions = [
        {"listener": one.listener, "sni": one.question.sni, "accepts": one.question.accepts.value}
        for one in expectations
    ]
    answers = await gateway.ask_workers("proof.contexts", {"questions": questions})
    accounts = {answer.worker: _account(answer) for answer in answers if not answer.error}
    silent = {answer.worker: answer.error for answer in answers if answer.error}
    return Proved(version, with_accounts(proof, accounts), silent)


def _expectations(store: ConfigStore, content: Content) -> tuple[Expectation, ...]:
    document = load_plain(dict(content.document))
    names = {listener.certificate for listener in document.listeners}
    names |= {entry.certificate for listener in document.listeners for entry in listener.sni}
    profiles = {}
    for name in names & set(content.profiles):
        stored = store.profile(content.profiles[name])
        if stored is None:
            continue
        try:
            profiles[name] = Profile.from_document(stored.record)
        except PkiError:
            continue  # no worker can show it; the checks of a commit have refused it
    return meant(document, profiles)


def _announcer(gateway: Gateway) -> Announce:
    """Tells the workers which connections are the gateway's own (`relay.proof`)."""

    async def announce(places: Sequence[SocketAddress]) -> None:
        told = {"places": [[place.host, place.port] for place in places]}
        await gateway.ask_workers("proof.expect", told)

    return announce


def _account(answer: WorkerAnswer) -> list[tuple[Chain, str]]:
    return [(tuple(one["chain"]), str(one["error"])) for one in answer.result["shown"]]
