"""Automatic certificates of a running gateway, issued by pebble and seen on the wire by openssl."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.control.kit import Bench, new_home
from tests.live.certificates.acme_ca import HERE, ChallengeDns, Pebble, RenewalProxy
from tests.live.peers.clients import s_client
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports

from gatepost.app.renewal_job import RenewalJob
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.core.ports import Alert
from gatepost.pki.profile import Profile
from gatepost.store.secrets import LocalKeeper

DAY = 86_400.0
SIX_DAYS = 6 * 86_400
RSA, ECDSA = "rsa_pss_rsae_sha256:RSA+SHA256", "ECDSA+SHA256"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
NewGateway = Callable[[], Gateway]


@pytest.fixture(scope="module")
def dns(ports: Ports) -> Iterator[ChallengeDns]:
    with ChallengeDns(ports) as running:
        yield running


@pytest.fixture(scope="module")
def pebble(ports: Ports, dns: ChallengeDns, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    folder = tmp_path_factory.mktemp("pebble")
    with Pebble(folder, ports, dns=dns.address, validity=SIX_DAYS) as running:
        yield running


def acme(pebble: Pebble, *certificates: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "directory": pebble.url,
        "contact": "admin@example.net",
        "terms_agreed": True,
        "http_port": pebble.http_port,
        "tls_port": pebble.tls_port,
        "certificates": list(certificates) or [{"name": "auto", "names": ["mx.example.net"]}],
        **keys,
    }


class Site:
    """A gateway whose listener shows the automatic certificate."""

    def __init__(self, gateway: Gateway, ports: Ports, pebble: Pebble) -> None:
        self.gateway = gateway
        self.pebble = pebble
        self.port = ports.free()
        self._private = ports.free()
        gateway.trust(pebble.trust_pem)

    def configure(self, section: dict[str, Any], **sections: Any) -> None:
        made = document(self.port, self._private, hop="[127.0.0.1]:9", certificate="auto")
        made["certificate_authorities"] = {"system": False, "custom": True}
        self.gateway.configure({**made, "acme": section, **sections})

    def leaf(self, *options: str) -> x509.Certificate:
        """What openssl is shown at the listener."""
        found = _PEM.search(s_client(self.port, "QUIT\r\n", *options).transcript)
        assert found is not None
        return x509.load_pem_x509_certificate(found[0].encode())

    def issued(self, count: int = 1) -> re.Match[str]:
        """The line of the `count`-th certificate that came."""
        return self.gateway.wait_for_log(r"Certificate auto automatic: (.*) until", count=count)

    def status(self) -> dict[str, Any]:
        (found,) = json.loads(self.gateway.command("acme", "status", "--json"))
        return dict(found)


@pytest.fixture
def site(new_gateway: NewGateway, ports: Ports, pebble: Pebble) -> Site:
    return Site(new_gateway(), ports, pebble)


def names_of(leaf: x509.Certificate) -> list[str]:
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HERE, port)) == 0


def self_signed(leaf: x509.Certificate) -> bool:
    return leaf.issuer == leaf.subject


# --- issue and renewal on the wire ---------------------------------------------------------------


def test_the_first_certificate_takes_the_stand_ins_place_on_the_wire(site: Site) -> None:
    entry = {"name": "auto", "names": ["mx.example.net", "mail.example.net"], "also": "rsa2048"}
    site.configure(acme(site.pebble, entry))
    with socket.create_server((HERE, site.pebble.http_port)):  # until this goes, no challenge can be answered
        site.gateway.start()
        failed = site.gateway.wait_for_log(r"Renewal of certificate auto failed: (.*), next try")
        assert f"the challenge http-01 cannot use {HERE} port {site.pebble.http_port}" in failed[1]
        assert "another program listens there" in failed[1]
        assert self_signed(site.leaf())
        assert site.status()["failures"] == 1
    said = site.gateway.command("cert", "renew", "auto")
    assert "auto was renewed; the new certificate is in force until" in said
    for algorithms in (ECDSA, RSA):
        leaf = site.leaf("-sigalgs", algorithms)
        assert "Pebble Intermediate" in leaf.issuer.rfc4514_string()
        assert names_of(leaf) == ["mx.example.net", "mail.example.net"]
    assert not is_open(site.pebble.http_port)
    status = site.status()
    assert (status["outcome"], status["failures"], status["stand_in"]) == ("issued", 0, False)
    assert site.gateway.log.matching(r"Alert \(warning\) .*Renewal failed: auto")
    history = json.loads(site.gateway.command("config", "history", "--json"))
    assert history[0]["author"] == "gatepost"
    site.gateway.wait_for_log(r"Certificates of version \d+ are on the wire", count=2)


def test_a_rehearsal_changes_nothing_and_a_renewal_does(site: Site) -> None:
    """R8, the automatic issue: an existing entry is renewed under its name; the other three ways are in `test_rows`."""
    site.configure(acme(site.pebble))
    site.gateway.start()
    site.issued()
    before = site.leaf().serial_number
    said = " ".join(site.gateway.command("cert", "renew", "auto", "--dry-run").split())
    assert "would be ordered from" in said
    assert "The account is known there." in said
    assert "Nothing was ordered and nothing changed." in said
    assert site.leaf().serial_number == before
    assert not is_open(site.pebble.http_port)
    site.gateway.command("cert", "renew", "auto")
    assert site.leaf().serial_number != before
    account = json.loads(site.gateway.command("acme", "account", "--json"))
    assert account["url"].startswith(f"https://{HERE}:{site.pebble.port}/")
    assert len(account["thumbprint"]) == 43
    exported = site.gateway.files / "export.yaml"
    site.gateway.command("config", "export", exported, "--with-certificates")
    assert "thumbprint" not in exported.read_text()


def test_an_authority_that_is_down_and_comes_back(
    new_gateway: NewGateway, ports: Ports, dns: ChallengeDns, tmp_path: Path
) -> None:
    with Pebble(tmp_path / "ca", ports, dns=dns.address, validity=SIX_DAYS) as pebble:
        site = Site(new_gateway(), ports, pebble)
        site.configure(acme(pebble))
        site.gateway.start()
        site.issued()
        before = site.leaf().serial_number
        pebble.stop()
        refused = site.gateway.refused("acme", "renew", "auto", status=1)
        assert "did not answer the directory: connection refused" in refused
        assert site.leaf().serial_number == before
        site.gateway.stop()
        site.gateway.start()  # what failed is remembered, and not ordered before its time
        assert site.leaf().serial_number == before
        assert site.status()["failures"] == 1
        pebble.start()  # it has forgotten the account
        site.gateway.command("acme", "renew", "auto")
        assert site.leaf().serial_number != before
        assert site.status()["failures"] == 0


def test_a_short_lived_certificate_is_renewed_by_itself(
    new_gateway: NewGateway, ports: Ports, dns: ChallengeDns, tmp_path: Path
) -> None:
    with Pebble(tmp_path / "ca", ports, dns=dns.address, validity=30) as pebble:
        site = Site(new_gateway(), ports, pebble)
        site.configure(acme(pebble))
        site.gateway.start()
        site.issued()
        first = site.leaf()
        site.issued(count=2)
        site.gateway.wait_for_log(r"Certificates of version \d+ are on the wire", count=3)
        second = site.leaf()
        assert second.serial_number != first.serial_number
        assert second.not_valid_before_utc < first.not_valid_after_utc
        assert len(site.gateway.log.matching(r"Certificate auto automatic")) == 2


# --- the other ways to prove names -----------------------------------------------------------------


def test_tls_alpn(site: Site) -> None:
    site.configure(acme(site.pebble, challenge="tls-alpn-01"))
    site.gateway.start()
    site.issued()
    assert not self_signed(site.leaf())
    assert not is_open(site.pebble.tls_port)


def test_a_wildcard_by_a_hook(site: Site, dns: ChallengeDns, place: Path) -> None:
    log = place / "hook.log"
    entry = {"name": "auto", "names": ["*.example.net", "example.net"], "challenge": "dns-01"}
    section = acme(site.pebble, entry, dns={"hook": str(dns.hook(place, log)), "wait": "1s"})
    site.configure(section, dns={"servers": [dns.address]})
    site.gateway.start()
    site.issued()
    assert sorted(names_of(site.leaf())) == ["*.example.net", "example.net"]
    asked = [line.split()[:2] for line in log.read_text().splitlines()]
    assert asked.count(["present", "_acme-challenge.example.net"]) == 2
    assert asked.count(["withdraw", "_acme-challenge.example.net"]) == 2


def test_an_account_bound_to_one_outside(
    new_gateway: NewGateway, ports: Ports, dns: ChallengeDns, tmp_path: Path
) -> None:
    key = secrets.token_bytes(32)
    text = base64.urlsafe_b64encode(key).rstrip(b"=")
    with Pebble(tmp_path / "ca", ports, dns=dns.address, external={"kid-1": key}) as pebble:
        site = Site(new_gateway(), ports, pebble)
        site.configure(acme(pebble, eab={"key_id": "kid-1"}))
        site.gateway.start()
        failed = site.gateway.wait_for_log(r"Renewal of certificate auto failed: (.*), next try")
        assert "`gatepost acme secret eab` stores it" in failed[1]
        site.gateway.command("acme", "secret", "eab", "--file", "-", text=text + b"\n")
        site.issued()  # a new secret is tried at once
        assert not self_signed(site.leaf())
        logs = "".join(path.read_text() for path in (site.gateway.home / "logs").iterdir())
        assert text.decode() not in logs
        assert text not in (site.gateway.home / "config.db").read_bytes()


# --- a clock that is moved -------------------------------------------------------------------------


class OwnPorts:
    """The ports of challenges, opened by this process."""

    def __init__(self, pebble: Pebble) -> None:
        self.pebble = pebble
        self.opened: list[str] = []

    async def open(self, kind: str, /) -> list[socket.socket]:
        self.opened.append(kind)
        sock = socket.create_server((HERE, self.pebble.http_port))
        sock.setblocking(False)
        return [sock]


class Quiet:
    async def tell(self, alert: Alert, /) -> None:
        raise AssertionError(alert.text)


class Moved:
    """The desk's own job with the operations behind it, and a clock that a test moves."""

    def __init__(self, root: Path, pebble: Pebble, url: str) -> None:
        self.bench = Bench(new_home(root))
        self.bench.clock.at = time.time()
        self.gateway = self.bench.start()
        self.ports = OwnPorts(pebble)
        self.call("ca.import", file=base64.b64encode(pebble.trust_pem).decode())
        made = document(2525, 2587, certificate="auto")
        made["certificate_authorities"] = {"system": False, "custom": True}
        made["acme"] = {**acme(pebble), "directory": url}
        self.call("config.apply", text=base64.b64encode(json.dumps(made).encode()).decode())
        self.job = RenewalJob(
            self.bench.store,
            LocalKeeper(self.bench.key),
            self.gateway,
            self.bench.operations,
            self.bench.clock,
            Quiet(),
            self.ports,
        )

    def call(self, op: str, **args: Any) -> Any:
        return self.bench.call(op, **args)

    def run(self) -> float:
        async def bounded() -> float:
            async with asyncio.timeout(60):
                return await self.job.run()

        return asyncio.run(bounded())

    def profile(self) -> Profile:
        version = self.bench.store.latest()
        assert version is not None
        stored = self.bench.store.profile(version.content.profiles["auto"])
        assert stored is not None
        return Profile.from_document(stored.record)


