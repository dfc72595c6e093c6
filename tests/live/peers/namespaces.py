"""Two network namespaces joined by a pair of interfaces: the gateway in one, the rest of the world in the other.

Needs root. Names carry this process's id, so that test processes do not meet; nothing outside the two namespaces is
changed, and removing them removes the interfaces. Whatever is started (or bound) inside `with network.gateway():`
or `with network.world():` lives there: a process inherits the namespace of the thread that starts it, a socket
belongs to that of the thread that makes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.live.peers.processes import need, need_root, run

_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


def _ip(*words: str) -> None:
    done = run([need("ip", "iproute2"), *words])
    if done.returncode:
        pytest.fail(f"ip {' '.join(words)}: {done.stderr.decode(errors='replace')}")


def _enter(namespace: int) -> None:
    if hasattr(os, "setns"):
        os.setns(namespace, _CLONE_NEWNET)
        return
    library = ctypes.CDLL(None, use_errno=True)  # Python 3.11 has no setns
    if library.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """The two namespaces. `addresses` are those of each side, with their prefix length: `203.0.113.10/24`."""

    def __init__(self, gateway: Sequence[str], world: Sequence[str]) -> None:
        need_root("network namespaces")
        stem = f"gp{os.getpid()}-{next(_numbers)}"
        self._gateway, self._world = f"{stem}-gw", f"{stem}-out"
        try:
            for name in (self._gateway, self._world):
                _ip("netns", "add", name)
                _ip("-n", name, "link", "set", "lo", "up")
            pair = ("type", "veth", "peer", "name", "net", "netns", self._world)
            _ip("-n", self._gateway, "link", "add", "net", *pair)
            for name, addresses in ((self._gateway, gateway), (self._world, world)):
                _ip("-n", name, "link", "set", "net", "up")
                for address in addresses:
                    quickly = ["nodad"] if ":" in address else []
                    _ip("-n", name, "address", "add", address, "dev", "net", *quickly)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for name in (self._gateway, self._world):
            if Path("/run/netns", name).exists():
                run([need("ip", "iproute2"), "netns", "del", name])

    @contextlib.contextmanager
    def gateway(self) -> Iterator[None]:
        """This thread in the gateway's namespace."""
        with _inside(self._gateway):
            yield

    @contextlib.contextmanager
    def world(self) -> Iterator[None]:
        """This thread in the namespace of everybody else."""
        with _inside(self._world):
            yield


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{name}", "rb") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())
