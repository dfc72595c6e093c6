"""Identifiers: never the same twice, whatever was on disk when the power went."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from gatepost.core.errors import OperatorError
from gatepost.core.ids import BLOCK, IdKind
from gatepost.store.ids import AHEAD, SLOT, IdSource


def test_blocks_follow_each_other_and_kinds_are_apart(tmp_path: Path) -> None:
    source = IdSource(tmp_path / "ids")
    firsts = [source.grant(IdKind.MID) for _ in range(200)]
    assert firsts == list(range(1, 1 + 200 * BLOCK, BLOCK))
    assert source.grant(IdKind.ICID) == 1
    source.close()


def test_a_restart_goes_on_above_everything_granted(tmp_path: Path) -> None:
    last = 0
    for _ in range(5):
        source = IdSource(tmp_path / "ids")
        first = source.grant(IdKind.MID)
        assert first > last
        last = first + BLOCK - 1
        source.close()
    assert last <= 5 * AHEAD


def test_one_flush_serves_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = IdSource(tmp_path / "ids")
    flushes = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: flushes.append(fd) or real(fd))
    for _ in range(128):
        source.grant(IdKind.DCID)
    assert len(flushes) == 2
    source.close()


@pytest.mark.parametrize("seed", range(5))
def test_no_cut_of_the_power_makes_an_identifier_come_twice(tmp_path: Path, seed: int) -> None:
    """The slot being written is torn anywhere, or half of its sectors are old; the other one stands."""
    rng = random.Random(seed)
    path = tmp_path / "ids"
    granted: set[int] = set()
    for _ in range(15):
        source = IdSource(path)
        for _ in range(rng.randrange(1, 100)):
            first = source.grant(IdKind.MID)
            assert first not in granted
            granted.add(first)
        durable = path.read_bytes()
        source._write_ahead(IdKind.MID, source._mark[IdKind.MID] + AHEAD)  # under way when the power goes
        after = path.read_bytes()
        source.close()
        cut = rng.randrange(len(after) + 1)
        sectors = [rng.choice((after, durable))[at : at + 16] for at in range(0, len(after), 16)]
        path.write_bytes(
            rng.choice([after[:cut] + durable[cut:], durable[:cut] + after[cut:], b"".join(sectors)])
        )


def test_a_floor_raises_and_never_lowers(tmp_path: Path) -> None:
    IdSource(tmp_path / "ids", floor=5000).close()
    source = IdSource(tmp_path / "ids")
    assert source.grant(IdKind.MID) == 5000
    source.close()
    source = IdSource(tmp_path / "ids", floor=1_000_000)
    assert source.grant(IdKind.MID) == 1_000_000
    source.close()
    source = IdSource(tmp_path / "ids", floor=1)
    assert source.grant(IdKind.MID) > 1_000_000
    source.close()


def test_a_damaged_file_grants_nothing(tmp_path: Path) -> None:
    for content in (b"", b"x" * 2 * SLOT, bytes(2 * SLOT)):
        (tmp_path / "ids").write_bytes(content)
        with pytest.raises(OperatorError, match="damaged"):
            IdSource(tmp_path / "ids")


def test_after_a_failed_flush_nothing_is_granted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = IdSource(tmp_path / "ids")

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OperatorError, match="cannot be granted"):
            source.grant(IdKind.MID)
    with pytest.raises(OperatorError, match="cannot be granted"):
        source.grant(IdKind.MID)
    source.close()


def test_an_unfinished_first_version_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "ids.new").write_bytes(b"torn")
    source = IdSource(tmp_path / "ids")
    assert source.grant(IdKind.MID) == 1
    source.close()
    assert os.listdir(tmp_path) == ["ids"]