def test_a_six_day_certificate_is_renewed_in_time_and_not_before(pebble: Pebble, tmp_path: Path) -> None:
    moved = Moved(tmp_path / "home", pebble, pebble.url)
    moved.run()
    first = moved.profile().leaf
    assert len(moved.ports.opened) == 1
    due = first.not_before + 0.66 * (first.not_after - first.not_before)
    for share in (0.2, 0.4, 0.6):
        moved.bench.clock.at = first.not_before + share * SIX_DAYS
        assert moved.run() <= due - moved.bench.clock.at + 60
        assert moved.profile().leaf.fingerprint == first.fingerprint
    moved.bench.clock.at = due + 60
    moved.run()
    assert moved.profile().leaf.fingerprint != first.fingerprint
    assert first.not_after > moved.bench.clock.at
    for _ in range(5):
        moved.run()
    assert len(moved.ports.opened) == 2
    moved.bench.store.close()


def test_the_authoritys_window_is_honoured_and_the_order_says_what_it_replaces(
    pebble: Pebble, ports: Ports, tmp_path: Path
) -> None:
    with RenewalProxy(pebble, ports) as proxy:
        moved = Moved(tmp_path / "home", pebble, proxy.url)
        moved.run()
        first = moved.profile().leaf
        identifier = certificate_id_of(moved.profile().certificate)
        start = moved.bench.clock.at + 2 * DAY
        window = {"suggestedWindow": {"start": _rfc3339(start), "end": _rfc3339(start + 3600)}}
        proxy.windows[identifier] = (200, {"Retry-After": "21600"}, window)
        moved.bench.clock.at += DAY + 60
        moved.run()
        assert [path for path in proxy.asked if path == f"/renewal/{identifier}"]
        (status,) = moved.call("acme.status")
        assert _rfc3339(start) <= status["renews"] <= _rfc3339(start + 3600)
        assert moved.profile().leaf.fingerprint == first.fingerprint
        moved.bench.clock.at = start + 3601
        moved.run()
        assert moved.profile().leaf.fingerprint != first.fingerprint
        assert proxy.replaced == ["", identifier]
        moved.bench.store.close()


def _rfc3339(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
