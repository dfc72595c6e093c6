"""Fixtures of the crash tests: a site is a gateway, its sink, and what ends both."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import self_signed
from tests.live.crash.harness import Gateway, SinkProcess, configuration, say
from tests.live.peers.ports import Ports


class Site:
    """One gateway and one sink in a folder."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.port = ports.free()
        self.ports = ports
        issued = self_signed(["sink.example"])
        certificate, key = folder / "sink.pem", folder / "sink.key"
        certificate.write_bytes(issued.leaf_pem)
        key.write_bytes(issued.key_pem)
        self.sink = SinkProcess(folder, ports.free(), certificate, key)
        self.gateway = Gateway(folder / "home")

    def document(self, **choices: Any) -> str:
        return configuration(self.port, self.sink.port, **choices)

    def make(self, **choices: Any) -> Gateway:
        """The home with its configuration; not started yet."""
        return self.gateway.make(self.document(**choices))

    def close(self) -> None:
        self.gateway.close()
        self.sink.close()


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports()


@pytest.fixture
def site(tmp_path: Path, ports: Ports) -> Iterator[Site]:
    made = Site(tmp_path, ports)
    yield made
    made.close()


@pytest.fixture
def seed(record_property: Any) -> int:
    """GATEPOST_SEED, or one by chance; it is printed, so that a run can be repeated as far as processes allow."""
    number = int(os.environ.get("GATEPOST_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
    say(f"\nGATEPOST_SEED={number}")
    record_property("seed", number)
    return number
