"""Every shard has one owner, however the number of workers changes."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.app.shards import assign_shards, shards_on_disk


@settings(max_examples=100)
@given(st.sets(st.integers(0, 200)), st.integers(1, 64))
def test_all_shards_have_exactly_one_owner_and_every_worker_one(found: set[int], workers: int) -> None:
    assigned = assign_shards(found, workers)
    flat = [shard for shards in assigned for shard in shards]
    assert len(assigned) == workers
    assert all(assigned)
    assert len(flat) == len(set(flat))
    assert found <= set(flat)
    assert len(flat) == max(len(found), workers)


def test_fewer_workers_share_the_shards_in_turn() -> None:
    assert assign_shards([0, 1, 2, 3], 2) == [(0, 2), (1, 3)]


def test_more_workers_get_new_shards() -> None:
    assert assign_shards([1], 3) == [(0,), (1,), (2,)]


def test_only_directories_with_a_number_are_shards(tmp_path: Path) -> None:
    for name in ("0", "12", "x", "1.old"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").write_text("")
    assert shards_on_disk(tmp_path) == [0, 12]
