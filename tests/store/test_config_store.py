"""Versions, candidates and certificates, and the compare-and-commit between two administrators."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import apsw
import pytest

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.config_store import ConfigStore, Content, StaleBase, StoredProfile, seal_profile
from gatepost.store.payload import open_payload, used_profiles, version_payload
from gatepost.store.secrets import LocalKeeper, MasterKey

KEY = MasterKey(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.db"


@pytest.fixture
def store(path: Path) -> ConfigStore:
    return ConfigStore.open(path)


def add(store: ConfigStore, name: str, key: bytes = b"the key") -> int:
    keeper = LocalKeeper(KEY)
    return asyncio.run(
        seal_profile(store, keeper, name, f"chain of {name}", {"origin": "x"}, key, lambda: 5.0)
    )


def test_a_new_store_has_no_version(store: ConfigStore) -> None:
    assert (store.latest_number(), store.latest(), store.history()) == (0, None, [])


def test_the_file_is_private(store: ConfigStore, path: Path) -> None:
    store.put_meta("a", b"b")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_version_keeps_all_that_a_rollback_brings_back(store: ConfigStore, path: Path) -> None:
    revision = add(store, "gw")
    content = Content({"listeners": [1]}, {"gw": revision}, "PEM", {"admin": "hash"})
    assert store.commit(0, content, "local:0", "first", 10.0) == 1
    store.close()
    again = ConfigStore.open(path)
    found = again.version(1)
    assert found is not None
    assert (found.content, found.author, found.comment, found.at, found.base) == (
        content,
        "local:0",
        "first",
        10.0,
        0,
    )
    assert again.latest() == found
    assert again.version(2) is None


def test_the_history_is_newest_first(store: ConfigStore) -> None:
    for number in range(3):
        store.commit(number, Content({}), f"local:{number}", "", float(number))
    assert [(info.number, info.author) for info in store.history(2)] == [(3, "local:2"), (2, "local:1")]


def test_who_commits_on_an_old_base_is_told_and_loses_nothing(store: ConfigStore) -> None:
    store.commit(0, Content({}), "a", "", 1.0)
    store.put_candidate("b", 1, Content({"b": 1}), 2.0)
    store.commit(1, Content({"a": 1}), "a", "", 3.0)
    with pytest.raises(StaleBase) as stale:
        store.commit(1, Content({"b": 1}), "b", "", 4.0)
    assert (stale.value.base, stale.value.latest) == (1, 2)
    assert store.latest_number() == 2
    candidate = store.candidate("b")
    assert candidate is not None
    assert (candidate.base, candidate.content.document) == (1, {"b": 1})


def test_a_commit_ends_the_authors_candidate_only(store: ConfigStore) -> None:
    store.put_candidate("a", 0, Content({"a": 1}), 1.0)
    store.put_candidate("b", 0, Content({"b": 1}), 1.0)
    store.commit(0, Content({"a": 1}), "a", "", 2.0)
    assert [candidate.author for candidate in store.candidates()] == ["b"]
    assert store.clear_candidate("b")
    assert not store.clear_candidate("b")


def test_a_profile_must_exist_under_its_name(store: ConfigStore) -> None:
    revision = add(store, "gw")
    for profiles in ({"gw": revision + 1}, {"other": revision}):
        with pytest.raises(LookupError):
            store.commit(0, Content({}, profiles), "a", "", 1.0)
        with pytest.raises(LookupError):
            store.put_candidate("a", 0, Content({}, profiles), 1.0)
    assert store.latest_number() == 0


def test_a_revision_in_use_is_never_changed(store: ConfigStore) -> None:
    revision = add(store, "gw")
    store.commit(0, Content({}, {"gw": revision}), "a", "", 1.0)
    with pytest.raises(ValueError, match="in use"):
        store.put_profile(StoredProfile(revision, "gw", 1.0, "other", {}, b""))
    found = store.profile(revision)
    assert found is not None
    assert found.chain == "chain of gw"


def test_keys_lie_sealed_and_bound_to_their_revision(store: ConfigStore, path: Path) -> None:
    revision = add(store, "gw", b"-----the private key-----")
    profile = store.profile(revision)
    assert profile is not None
    assert KEY.open("gw", revision, profile.sealed) == b"-----the private key-----"
    store.close()
    assert not any(b"the private key" in file.read_bytes() for file in path.parent.iterdir())
    assert "sealed" not in repr(profile)


def test_revisions_are_never_used_twice(store: ConfigStore) -> None:
    first = add(store, "gw")
    store.prune()
    assert add(store, "gw") > first


def test_pruning_keeps_what_versions_and_candidates_refer_to(store: ConfigStore) -> None:
    old, new, pending, orphan = (add(store, "gw") for _ in range(4))
    store.commit(0, Content({}, {"gw": old}), "a", "", 1.0)
    store.commit(1, Content({}, {"gw": new}), "a", "", 2.0)
    store.put_candidate("b", 2, Content({}, {"gw": pending}), 3.0)
    assert store.prune() == 1
    assert [profile.revision for profile in store.revisions("gw")] == [pending, new, old]
    assert store.profile(orphan) is None


def test_the_names_that_a_lost_key_costs(store: ConfigStore) -> None:
    profiles = {"gw": add(store, "gw"), "Demo": add(store, "Demo"), "public": add(store, "public", b"")}
    store.commit(0, Content({}, profiles), "a", "", 1.0)
    assert store.sealed_names() == ["Demo", "gw"]


def test_a_store_of_a_newer_version_is_refused(store: ConfigStore, path: Path) -> None:
    store.close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(OperatorError, match="newer") as refusal:
        ConfigStore.open(path)
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION


def test_a_commit_is_flushed(store: ConfigStore) -> None:
    assert store._db.pragma("synchronous") == 2
    assert store._db.pragma("journal_mode") == "wal"


def pem(text: str) -> bytes:
    return f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n".encode()


def payload_store(store: ConfigStore) -> ConfigStore:
    document = {
        "listeners": [{"certificate": "gw"}, {"certificate": "Demo"}],
        "interfaces": [{"https": {"certificate": "web"}}],
        "destination_controls": {"global": {"certificate": "client"}},
        "certificate_authorities": {"system": False, "custom": True},
    }
    profiles = {name: add(store, name, pem(name)) for name in ("gw", "Demo", "web", "client")}
    store.commit(0, Content(document, profiles, "AUTHORITIES"), "a", "c", 1.0)
    return store


def test_a_worker_gets_the_keys_that_mail_uses_and_no_envelope(store: ConfigStore) -> None:
    latest = payload_store(store).latest()
    assert latest is not None
    sealed = version_payload(store, latest)
    opened = open_payload(sealed, KEY, used_profiles(sealed["document"]))
    keys = {name: profile.get("keys") for name, profile in opened["profiles"].items()}
    assert keys == {
        "gw": [pem("gw").decode()],
        "Demo": [pem("Demo").decode()],
        "client": [pem("client").decode()],
        "web": None,
    }
    assert all("sealed" not in profile for profile in opened["profiles"].values())
    assert opened["authorities"] == {"system": False, "custom_pem": "AUTHORITIES"}
    assert (opened["version"], opened["author"], opened["comment"]) == (1, "a", "c")


def test_mail_uses_the_certificates_of_names_and_the_default_one_where_none_is_named() -> None:
    sni = [{"name": "mx2.example.net", "certificate": "other"}]
    listeners = [{"name": "A", "certificate": "gw", "sni": sni}]
    client = {"global": {"certificate": "client"}}
    link = {"certificate": "directory"}
    assert used_profiles({"listeners": listeners, "destination_controls": client, "ldap": link}) == {
        "gw",
        "other",
        "client",
    }
    assert used_profiles({"listeners": listeners}) == {"gw", "other", "Demo"}
    assert used_profiles({"listeners": [{"name": "A"}], "destination_controls": client}) == {"Demo", "client"}


def test_keys_that_do_not_open_are_all_named(store: ConfigStore) -> None:
    latest = payload_store(store).latest()
    assert latest is not None
    with pytest.raises(OperatorError, match="Demo, gw"):
        open_payload(version_payload(store, latest), MasterKey(bytes(32)), {"gw", "Demo"})
