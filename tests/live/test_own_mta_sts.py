"""Our own MTA-STS policy on the wire: served on port 443, seen by senders, changed by commits, and watched (RFC 8461).

The gateway is alone in a network namespace, with the public port at its address; name server and clients are in the other. `sts check`
fetches with the code that fetches the policies of others, so a policy that it takes is one that a sender of ours would take.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.namespaces import Network
from tests.live.peers.scene import Scene

GATEWAY, NAME_SERVER = "203.0.113.1", "203.0.113.53"
HOST, PATH = "mta-sts.example.net", "/.well-known/mta-sts.txt"
AUTHORITY = TestAuthority("Example CA")


class World:
    """The gateway, and the world's eyes."""

    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        with network.world():
            self.dns = scene.ending.enter_context(DnsAuthority(_zone(), address=NAME_SERVER, port=53))
        with network.gateway():
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem)
            self.gateway.import_certificate("gw", AUTHORITY.issue(["mx.example.net"]))
            self.gateway.import_certificate("web", AUTHORITY.issue([HOST]))
            self.apply()
            self.gateway.start()

    def apply(self, web: dict[str, Any] | None = None, **policy: Any) -> None:
        made = document(25, 2587, address=GATEWAY, certificate="gw")
        made["certificate_authorities"] = {"system": False, "custom": True}
        made["dns"] = {"servers": [NAME_SERVER], "reverse": False}
        made["alerts"] = {"recipients": [{"address": "admin@elsewhere.example"}]}
        made["public_web"] = {"interface": "Data 1"} if web is None else web
        given = {"domain": "example.net", "mode": "enforce", "mx": ["mx.example.net"], "certificate": "web"}
        made["mta_sts_policies"] = [given | policy]
        self.gateway.configure(made)

    def connect(self, name: str = HOST) -> ssl.SSLSocket:
        """A connection of a client that verifies, from outside."""
        context = ssl.create_default_context(cadata=AUTHORITY.root_pem.decode())
        with self.network.world():
            plain = socket.create_connection((GATEWAY, 443), timeout=20)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def ask(self, path: str = PATH, host: str = HOST, method: str = "GET", more: str = "") -> bytes:
        with self.connect() as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode())
            return _all(connection)

    def check(self, *, status: int = 0) -> dict[str, Any]:
        with self.network.gateway():
            text = self.gateway.command("sts", "check", "example.net", "--json", status=status)
        found: dict[str, Any] = json.loads(text)
        return found

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.gateway.command("sts", "show", "example.net", "--json"))
        return found

    def publish(self) -> None:
        """What `sts show` says, in the DNS."""
        for record in self.shown()["records"]:
            if record["type"] == "TXT":
                self.dns.update({record["name"]: {"TXT": [f'"{record["value"]}"']}})


def _zone() -> dict[str, dict[str, list[str]]]:
    return {
        "example.net": {"MX": ["10 mx.example.net."]},
        "mx.example.net": {"A": [GATEWAY]},
        HOST: {"A": [GATEWAY]},
    }


