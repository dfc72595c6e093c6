from __future__ import annotations

from pathlib import Path

import pytest

from gatepost.net.dns_client import (
    DnsClient,
    NameServer,
    ServerAddressError,
    parse_name_server,
    system_name_servers,
)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", NameServer("192.0.2.1", 53)),
        ("127.0.0.1:5301", NameServer("127.0.0.1", 5301)),
        ("2001:db8::1", NameServer("2001:db8::1", 53)),
        ("[2001:db8::1]", NameServer("2001:db8::1", 53)),
        ("[2001:DB8::1]:5353", NameServer("2001:db8::1", 5353)),
    ],
)
def test_servers_as_the_configuration_writes_them(text: str, server: NameServer) -> None:
    assert parse_name_server(text) == server
    assert parse_name_server(str(server)) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ns.example.net",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:²",
        "[::1]53",
        "[::1]:x",
    ],
)
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ServerAddressError):
        parse_name_server(text)


def test_the_systems_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# a comment\nsearch example.net\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver x\n"
    )
    assert system_name_servers(file) == (NameServer("192.0.2.53"), NameServer("fe80::1"))
    assert system_name_servers(tmp_path / "missing") == (NameServer("127.0.0.1"),)


def test_only_listed_servers_on_loopback_can_be_trusted() -> None:
    near, far, other = NameServer("127.0.0.1", 5301), NameServer("192.0.2.53"), NameServer("::1")
    client = DnsClient([near, far])
    client.trust([near, far, other])
    assert client._trusted == {near}
