"""The first moment of a home, and the check of the master key at every later one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gatepost.config.check import check
from gatepost.config.load import load_plain
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.beginning import Beginning, begin, take_first_passphrase
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.payload import open_payload, used_profiles, version_payload
from gatepost.store.secrets import MasterKey, read_master_key
from gatepost.store.users import hash_passphrase, new_passphrase, verify_passphrase

FIRST = Beginning({"system": {"hostname": "gw.example"}}, "chain", {"origin": "demo"}, b"key")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.initialise({})
    return home


def test_version_1_has_the_document_the_demo_profile_and_the_administrator(home: Home) -> None:
    store, key = ConfigStore.open(home.config_db), read_master_key(home, {})
    begin(home, store, key, 9.0, FIRST)
    version = store.latest()
    assert version is not None
    assert (version.number, version.content.document) == (1, FIRST.document)
    profile = store.profile(version.content.profiles["Demo"])
    assert profile is not None
    assert key.open("Demo", profile.revision, profile.sealed) == b"key"
    passphrase = take_first_passphrase(home, key)
    assert verify_passphrase(version.content.users["admin"], passphrase)


def test_the_pass_phrase_is_shown_once_and_nowhere_in_clear(home: Home) -> None:
    store, key = ConfigStore.open(home.config_db), read_master_key(home, {})
    begin(home, store, key, 9.0, FIRST)
    files = [path.read_bytes() for path in home.root.rglob("*") if path.is_file()]
    passphrase = take_first_passphrase(home, key)
    assert passphrase
    assert not any(passphrase.encode() in content for content in files)
    assert take_first_passphrase(home, key) == ""


def test_a_second_beginning_changes_nothing(home: Home) -> None:
    store, key = ConfigStore.open(home.config_db), read_master_key(home, {})
    begin(home, store, key, 9.0, FIRST)
    before = store.latest()
    begin(home, store, key, 10.0, FIRST)
    assert store.latest() == before


def test_another_master_key_is_refused_with_what_is_lost(home: Home) -> None:
    store = ConfigStore.open(home.config_db)
    begin(home, store, read_master_key(home, {}), 9.0, FIRST)
    with pytest.raises(OperatorError, match="Demo") as refusal:
        begin(home, store, MasterKey(bytes(32)), 10.0, FIRST)
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION


def test_pass_phrases_differ_and_only_the_right_one_is_taken() -> None:
    one, two = new_passphrase(), new_passphrase()
    assert one != two
    assert len(one) == 29
    hashed = hash_passphrase(one)
    assert hashed.startswith("$argon2id$")
    assert verify_passphrase(hashed, one)
    assert not verify_passphrase(hashed, two)
    assert not verify_passphrase("no hash", one)


def test_the_defaults_are_a_sound_configuration_with_a_certificate_of_their_own(home: Home) -> None:
    store, key = ConfigStore.open(home.config_db), read_master_key(home, {})
    begin(home, store, key, 1_800_000_000.0)
    version = store.latest()
    assert version is not None
    document = load_plain(version.content.document)
    assert not [problem for problem in check(document, {"Demo"}, date(2027, 1, 1)) if not problem.warning]
    assert used_profiles(version.content.document) == {"Demo"}
    payload = open_payload(version_payload(store, version), key, {"Demo"})
    demo = payload["profiles"]["Demo"]
    assert "BEGIN CERTIFICATE" in demo["chains"][0]
    assert "PRIVATE KEY" in demo["keys"][0]
