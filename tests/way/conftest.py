"""Tests of the way keep their spools in memory where the system has such a place: they test no disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    if not MEMORY.is_dir():
        yield tmp_path
        return
    directory = tempfile.mkdtemp(prefix="gatepost-way-", dir=MEMORY)
    yield Path(directory)
    shutil.rmtree(directory)
