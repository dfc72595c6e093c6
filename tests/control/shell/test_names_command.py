"""`gatepost cert names`: the three names under each other, readable at eighty columns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.control.kit import Bench
from tests.control.ops.test_names import RECORDS, document
from tests.control.shell.running import gatepost
from tests.fakes.dns_authority import DnsAuthority

from gatepost.control.shell.names_command import say_names
from gatepost.store.home import Home


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


def test_on_a_stopped_gateway_it_reads_like_this(stopped: Home) -> None:
    with DnsAuthority(RECORDS) as dns:
        bench = Bench(stopped)
        bench.apply(document(dns))
        bench.store.close()
        said = gatepost("cert", "names")
        found = json.loads(gatepost("cert", "names", "Demo", "--json").out)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("Listener IncomingMail (public) on Data 1, 127.0.0.1: the certificate differs")
    assert lines[1].split() == [
        "MX",
        "record",
        "mx.example.net",
        "example.net,",
        "MX",
        "10:",
        "leads",
        "here",
    ]
    assert lines[2].startswith("! Certificate")
    assert "Interface host" in said.out
    assert "name-mismatch" in {finding["code"] for finding in found["listeners"][0]["findings"]}
    assert lines[-2].startswith("The system's host name, gw.example.net, plays no part")
    assert max(map(len, lines)) <= 80


def one(**changes: Any) -> dict[str, Any]:
    host = {
        "host": "mx.example.net",
        "preference": 10,
        "addresses": ["192.0.2.1"],
        "status": "found",
        "implicit": False,
        "leads_here": True,
    }
    values = {
        "listener": "In",
        "type": "public",
        "interface": "Data 1",
        "address": "192.0.2.1",
        "interface_host": "mx.example.net",
        "interface_host_is_the_systems": False,
        "certificates": [{"certificate": "gw", "sni": "", "names": ["DNS:mx.example.net"]}],
        "mx": [{"domain": "example.net", "status": "found", "detail": "", "hosts": [host]}],
        "leads_here": ["mx.example.net"],
        "by_name_only": False,
        "verdict": "same",
        "differs": [],
        "findings": [],
    }
    return {**values, **changes}


def shown(capsys: pytest.CaptureFixture[str], *listeners: dict[str, Any]) -> str:
    say_names(
        {"listeners": listeners, "outbound": None, "system": {"hostname": "gw", "text": "plays no part"}}
    )
    return capsys.readouterr().out


def test_the_same_is_said_in_one_line_with_the_names_below(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, one()).splitlines()[:4] == [
        "Listener In (public) on Data 1, 192.0.2.1: the names are the same",
        "  MX record       mx.example.net  example.net, MX 10: leads here",
        "  Certificate     mx.example.net  gw",
        "  Interface host  mx.example.net  Data 1",
    ]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"verdict": "unknown"}, "the MX record is not known"),
        (
            {"mx": [{"domain": "d.example", "status": "no answer", "detail": "x", "hosts": []}]},
            "d.example: no answer (x)",
        ),
        ({"mx": [{"domain": "d.example", "status": "takes no mail", "detail": "", "hosts": []}]}, "null MX"),
        ({"mx": [], "type": "private"}, "certificate and host name are the same"),
        (
            {"verdict": "differs", "differs": ["mx", "interface"]},
            "the MX record and the interface's host name differ",
        ),
        ({"verdict": "differs", "differs": ["mx", "certificate", "interface"]}, "all three differ"),
        ({"interface_host_is_the_systems": True}, "this is the system's"),
        ({"by_name_only": True}, "this name, at 192.0.2.1"),
    ],
)
def test_every_state_has_its_words(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], part: str
) -> None:
    assert part in " ".join(shown(capsys, one(**changes)).split())


def test_long_and_many_names_stay_within_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    long = "mail-gateway-" + "x" * 40 + ".example.net"
    certificates = [
        {
            "certificate": "a-profile-with-a-name",
            "sni": long,
            "names": [f"DNS:{number}.{long}" for number in range(50)],
        }
    ]
    text = shown(capsys, one(certificates=certificates, interface_host=long))
    assert "45 more" in text
    assert long in text
    assert max(len(line) for line in text.splitlines()) <= 90  # a name is never broken
    hostile = [{"certificate": "gw", "sni": "", "names": ["DNS:a\x1b[31m"]}]
    assert "\x1b" not in shown(capsys, one(certificates=hostile))
