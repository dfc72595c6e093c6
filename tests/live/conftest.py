"""Fixtures that start real peers and the gateway, and end them whatever happens.

Each factory fixture (`postfix`, `exim`, `receiver`, `gateway`) makes as many as a test asks for. Folders lie
below one that other users can reach, since daemons run as such.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.exim import Exim
from tests.live.peers.gateway import Gateway
from tests.live.peers.ports import Ports
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import Script, ScriptedReceiver
from tests.live.peers.scene import Scene

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a live test."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="module")
def scene(ports: Ports) -> Iterator[Scene]:
    """Peers and gateways that the tests of a file share."""
    made = Scene(ports)
    yield made
    made.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that daemons running as other users can reach; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gatepost-live-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cleanup() -> Iterator[contextlib.ExitStack]:
    """Ends what a test started, the last first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def authority() -> TestAuthority:
    """The authority of the good certificates."""
    return TestAuthority("Gatepost Live CA")


@pytest.fixture
def postfix(place: Path, ports: Ports, cleanup: contextlib.ExitStack) -> Callable[..., Postfix]:
    """`postfix(certificate=…, relay_to=…)` starts an instance on a free port; see `peers.postfix`."""

    def start(*, port: int = 0, address: str = "127.0.0.1", **options: object) -> Postfix:
        port = port or ports.free(address)
        server = Postfix(place / f"postfix-{address}-{port}", port, address=address, **options)  # type: ignore[arg-type]
        cleanup.callback(server.stop)
        return server

    return start


@pytest.fixture
def exim(place: Path, ports: Ports, cleanup: contextlib.ExitStack) -> Callable[..., Exim]:
    """`exim(certificate=…, relay_to=…)` starts an instance on a free port; see `peers.exim`."""

    def start(*, port: int = 0, address: str = "127.0.0.1", **options: object) -> Exim:
        port = port or ports.free(address)
        server = Exim(place / f"exim-{address}-{port}", port, address=address, **options)  # type: ignore[arg-type]
        cleanup.callback(server.stop)
        return server

    return start


@pytest.fixture
def receiver(place: Path, ports: Ports, cleanup: contextlib.ExitStack) -> Callable[..., ScriptedReceiver]:
    """`receiver(Script(…))` starts a scripted receiver on a free port; see `peers.receiver`."""

    def start(script: Script | None = None, *, port: int = 0, address: str = "127.0.0.1") -> ScriptedReceiver:
        server = ScriptedReceiver(place / "receivers", port or ports.free(address), script, address=address)
        cleanup.callback(server.close)
        return server

    return start


@pytest.fixture
def new_gateway(place: Path, cleanup: contextlib.ExitStack) -> Callable[[], Gateway]:
    """Makes gateways, each with its own empty home, not started."""
    made: list[Gateway] = []

    def make() -> Gateway:
        gateway = Gateway(place / f"gateway-{len(made)}")
        made.append(gateway)
        cleanup.callback(gateway.close)
        return gateway

    return make


@pytest.fixture
def gateway(new_gateway: Callable[[], Gateway]) -> Gateway:
    """One gateway with an empty home, not started: configure it, then `start`."""
    return new_gateway()
