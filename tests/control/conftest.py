"""Homes are begun once and copied: beginning one hashes a pass-phrase and makes a key."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.kit import Bench, new_home

from gatepost.store.home import Home


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_home(tmp_path_factory.mktemp("begun") / "home").root


@pytest.fixture
def home(begun: Path, tmp_path: Path) -> Home:
    shutil.copytree(begun, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def bench(home: Home) -> Iterator[Bench]:
    bench = Bench(home)
    yield bench
    bench.store.close()
