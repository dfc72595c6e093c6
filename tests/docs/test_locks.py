"""The locks: versions with hashes, no addresses, and exactly what the project asks for."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

PIN = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


@dataclass
class Pin:
    version: str
    hashes: int = 0


def read_lock(name: str) -> dict[str, Pin]:
    """The pins of a lock; every line must be a pin, one of its hashes, or a comment."""
    pins: dict[str, Pin] = {}
    last = Pin("")
    for number, line in enumerate((PROJECT / name).read_text().splitlines(), 1):
        if line.startswith("#"):
            continue
        if found := PIN.match(line):
            last = pins.setdefault(canonicalize_name(found["name"]), Pin(found["version"]))
        else:
            assert HASH.match(line), f"{name}:{number} is neither pin nor hash: {line}"
            last.hashes += 1
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pins_with_hashes_and_no_addresses(name: str) -> None:
    pins = read_lock(name)
    assert pins
    assert not [package for package, pin in pins.items() if not pin.hashes]
    assert not re.search(
        r"://|@ |--(?!hash=)|\.whl|/", (PROJECT / name).read_text().replace("scripts/lock", "")
    )


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("requirements.lock", TABLE["dependencies"]),
        ("requirements-dev.lock", TABLE["dependencies"] + TABLE["optional-dependencies"]["dev"]),
    ],
)
def test_a_lock_satisfies_the_project(lock: str, requirements: list[str]) -> None:
    pins = read_lock(lock)
    for text in requirements:
        requirement = Requirement(text)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{text} is not in {lock}: run make lock"
        assert requirement.specifier.contains(pin.version), (
            f"{lock} has {pin.version} for {text}: run make lock"
        )


def test_the_locks_agree() -> None:
    run, dev = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    assert {name: pin.version for name, pin in run.items()} == {name: dev[name].version for name in run}
