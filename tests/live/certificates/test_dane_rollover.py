"""The rollover of a key under DANE: a signed zone on two real name servers, a validating resolver, foreign judges (RFC 7671 §8).

The gateway, bind9 (a primary that signs and a secondary), and unbound are alone in a network namespace. Records go into the zone by
nsupdate, as `gatepost cert dane` prints them; `openssl s_client` and `ldns-dane` judge what the listener shows by them.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.live.peers.clients import s_client
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.namespaces import Network
from tests.live.peers.processes import PATIENCE, Program, need, run
from tests.live.peers.scene import Scene

PRIMARY, SECONDARY, RESOLVER = "127.0.0.53", "127.0.0.54", "127.0.0.1"
PORT, PRIVATE_PORT = 2525, 2587
HOST, OWNER = "mx.example.net", "_25._tcp.mx.example.net"
TTL = 2
ZONE = f"""$TTL {TTL}
@ IN SOA ns1 root 1 3600 600 86400 {TTL}
@ IN NS ns1
@ IN NS ns2
ns1 IN A {PRIMARY}
ns2 IN A {SECONDARY}
mx IN A 127.0.0.1
"""


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask again until it holds. Every question runs a program, which takes its time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}"


def openssl(*words: str | Path) -> bytes:
    done = run([need("openssl", "openssl"), *words])
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """A root and an intermediate that openssl keeps; it signs requests and makes keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "900",
            "-subj", "/CN=Rollover Root", "-keyout", folder / "root.key", "-out", folder / "root.pem",
        )  # fmt: skip
        self._request("sub", "/CN=Rollover Sub")
        self._sign(
            "sub", "root", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n"
        )

    def _request(self, name: str, subject: str) -> None:
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
            "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.csr",
        )  # fmt: skip

    def _sign(self, name: str, by: str, extensions: str) -> None:
        file = self.folder / "extensions"
        file.write_text(extensions)
        openssl(
            "x509", "-req", "-in", self.folder / f"{name}.csr", "-CA", self.folder / f"{by}.pem",
            "-CAkey", self.folder / f"{by}.key", "-days", "90", "-extfile", file,
            "-out", self.folder / f"{name}.pem",
        )  # fmt: skip

    def answer(self, name: str, csr: str) -> Path:
        """The signed certificate with its intermediate, for a request."""
        (self.folder / f"{name}.csr").write_text(csr)
        self._sign(name, "sub", f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n")
        chain = self.folder / f"{name}-chain.pem"
        chain.write_bytes((self.folder / f"{name}.pem").read_bytes() + (self.folder / "sub.pem").read_bytes())
        return chain

    def first(self) -> tuple[Path, Path]:
        self._request("first", f"/CN={HOST}")
        return self.answer("first", (self.folder / "first.csr").read_text()), self.folder / "first.key"


class Names:
    """bind9 twice: a primary that signs example.net, and its secondary; unbound validates with the zone's key as its anchor."""

    def __init__(self, folder: Path, ending: contextlib.ExitStack) -> None:
        self.folder = folder
        self._ending = ending
        for address in (PRIMARY, SECONDARY):  # named listens on addresses that an interface has
            done = run([need("ip", "iproute2"), "address", "add", f"{address}/32", "dev", "lo"])
            assert done.returncode == 0, done.stderr.decode()
        self._named(
            PRIMARY,
            {"example.net": f"type primary; file \"zone\"; dnssec-policy quick; inline-signing no; allow-update {{ any; }}; notify explicit; "
             f"also-notify {{ {SECONDARY}; }}; allow-transfer {{ any; }};",
             "bogus.example": "type primary; file \"bogus\";"},
        )  # fmt: skip
        self._dig_until(PRIMARY, "DNSKEY", r"257 3 13")
        secondary = self._named(
            SECONDARY,
            {
                "example.net": f'type secondary; file "copy"; primaries {{ {PRIMARY}; }}; allow-notify {{ {PRIMARY}; }};'
            },
        )
        secondary.output.wait_for(r"all zones loaded|running$")
        self._dig_until(SECONDARY, "DNSKEY", r"257 3 13")
        self._unbound()

    def _named(self, address: str, zones: dict[str, str]) -> Program:
        home = self.folder / address
        home.mkdir(parents=True)
        (home / "zone").write_text(ZONE)
        (home / "bogus").write_text(ZONE.replace("mx IN", "@ IN A 192.0.2.1\nmx IN"))
        rows = "".join(f'zone "{name}" {{ {text} }};\n' for name, text in zones.items())
        (home / "named.conf").write_text(
            f'options {{ directory "{home}"; listen-on port 53 {{ {address}; }}; listen-on-v6 {{ none; }}; '
            "pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify-delay 0; "
            f"query-source address {address}; notify-source {address}; transfer-source {address}; }};\n"
            "controls { };\n"
            "dnssec-policy quick { keys { csk key-directory lifetime unlimited algorithm 13; }; "
            f"dnskey-ttl {TTL}; max-zone-ttl 60; }};\n{rows}"
        )
        command: list[str | Path] = [need("named", "bind9"), "-g", "-c", home / "named.conf", "-n", "1"]
        program = self._ending.enter_context(Program(command, name=f"named {address}", folder=home))
        program.output.wait_for(r"running$")
        return program

    def _unbound(self) -> None:
        home = self.folder / "unbound"
        home.mkdir()
        keys = next((self.folder / PRIMARY).glob("Kexample.net.+013+*.key")).read_text()
        anchor = next(line for line in keys.splitlines() if not line.startswith(";"))
        broken = re.sub(r"^example\.net\.", "bogus.example.", anchor)
        (home / "anchors").write_text(f"{anchor}\n{broken}\n")
        (home / "unbound.conf").write_text(
            f'server:\n interface: {RESOLVER}\n port: 53\n chroot: ""\n username: ""\n directory: "{home}"\n'
            ' pidfile: ""\n use-syslog: no\n do-daemonize: no\n do-not-query-localhost: no\n module-config: "validator iterator"\n'
            f' trust-anchor-file: "{home}/anchors"\n cache-max-ttl: {TTL}\n cache-max-negative-ttl: 1\n'
            "remote-control:\n control-enable: no\n"
            + "".join(
                f"stub-zone:\n name: {zone}\n stub-addr: {PRIMARY}\n"
                for zone in ("example.net", "bogus.example")
            )
        )
        command: list[str | Path] = [need("unbound", "unbound"), "-d", "-v", "-c", home / "unbound.conf"]
        program = self._ending.enter_context(Program(command, name="unbound", folder=home))
        program.output.wait_for("start of service")

    def update(self, *changes: str) -> None:
        """nsupdate at the primary, and wait until the secondary has it."""
        text = "\n".join([f"server {PRIMARY}", "zone example.net", *changes, "send", ""])
        done = run([need("nsupdate", "bind9-dnsutils")], text=text.encode())
        assert done.returncode == 0, done.stderr.decode()
        serial = self._serial(PRIMARY)
        self._dig_until(SECONDARY, "SOA", rf" {serial} ")

    def _serial(self, server: str) -> str:
        return self.dig(server, "example.net", "SOA").split()[2]

    def dig(self, server: str, name: str, kind: str) -> str:
        done = run([need("dig", "bind9-dnsutils"), f"@{server}", "+short", "+tries=1", "+time=2", name, kind])
        return done.stdout.decode()

    def _dig_until(self, server: str, kind: str, pattern: str) -> None:
        until(
            lambda: re.search(pattern, self.dig(server, "example.net", kind)) is not None,
            f"{server} shows {kind} like {pattern}",
        )


class World:
    def __init__(self, scene: Scene, network: Network, folder: Path) -> None:
        self.network = network
        self.authority = Authority(folder / "ca")
        with network.gateway():
            self.names = Names(folder / "dns", scene.ending)
            self.gateway: Gateway = scene.gateway()
            chain, key = self.authority.first()
            self.gateway.command("cert", "import", "gw", chain, "--key", key)
            made = document(PORT, PRIVATE_PORT, certificate="gw")
            made["dns"] = {
                "servers": [RESOLVER],
                "reverse": False,
                "probe": {"signed": "example.net", "bogus": "bogus.example"},
            }
            self.gateway.configure(made)
            self.gateway.start()

    def dane(self, *options: str, status: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.gateway.command("cert", "dane", "gw", *options, "--json", status=status)
        )
        return found

    def line(self, role: str) -> str:
        """A line to publish as it is printed, with a short life."""
        (place,) = self.dane()["places"]
        (line,) = [row for row in place["publish"] if row["role"] == role]
        return f"{line['owner']} {TTL} {line['type']} {line['data']}"

    def judged(self, *data: str) -> str:
        """What openssl says of the listener under these records."""
        records = [word for text in data for word in ("-dane_tlsa_rrdata", text)]
        with self.network.gateway():
            return s_client(PORT, "QUIT\r\n", "-dane_tlsa_domain", HOST, *records).transcript

    def taken(self, chain: Path) -> bool:
        """Whether ldns-dane takes a chain by the signed records of the zone, as the validating resolver has them."""
        words: list[str | Path] = ["-r", RESOLVER, "-c", chain, "verify", HOST, "25"]
        with self.network.gateway():
            return run([need("ldns-dane", "ldnsutils"), *words]).returncode == 0

    def request(self) -> str:
        return self.gateway.command("cert", "csr", "gw")

    def published(self) -> list[str]:
        """The data of the records, as the primary has them."""
        with self.network.gateway():
            rows = self.names.dig(PRIMARY, OWNER, "TLSA").splitlines()
        return [" ".join(row.split()[:3]) + " " + "".join(row.split()[3:]).lower() for row in rows]


@pytest.fixture(scope="module")
def world(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> World:
    network = Network(["203.0.113.1/24"], ["203.0.113.10/24"])
    scene.ending.callback(network.close)
    return World(scene, network, tmp_path_factory.mktemp("rollover"))


def test_a_rollover_from_the_first_record_to_the_removal_of_the_old_one(world: World) -> None:
    gateway = world.gateway
    (place,) = world.dane()["places"]
    assert (place["signed"], place["zone"], place["published"]) == ("signed", "example.net", [])
    assert [(row["server"], row["address"], row["error"]) for row in place["servers"]] == [
        ("ns1.example.net", PRIMARY, ""),
        ("ns2.example.net", SECONDARY, ""),
    ]
    # The first record.
    old = world.line("current")
    with world.network.gateway():
        world.names.update(f"update add {old}")
    (place,) = world.dane()["places"]
    assert place["ok"]
    assert place["publish"][0]["everywhere"]
    (data,) = world.published()
    assert "Verification: OK" in world.judged(data)
    assert "no matching DANE TLSA records" in world.judged("3 1 1 " + "00" * 32)
    # The next key, and a certificate that comes too early.
    world.dane("--make-next")
    chain = world.authority.answer("second", world.request())
    said = gateway.refused("cert", "install", "gw", chain, status=1)
    assert f"no TLSA record at {OWNER} is of the new certificate" in said
    # Its record, on both servers; the wait begins.
    with world.network.gateway():
        world.names.update(f"update add {world.line('next')}")
    said = gateway.refused("cert", "install", "gw", chain, status=1)
    assert re.search(rf"has to be visible for two TTLs \(2 x {TTL} s\), until \d{{4}}-", said), said
    until(lambda: world.dane()["activation"]["possible"], "two TTLs are over")
    gateway.command("cert", "install", "gw", chain)
    # Both judges take the new one by the records of the zone, and not by the old one alone.
    assert "Verification: OK" in world.judged(*world.published())
    assert "Verification: OK" not in world.judged(data)
    assert world.taken(chain)
    first = world.authority.folder / "first-chain.pem"
    assert world.taken(first)
    # The old record is told for what it is, and goes.
    (place,) = world.dane()["places"]
    assert {row["data"]: row["role"] for row in place["published"]}[data] == "earlier"
    with world.network.gateway():
        world.names.update(f"update delete {OWNER}. TLSA {data}")
    (place,) = world.dane()["places"]
    assert [row["role"] for row in place["published"]] == ["current"]
    assert world.taken(chain)
    until(lambda: not world.taken(first), "the resolver has forgotten the old record")
    assert "Verification: OK" in world.judged(*world.published())


def test_force_serves_it_at_once_with_a_warning(world: World) -> None:
    world.dane("--make-next")
    chain = world.authority.answer("third", world.request())
    assert "not taken yet" in world.gateway.refused("cert", "install", "gw", chain, status=1)
    said = world.gateway.refused("cert", "install", "gw", chain, "--force", status=0)
    assert f"{OWNER}: activated all the same: no TLSA record" in said
    assert "Verification: OK" not in world.judged(*world.published())
    assert not world.dane(status=1)["ok"]
