"""The name check on a running gateway, with a name server beside it and certificates made by openssl (R10)."""

from __future__ import annotations

import contextlib
import json

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import Document, Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.processes import need, run

RECORDS = {
    "example.net": {"MX": ["10 mx.example.net.", "20 backup.example.org."]},
    "mx.example.net": {"A": ["127.0.0.1"]},
    "backup.example.org": {"A": ["198.51.100.9"]},
}


@pytest.fixture
def dns(cleanup: contextlib.ExitStack) -> DnsAuthority:
    return cleanup.enter_context(DnsAuthority(RECORDS))


def configured(ports: Ports, dns: DnsAuthority, certificate: str) -> Document:
    made = document(ports.free(), ports.free(), certificate=certificate)
    made["listeners"][0]["recipient_access"] = [{"recipient": "example.net", "action": "accept"}]
    made["dns"] = {"servers": [f"{dns.address}:{dns.port}"], "reverse": False}
    made["destination_controls"]["global"] = {"certificate": certificate}
    return made


def import_from_openssl(gateway: Gateway, name: str, host: str) -> None:
    key, certificate = gateway.files / f"{name}.key", gateway.files / f"{name}.crt"
    made = run(
        [
            need("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "90", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", key, "-out", certificate,
        ]
    )  # fmt: skip
    assert made.returncode == 0, made.stderr.decode()
    gateway.command("cert", "import", name, certificate, "--key", key)


def test_it_says_which_name_differs_and_that_the_change_mends_it(
    gateway: Gateway, ports: Ports, dns: DnsAuthority
) -> None:
    import_from_openssl(gateway, "old", "old.example.net")
    import_from_openssl(gateway, "gw", "mx.example.net")
    gateway.configure(configured(ports, dns, "old"))
    gateway.start()
    text = gateway.command("cert", "names")
    assert "the certificate differs" in text
    assert "example.net, MX 10: leads here" in text
    assert "backup.example.org" in text
    assert "plays no part" in text
    found = json.loads(gateway.command("cert", "names", "--json"))
    assert {f["code"] for one in found["listeners"] for f in one["findings"]} == {"name-mismatch"}

    file = gateway.files / "next.yaml"
    file.write_text(json.dumps(configured(ports, dns, "gw")))
    gateway.command("config", "apply", file, "--pending")
    pending = json.loads(gateway.command("cert", "names", "--pending", "--json"))
    assert [one["verdict"] for one in pending["listeners"]] == ["same", "same"]
    assert pending["outbound"]["verdict"] == "same"
    live = json.loads(gateway.command("cert", "names", "--json"))
    assert live["listeners"][0]["differs"] == ["certificate"]


def test_a_silent_name_server_does_not_hold_it_up(gateway: Gateway, ports: Ports, dns: DnsAuthority) -> None:
    import_from_openssl(gateway, "gw", "mx.example.net")
    gateway.configure(configured(ports, dns, "gw"))
    gateway.start()
    dns.behave("*", Behaviour.TIMEOUT)
    found = json.loads(gateway.command("cert", "names", "gw", "--json"))
    assert found["listeners"][0]["verdict"] == "unknown"
    assert found["listeners"][0]["mx"][0]["status"] == "no answer"
    assert found["listeners"][1]["verdict"] == "same"  # it takes mail for no domain
