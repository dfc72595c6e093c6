"""Profiles in and out of the store, and the status that a list shows."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority

from gatepost.certs.findings import profile_findings
from gatepost.certs.inventory import Entry, Inventory, _Memo, keep_profile, stored_text, with_profile
from gatepost.certs.pages import page
from gatepost.certs.times import iso_time
from gatepost.pki.anchors import Anchors
from gatepost.pki.keys import load_private_key
from gatepost.pki.profile import Origin, make_profile
from gatepost.store.config_store import ConfigStore, Content, StoredProfile
from gatepost.store.secrets import LocalKeeper, MasterKey

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
CA = TestAuthority("Example CA", at=AT)
KEY = MasterKey(bytes(32))
DOCUMENT = {"listeners": [{"name": "A", "interface": "In", "certificate": "gw"}]}


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield store
    store.close()


def keep(store: ConfigStore, issued: Issued, name: str = "gw") -> Content:
    leaf, *others = issued.chain_der
    key = load_private_key(issued.key_pem)
    profile = make_profile(name, leaf, key, intermediates=tuple(others), origin=Origin.IMPORTED, created=NOW)
    revision = asyncio.run(keep_profile(store, LocalKeeper(KEY), profile, Clock()))
    return with_profile(Content(DOCUMENT), name, revision)


def entry(store: ConfigStore, issued: Issued) -> Entry:
    (found,) = Inventory(store).entries(keep(store, issued), NOW, anchors=Anchors.from_pem(CA.root_pem))
    return found


def details(store: ConfigStore, found: Entry) -> dict[str, object]:
    stored = store.profile(found.facts.revision)
    assert stored is not None
    return page(found, stored)


def test_the_key_is_sealed_to_name_and_revision_and_in_no_other_column(store: ConfigStore) -> None:
    issued = CA.issue(["mx.example"])
    content = keep(store, issued)
    stored = store.profile(content.profiles["gw"])
    assert stored is not None
    assert KEY.open("gw", stored.revision, stored.sealed) == load_and_dump(issued)
    assert "PRIVATE" not in json.dumps(stored.record) + stored.chain


def load_and_dump(issued: Issued) -> bytes:
    from gatepost.pki.keys import key_pem

    return key_pem(load_private_key(issued.key_pem)).reveal()


def test_the_json_forms_can_be_written_and_hold_no_key(store: ConfigStore) -> None:
    found = entry(store, CA.issue(["mx.example"]))
    shown = details(store, found)
    text = json.dumps(shown)
    assert found.document.items() <= shown.items()
    assert shown["private_key"] is True
    assert "BEGIN" not in text
    assert found.document["used_by"] == ["listener A"]


@pytest.mark.parametrize(
    ("issued", "status"),
    [
        (CA.issue(["mx.example"]), "valid"),
        (CA.issue(["mx.example"], expired=True), "expired"),
        (CA.issue(["mx.example"], start=AT - 80 * DAY, end=AT + 3 * DAY), "expires-soon"),
        (TestAuthority("Other", at=AT).issue(["mx.example"]), "missing-intermediate"),
    ],
)
def test_the_status_is_what_matters_most(store: ConfigStore, issued: Issued, status: str) -> None:
    assert entry(store, issued).status == status


def test_a_stored_profile_that_cannot_be_read_is_shown_as_such(store: ConfigStore) -> None:
    revision = store.reserve_revision("gw", NOW)
    store.put_profile(StoredProfile(revision, "gw", NOW, "", {"name": "gw"}, b""))
    (found,) = Inventory(store).entries(Content(DOCUMENT, {"gw": revision}), NOW, anchors=Anchors())
    assert found.status == "malformed"
    assert details(store, found)["private_key"] is False
    assert "unreadable" in stored_text(store, revision)


def test_two_revisions_are_told_apart_in_a_few_words(store: ConfigStore) -> None:
    texts = [stored_text(store, keep(store, CA.issue(["mx.example"])).profiles["gw"]) for _ in range(2)]
    assert texts[0] != texts[1]
    assert all(text.startswith("CN=mx.example, until 2027-04-15, SHA-256 ") for text in texts)


def test_times_are_iso_utc() -> None:
    assert iso_time(NOW) == "2027-01-15T08:00:00Z"


def test_what_was_found_is_remembered_until_a_date_passes_or_something_changes(
    store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    def findings(*values: Any, **choices: Any) -> list[Any]:
        looked.append(values[3])
        return profile_findings(*values, **choices)

    monkeypatch.setattr("gatepost.certs.inventory.profile_findings", findings)
    content = keep(store, CA.issue(["mx.example"]))
    inventory, roots = Inventory(store), Anchors.from_pem(CA.root_pem)

    def status(at: float, anchors: Anchors = roots, content: Content = content) -> tuple[str, int | None]:
        (found,) = inventory.entries(content, at, anchors=anchors)
        return found.status, found.days_left

    assert status(NOW) == ("valid", 90)
    assert status(NOW + 1) == ("valid", 89)  # the day count is of now, the judge was not asked again
    assert looked == [NOW]
    assert status(NOW + 1, Anchors())[0] == "missing-intermediate"
    assert status(NOW + 91 * 86_400) == ("expired", -1)
    assert status(NOW)[0] == "valid"  # a clock that goes back
    status(NOW, roots, Content({}, content.profiles))  # another use, other findings
    assert len(looked) == 5


def test_the_memory_is_bounded() -> None:
    memo = _Memo[int, str](3)
    for number in range(10):
        memo.put(number, str(number))
    assert [memo.get(number) for number in (6, 7, 9)] == [None, "7", "9"]
    memo.put(7, "again")
    memo.put(10, "10")
    assert [memo.get(number) for number in (7, 8, 10)] == ["again", None, "10"]
