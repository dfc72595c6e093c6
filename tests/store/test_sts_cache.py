"""Policies on disk: kept, read again, damaged, forgotten; and a cache that only reads."""

from __future__ import annotations

from pathlib import Path

from gatepost.store.sts_cache import CachedPolicy, StsCache

POLICY = CachedPolicy("1", 1_800_000_000.0, b"version: STSv1\n")


def test_a_policy_is_kept_and_forgotten(tmp_path: Path) -> None:
    cache = StsCache(tmp_path / "sts")
    assert cache.load("a.example") is None
    cache.save("a.example", POLICY)
    assert cache.load("a.example") == POLICY
    assert cache.load("b.example") is None
    cache.forget("a.example")
    assert cache.load("a.example") is None


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    cache = StsCache(tmp_path)
    cache.save("a.example", POLICY)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"{")
    assert cache.load("a.example") is None


def test_a_cache_that_only_reads_changes_nothing(tmp_path: Path) -> None:
    StsCache(tmp_path).save("a.example", POLICY)
    reading = StsCache(tmp_path, keeps=False)
    reading.save("b.example", POLICY)
    reading.save("a.example", CachedPolicy("2", 0.0, b"other"))
    reading.forget("a.example")
    assert reading.load("a.example") == POLICY
    assert len(list(tmp_path.iterdir())) == 1
