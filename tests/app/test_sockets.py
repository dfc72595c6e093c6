"""Listening sockets over commits: kept, added, given up; and nothing changes when one cannot be bound."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gatepost.app.sockets import (
    ChallengeKind,
    Endpoint,
    Service,
    Sockets,
    bind_challenge,
    challenge_endpoints,
    endpoint_json,
    endpoints,
)
from gatepost.core.errors import Exit, OperatorError


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    sockets.close()


def free(count: int) -> list[Endpoint]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return [Endpoint(f"L{index}", "127.0.0.1", port) for index, port in enumerate(ports)]


def listens(endpoint: Endpoint) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(endpoint.place) == 0


def test_listeners_are_found_at_their_interfaces() -> None:
    document = {
        "interfaces": [{"name": "Data 1", "address": "192.0.2.1"}, {"name": "V6", "address": "::1"}],
        "listeners": [
            {"name": "In", "interface": "Data 1", "port": 25},
            {"name": "Out", "interface": "V6", "port": 587},
        ],
    }
    assert endpoints(document) == [Endpoint("In", "192.0.2.1", 25), Endpoint("Out", "::1", 587)]
    assert endpoints({}) == []


def test_an_unknown_interface_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(OperatorError, match="Data 9") as refusal:
        endpoints({"listeners": [{"name": "In", "interface": "Data 9", "port": 25}]})
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION


def test_a_commit_keeps_adds_and_gives_up(sockets: Sockets) -> None:
    one, two, three = free(3)
    sockets.switch(sockets.plan([one, two]))
    kept = sockets.descriptors()[two.label]
    plan = sockets.plan([two, three])
    assert set(sockets.descriptors(plan)) == {three.label}
    assert listens(one)
    sockets.switch(plan)
    assert not listens(one)
    assert listens(two)
    assert listens(three)
    assert sockets.descriptors()[two.label] == kept
    assert sockets.endpoints == [two, three]


def test_one_taken_port_undoes_the_plan(sockets: Sockets) -> None:
    one, two, three = free(3)
    sockets.switch(sockets.plan([one]))
    with (
        socket.create_server(three.place),
        pytest.raises(OperatorError, match=f"L2 cannot use 127.0.0.1 port {three.port}"),
    ):
        sockets.plan([one, two, three])
    assert listens(one)
    assert not listens(two)
    assert sockets.endpoints == [one]


def test_an_abandoned_plan_leaves_what_was(sockets: Sockets) -> None:
    one, two = free(2)
    sockets.switch(sockets.plan([one]))
    sockets.abandon(sockets.plan([two]))
    assert listens(one)
    assert not listens(two)


def test_an_address_of_another_machine_says_so(sockets: Sockets) -> None:
    with pytest.raises(OperatorError) as refusal:
        sockets.plan([Endpoint("In", "192.0.2.1", 2525)])
    assert "this machine does not have that address" in refusal.value.hint


def automatic(*places: Endpoint, **acme: object) -> dict[str, object]:
    """A document with an interface and a listener for each place, and with automatic certificates."""
    return {
        "interfaces": [{"name": place.name, "address": place.address} for place in places],
        "listeners": [{"name": place.name, "interface": place.name, "port": place.port} for place in places],
        "acme": {"directory": "https://acme.example/", "certificates": [{"name": "x"}], **acme},
    }


def test_challenges_are_answered_where_mail_comes_in_or_where_the_configuration_says() -> None:
    places = [Endpoint("A", "127.0.0.1", 25), Endpoint("B", "127.0.0.2", 25)]
    found = challenge_endpoints(automatic(*places), ChallengeKind.HTTP)
    assert [one.place for one in found] == [("127.0.0.1", 80), ("127.0.0.2", 80)]
    found = challenge_endpoints(automatic(*places, interface="B", tls_port=8443), ChallengeKind.TLS_ALPN)
    assert [one.place for one in found] == [("127.0.0.2", 8443)]


def test_all_ports_of_a_challenge_are_bound_or_none() -> None:
    (place,) = free(1)
    document = automatic(Endpoint("A", "127.0.0.1", 25), Endpoint("B", "127.0.0.2", 25), http_port=place.port)
    with socket.create_server(("127.0.0.2", place.port)), pytest.raises(OperatorError) as refusal:
        bind_challenge(document, ChallengeKind.HTTP)
    assert refusal.value.message == (
        f"the challenge http-01 cannot use 127.0.0.2 port {place.port}: Address already in use"
    )
    assert not listens(place)
    opened = bind_challenge(document, ChallengeKind.HTTP)
    assert list(opened) == [f"http-01 127.0.0.1 {place.port}", f"http-01 127.0.0.2 {place.port}"]
    assert listens(place)
    for listening in opened.values():
        listening.close()


def test_without_automatic_certificates_no_port_is_opened() -> None:
    document = automatic(*free(1), certificates=[])
    with pytest.raises(OperatorError, match="no automatic certificates"):
        bind_challenge(document, ChallengeKind.HTTP)


def test_the_public_port_is_bound_beside_the_listeners() -> None:
    interfaces = [{"name": "Data 1", "address": "192.0.2.1"}]
    web = Endpoint("public_web", "192.0.2.1", 443, Service.WEB)
    assert endpoints({"interfaces": interfaces, "public_web": {"interface": "Data 1"}}) == [web]
    other = {"public_web": {"address": "192.0.2.9", "port": 8443}}
    assert [one.place for one in endpoints(other)] == [("192.0.2.9", 8443)]
    with pytest.raises(OperatorError, match=r"public_web\.interface"):
        endpoints({"public_web": {"interface": "Data 9"}})


def test_workers_and_desk_get_their_own_sockets(sockets: Sockets) -> None:
    mail, other = free(2)
    web = Endpoint("public_web", *other.place, Service.WEB)
    sockets.switch(sockets.plan([mail, web]))
    assert list(sockets.descriptors()) == [mail.label]
    assert list(sockets.descriptors(service=Service.WEB)) == [web.label]
    assert web.label != other.label
    assert endpoint_json([mail, web]) == endpoint_json([mail])


def test_a_port_that_goes_from_one_service_to_the_other_is_new_to_that(sockets: Sockets) -> None:
    mail, other = free(2)
    web = Endpoint("public_web", *other.place, Service.WEB)
    sockets.switch(sockets.plan([mail, web]))
    plan = sockets.plan([mail, other])
    assert not plan.opened
    assert list(sockets.descriptors(plan)) == [other.label]
    assert sockets.descriptors(plan, service=Service.WEB) == {}


def test_a_public_port_that_is_taken_says_so(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = Endpoint("public_web", *taken.getsockname(), Service.WEB)
        with pytest.raises(OperatorError, match=r"^public_web cannot use 127\.0\.0\.1 port"):
            sockets.plan([web])
