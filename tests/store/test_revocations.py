"""Revocation lists beside the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.ca import TestAuthority

from gatepost.pki.revocation import read_list
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.payload import sealed_payload
from gatepost.store.revocations import (
    Fetching,
    KeptList,
    all_told,
    configured_sources,
    counting_lists,
    drop_list,
    fetching,
    keep_list,
    kept_list,
    kept_lists,
    known_sources,
    payload_lists,
    put_fetching,
    untold,
)

ONE, TWO, FILE = "http://crl.example/one", "http://crl.example/two", "file:abc"
CA = TestAuthority("Kept CA")
DOCUMENT = {"certificate_authorities": {"crl": [ONE, {"url": TWO, "name": "Two"}]}}


def kept(source: str, authority: TestAuthority = CA) -> KeptList:
    der = authority.revocation_list()
    return KeptList(source, read_list(der).facts, "ab", 5.0, len(der), der)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    opened = ConfigStore.open(tmp_path / "config.db")
    yield opened
    opened.close()


def test_a_list_comes_back_as_it_was_after_a_restart(tmp_path: Path) -> None:
    store = ConfigStore.open(tmp_path / "config.db")
    one = kept(ONE)
    keep_list(store, one, told=True)
    store.close()
    again = ConfigStore.open(tmp_path / "config.db")
    assert kept_list(again, ONE) == one
    assert kept_lists(again)[ONE].facts == one.facts
    assert not kept_lists(again)[ONE].der
    assert kept_list(again, TWO) is None
    again.close()


def test_the_document_and_the_files_decide_what_counts(store: ConfigStore) -> None:
    for source in (FILE, TWO, "http://crl.example/gone", ONE):
        keep_list(store, kept(source), told=True)
    assert configured_sources(DOCUMENT) == [ONE, TWO]
    assert [one.source for one in counting_lists(store, DOCUMENT)] == [ONE, TWO, FILE]
    assert [one.source for one in counting_lists(store, {})] == [FILE]
    assert known_sources(store) == {ONE, TWO, FILE, "http://crl.example/gone"}


def test_the_payload_has_the_lists_that_count_and_a_new_one_in_its_place(store: ConfigStore) -> None:
    keep_list(store, kept(ONE), told=True)
    assert sealed_payload(store, Content(DOCUMENT), 1, "", "")["crls"] == payload_lists(store, DOCUMENT)
    assert len(payload_lists(store, DOCUMENT)) == 1
    new = [kept(ONE, TestAuthority("New CA")), kept(FILE), kept("http://crl.example/stranger")]
    assert len(payload_lists(store, DOCUMENT, new)) == 2
    assert payload_lists(store, DOCUMENT, new) != payload_lists(store, DOCUMENT)
    assert payload_lists(store, {}) == []


def test_what_the_workers_were_not_told_is_remembered(store: ConfigStore) -> None:
    keep_list(store, kept(ONE), told=True)
    assert not untold(store)
    keep_list(store, kept(ONE), told=False)
    assert untold(store)
    all_told(store)
    assert not untold(store)
    put_fetching(store, ONE, Fetching(tried=7.0, failures=2, reason="connection refused"))
    assert fetching(store, ONE).failures == 2
    drop_list(store, ONE, told=False)
    assert untold(store)
    assert known_sources(store) == set()
    assert fetching(store, ONE) == Fetching()
