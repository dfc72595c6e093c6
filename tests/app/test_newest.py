"""Each commit is given to a job once, and again only where reading it failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gatepost.app import newest
from gatepost.app.newest import NewestConfiguration
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.store.config_store import ConfigStore, Content


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    made = ConfigStore.open(tmp_path / "config.db")
    yield made
    made.close()


def commit(store: ConfigStore, tls: str) -> int:
    document = {"destination_controls": {"default": {"tls": tls}}}
    return store.commit(store.latest_number(), Content(document), "test", "", 1e9)


def read_level(newest: NewestConfiguration) -> str:
    """The level of the version that is given; empty for none."""
    found = asyncio.run(newest.take_read())
    if found is None:
        return ""
    version, document = found
    assert version.content.document["destination_controls"]["default"]["tls"] == (
        document.destination_controls.default.tls
    )
    return document.destination_controls.default.tls


def test_nothing_is_given_before_the_first_commit(store: ConfigStore) -> None:
    one = NewestConfiguration(store)
    assert one.take() is None
    assert read_level(one) == ""


def test_each_commit_is_given_once(store: ConfigStore) -> None:
    one, other = NewestConfiguration(store), NewestConfiguration(store)
    commit(store, "preferred")
    assert read_level(one) == "preferred"
    assert read_level(one) == ""
    commit(store, "required")
    number = commit(store, "required-verify")
    assert read_level(one) == "required-verify"
    taken = other.take()
    assert taken is not None
    assert taken.number == number
    assert other.take() is None


def test_what_could_not_be_read_is_given_again(store: ConfigStore, monkeypatch: pytest.MonkeyPatch) -> None:
    one = NewestConfiguration(store)
    commit(store, "required")
    broken = [True]

    def load(plain: Mapping[str, Any]) -> Document:
        if broken:
            broken.clear()
            raise ValueError("not now")
        return load_plain(plain)

    monkeypatch.setattr(newest, "load_plain", load)
    with pytest.raises(ValueError, match="not now"):
        read_level(one)
    assert read_level(one) == "required"
