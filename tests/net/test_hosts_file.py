from __future__ import annotations

import ipaddress
from pathlib import Path

from gatepost.net.hosts_file import read_hosts


def test_first_names_of_addresses(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(
        "127.0.0.1\tLocalhost localhost.localdomain # the usual\n"
        "::1 ip6-localhost\n"
        "# 192.0.2.1 commented.example\n"
        "192.0.2.2\n"
        "nonsense name\n"
        "127.0.0.1 second\n"
        "fe80::1%eth0 scoped.example.\n"
    )
    assert read_hosts(file) == {
        ipaddress.ip_address("127.0.0.1"): "localhost",
        ipaddress.ip_address("::1"): "ip6-localhost",
        ipaddress.ip_address("fe80::1"): "scoped.example",
    }
    assert read_hosts(tmp_path / "missing") == {}
