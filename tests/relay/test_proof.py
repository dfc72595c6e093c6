"""What a worker does for a proof: which connections it takes for the gateway's own, and what its contexts show."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.fakes.gateway_parts import DOCUMENT, own_certificate

from gatepost.app.runtime import build_runtime
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import OperatorError
from gatepost.net.socket_address import SocketAddress, socket_address
from gatepost.relay.proof import EXPECTED_SECONDS, MOST_EXPECTED, ProofRequests
from gatepost.relay.services import Runtime


def runtime() -> Runtime:
    own = own_certificate()
    return build_runtime(
        {
            "version": 7,
            "document": to_plain(load_plain(DOCUMENT)),
            "profiles": {"gw": {"chains": [own.chain_pem.decode()], "keys": [own.key_pem.decode()]}},
            "authorities": {"system": False, "custom_pem": ""},
        }
    )


class Moment:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def requests(moment: Moment | None = None) -> ProofRequests:
    return ProofRequests(runtime, moment or Moment())


@contextmanager
def accepted(source: str = "127.0.0.1", target: str = "127.0.0.1") -> Iterator[tuple[socket.socket, Any]]:
    """A connection as a listener accepts it."""
    with socket.create_server((target, 0)) as listening, socket.socket() as client:
        client.bind((source, 0))
        client.connect(listening.getsockname())
        sock, raw = listening.accept()
        with sock:
            yield sock, socket_address(raw)


def test_an_announced_connection_is_taken_once() -> None:
    proofs = requests()
    with accepted() as (sock, peer), accepted() as (other, stranger):
        assert not proofs
        assert not proofs.take(sock, peer)
        proofs.expect([peer])
        assert proofs
        assert not proofs.take(other, stranger)
        assert proofs.take(sock, peer)
        assert not proofs.take(sock, peer)


def test_an_announcement_does_not_last() -> None:
    moment = Moment()
    proofs = requests(moment)
    with accepted() as (sock, peer):
        proofs.expect([peer])
        moment.now += EXPECTED_SECONDS
        assert not proofs.take(sock, peer)


def test_only_a_connection_from_the_address_that_it_came_to_is_our_own() -> None:
    proofs = requests()
    with accepted("127.0.0.2", "127.0.0.1") as (sock, peer):
        proofs.expect([peer])
        assert not proofs.take(sock, peer)


def test_announcements_are_bounded() -> None:
    moment = Moment()
    proofs = requests(moment)
    with accepted() as (sock, peer):
        proofs.expect([peer])
        proofs.expect(SocketAddress("127.0.0.9", port) for port in range(1, MOST_EXPECTED + 1))
        assert not proofs.take(sock, peer)  # the oldest gave way
        moment.now += EXPECTED_SECONDS + 1
        proofs.expect([])
        assert not proofs


@pytest.mark.parametrize("places", [[["nonsense", 1]], [["127.0.0.1"]], 7, None, [["127.0.0.1", "x"]]])
def test_a_malformed_announcement_is_refused(places: Any) -> None:
    with pytest.raises(OperatorError):
        asyncio.run(requests().answer("expect", {"places": places}))


def test_contexts_tell_what_they_would_show() -> None:
    questions = [
        {"listener": "In", "sni": "", "accepts": "any"},
        {"listener": "In", "sni": "x.example", "accepts": "rsa"},
        {"listener": "Gone", "sni": "", "accepts": "any"},
    ]
    answer = asyncio.run(requests().answer("contexts", {"questions": questions}))
    assert answer["version"] == 7
    any_, rsa, gone = answer["shown"]
    assert len(any_["chain"]) == len(own_certificate().chain_der)
    assert all(len(one) == 64 for one in any_["chain"])
    assert any_["error"] == ""
    assert rsa["chain"] == []  # the authority of the tests issues EC keys
    assert rsa["error"]
    assert gone["error"] == "the worker has no certificate for the listener"
    with pytest.raises(OperatorError):
        asyncio.run(requests().answer("nothing", {}))
