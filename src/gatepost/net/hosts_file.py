"""The machine's own table of addresses and names, `/etc/hosts`, for looking up the name of an address."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from gatepost.core.address import IPAddress

_PATH = Path("/etc/hosts")


def read_hosts(path: Path = _PATH) -> dict[IPAddress, str]:
    """The first name of every address, lower case; a missing file or a faulty line counts as nothing."""
    names: dict[IPAddress, str] = {}
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return names
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = ipaddress.ip_address(words[0].partition("%")[0])
        except ValueError:
            continue
        names.setdefault(address, words[1].lower().rstrip("."))
    return names
