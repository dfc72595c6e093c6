"""What every server under test has in common."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import CLEAR_PORT, TLS_PORT, Way
from bench.tools import Tools

PROJECT = Path(__file__).parents[2]
UNPACKED = PROJECT / ".cache" / "peers"


@dataclass(frozen=True, slots=True)
class Site:
    """Where the servers live in this run: one folder each below `work`, all on one file system."""

    work: Path
    tools: Tools
    workers: int


class Peer(ABC):
    """One server: how it is set up for a way of sending, and how it is started.

    `scenarios` are the letters that make sense with it, `warm_up` what part of a scenario's first run it is
    given (slow ones less), `note` goes below the tables.
    """

    name: str
    port: int
    scenarios = "ABCDEFIL"
    warm_up = 1.0
    note = ""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.work / self.name

    @abstractmethod
    def missing(self) -> str:
        """Why it cannot run on this machine, for people; empty when it can."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def configure(self, way: Way) -> None:
        """Makes its folder anew, with an empty queue and the configuration for `way`."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it in the foreground."""

    def environment(self) -> dict[str, str]:
        return {}

    @property
    def log(self) -> Path:
        """What it prints while it runs."""
        return self.site.work / f"{self.name}.log"

    def empty_folder(self, *parts: str, owner: str = "") -> Path:
        """A new, empty folder of its own, for the user it runs as."""
        folder = self.folder.joinpath(*parts)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if owner:
            shutil.chown(folder, owner, owner)
        return folder

    def own_key(self, owner: str = "") -> Path:
        """A copy of the test key that only the server's user may read; some servers insist on that."""
        copy = self.folder / "key.pem"
        shutil.copy(self.site.tools.key, copy)
        copy.chmod(0o600)
        if owner:
            shutil.chown(copy, owner, owner)
        return copy


def next_port(way: Way) -> int:
    """The sink's port for a way of sending."""
    return CLEAR_PORT if way is Way.CLEAR else TLS_PORT


def is_root() -> bool:
    return os.geteuid() == 0
