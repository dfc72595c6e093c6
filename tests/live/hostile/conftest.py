"""One gateway for all attacks of a test process, and the look at it after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.hostile.house import INSIDES, House, check_log_lines
from tests.live.peers.ports import Ports


@pytest.fixture(scope="session")
def shared_house(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    house = House(folder, ports)
    yield house
    house.close()


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The gateway under attack; unharmed afterwards, or the test fails."""
    start = shared_house.mark()
    House.clients = []
    yield shared_house
    for client in House.clients:
        client.close()
    unharmed(shared_house, start)


def unharmed(house: House, start: int) -> None:
    house.check_message_passes()
    assert house.processes() == house.pids, "a process died"
    check_log_lines(house.gateway.log.all[start:])
    for client in House.clients:
        for line in client.said:
            assert not INSIDES.search(line), f"a peer was shown {line!r}"