def _all(connection: ssl.SSLSocket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def _codes(found: dict[str, Any]) -> set[str]:
    return {one["code"] for one in found["findings"]}


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network([f"{GATEWAY}/24"], [f"{NAME_SERVER}/24"])
    scene.ending.callback(network.close)
    return World(scene, network)


@pytest.fixture(autouse=True)
def usual(world: World) -> None:
    world.apply()
    world.publish()


def test_the_policy_is_served_as_senders_want_it(world: World) -> None:
    head, _, body = world.ask().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/plain\r\n" in head
    assert body == b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmax_age: 604800\r\n"
    assert body.decode() == world.shown()["policy"]
    undated = [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")]
    asked = world.ask(method="HEAD").split(b"\r\n")
    assert [line for line in asked if not line.startswith(b"Date: ")] == [*undated, b"", b""]


@pytest.mark.parametrize(
    "asked",
    [
        {"path": "/"},
        {"path": PATH + "?x"},
        {"path": "/.well-known/acme-challenge/x"},
        {"host": "example.net"},
        {"host": "mta-sts.other.example"},
        {"method": "POST", "more": "Content-Length: 0\r\n"},
        {"method": "OPTIONS"},
    ],
)
def test_everything_else_is_not_found(world: World, asked: dict[str, str]) -> None:
    head, _, body = world.ask(**asked).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert body == b""
    assert b"gatepost" not in head.lower()


def test_other_names_get_no_handshake(world: World) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        world.connect("mx.example.net").close()


def test_a_slow_client_is_cut_off_and_keeps_nobody_waiting(world: World) -> None:
    slow = world.connect()
    slow.sendall(b"GET ")
    assert world.ask().startswith(b"HTTP/1.1 200 OK")
    assert slow.recv(1) == b""  # after 10 seconds; the test's own patience is 20
    slow.close()


def test_a_commit_changes_policy_and_certificate_and_open_connections_go_on(world: World) -> None:
    first, renewed = world.shown()["id"], AUTHORITY.issue([HOST])
    with world.connect() as before:
        world.gateway.import_certificate("web", renewed, replace=True)
        world.apply(mode="testing", max_age="2d")
        before.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert b"mode: enforce" in _all(before)
    with world.connect() as after:
        assert after.getpeercert(binary_form=True) == renewed.chain_der[0]
        after.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert b"mode: testing\r\nmx: mx.example.net\r\nmax_age: 172800\r\n" in _all(after)
    assert world.shown()["id"] != first


def test_a_port_that_is_taken_refuses_the_commit_and_the_old_one_goes_on(world: World) -> None:
    with world.network.gateway():
        taken = socket.create_server((GATEWAY, 8443))
    with taken, pytest.raises(pytest.fail.Exception, match=r"public_web cannot use 203\.0\.113\.1 port 8443"):
        world.apply(web={"interface": "Data 1", "port": 8443}, mode="testing")
    assert b"mode: enforce" in world.ask()


def test_the_port_closes_and_opens_with_commits(world: World) -> None:
    world.apply(web={"interface": "Data 1", "port": 8443})
    with pytest.raises(ConnectionRefusedError):
        world.connect()
    world.apply()
    assert world.ask().startswith(b"HTTP/1.1 200 OK")


def test_the_desks_successor_serves_on(world: World) -> None:
    status = json.loads(world.gateway.command("status", "--json"))
    assert status["public_web"] == [{"address": GATEWAY, "port": 443}]
    os.kill(status["desk"]["pid"], signal.SIGKILL)
    assert world.ask().startswith(
        b"HTTP/1.1 200 OK"
    )  # it waits in the queue of the socket, which the supervisor keeps


def test_a_sender_takes_what_is_served_and_all_agrees(world: World) -> None:
    found = world.check()
    assert _codes(found) == {"private-authority"}
    assert (found["status"], found["fetched"], found["record_id"]) == ("well", True, found["id"])
    assert found["mx"] == [{"host": "mx.example.net", "listeners": ["IncomingMail"], "certificates": ["gw"]}]


def test_what_disagrees_is_found_and_an_alert_tells_and_clears(world: World) -> None:
    world.apply(mx=["mail.example.net"])
    found = world.check(status=1)
    assert _codes(found) >= {"mx-not-listed", "record-differs", "mx-unused"}
    world.gateway.wait_for_log(r"MTA-STS policy of example\.net does not fit")
    world.apply()
    assert world.check()["status"] == "well"
    world.gateway.wait_for_log(r"MTA-STS policy of example\.net: all agrees")


def test_a_policy_host_with_a_wrong_certificate_is_what_senders_would_see(world: World) -> None:
    world.apply(certificate="gw")
    found = world.check(status=1)
    (finding,) = [one for one in found["findings"] if one["code"] == "file-unreachable"]
    assert f"certificate is not valid for {HOST}" in finding["text"]
