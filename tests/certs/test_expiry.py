"""What is watched: served certificates and their intermediates, authorities, lists; who renews itself; what was told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority, self_signed

from gatepost.certs.expiry import (
    AUTHORITY,
    CERTIFICATE,
    INTERMEDIATE,
    META,
    REVOCATION_LIST,
    Item,
    Told,
    Watch,
    life_state,
    next_mark,
    summary,
)
from gatepost.certs.inventory import keep_profile
from gatepost.pki.keys import load_private_key
from gatepost.pki.profile import Origin, Pair, Profile, make_profile
from gatepost.pki.revocation import read_list
from gatepost.policy.expiry import DAY, Life, State
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.revocations import KeptList, keep_list

NOW = 1_800_000_000.0


def at(days: float) -> datetime:
    return datetime.fromtimestamp(NOW, UTC) + timedelta(days=days)


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


class PlainKeeper:
    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes:
        return secret

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes:
        return sealed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    it = ConfigStore.open(tmp_path / "config.db")
    yield it
    it.close()


def profile_of(name: str, issued: Issued, beside: Issued | None = None) -> Profile:
    leaf, *others = issued.chain_der
    made = make_profile(
        name,
        leaf,
        load_private_key(issued.key_pem),
        intermediates=tuple(others),
        origin=Origin.IMPORTED,
        created=NOW,
    )
    if beside is None:
        return made
    other = profile_of(name, beside)
    pair = Pair(other.certificate, other.intermediates, other.key, Origin.IMPORTED, NOW)
    values = {field: getattr(made, field) for field in made.__dataclass_fields__}
    return Profile(**{**values, "beside": pair})


def content(
    store: ConfigStore,
    profiles: Sequence[Profile],
    used: Sequence[str] = (),
    authorities: str = "",
    **sections: Any,
) -> Content:
    """A version with these profiles; the `used` ones are assigned to listeners."""
    revisions = {p.name: asyncio.run(keep_profile(store, PlainKeeper(), p, Clock())) for p in profiles}
    listeners = [
        {"name": f"L{number}", "interface": "I", "port": 25 + number, "certificate": name}
        for number, name in enumerate(used)
    ]
    document: Mapping[str, Any] = {"interfaces": [], "listeners": listeners, **sections}
    return Content(document, revisions, authorities)


def leaf(ca: TestAuthority, days: float = 3.0, name: str = "mx.example.net", **options: Any) -> Issued:
    return ca.issue([name], start=at(days - 398), end=at(days), **options)


def by_what(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.what, []).append(item)
    return found


def test_every_served_pair_and_its_intermediates_are_watched(store: ConfigStore) -> None:
    ca = TestAuthority(at=at(0)).intermediate("Sub CA")
    profile = profile_of("gw", leaf(ca, key="rsa2048"), leaf(ca, 60))
    found = by_what(Watch(store).items(content(store, [profile], ["gw"])))
    assert [item.name for item in found[CERTIFICATE]] == ["gw", "gw"]
    assert sorted(round((item.life.not_after - NOW) / DAY) for item in found[CERTIFICATE]) == [3, 60]
    (intermediate,) = found[INTERMEDIATE]  # both send the same
    assert intermediate.subject == "CN=Sub CA"
    assert all(item.used and not item.automatic for item in found[CERTIFICATE])


def test_an_intermediate_of_two_profiles_is_one_item_with_both_names(store: ConfigStore) -> None:
    ca = TestAuthority(at=at(0)).intermediate("Sub CA")
    profiles = [profile_of("a", leaf(ca)), profile_of("b", leaf(ca))]
    found = by_what(Watch(store).items(content(store, profiles, ["b"])))
    (intermediate,) = found[INTERMEDIATE]
    assert intermediate.name == "a, b"
    assert intermediate.used
    assert {item.name: item.used for item in found[CERTIFICATE]} == {"a": False, "b": True}


def test_only_used_leaves_the_others_unread(store: ConfigStore) -> None:
    ca = TestAuthority(at=at(0))
    profiles = [profile_of("a", leaf(ca)), profile_of("b", leaf(ca))]
    items = Watch(store).items(content(store, profiles, ["b"]), only_used=True)
    assert [item.name for item in items] == ["b"]


def test_the_custom_list_counts_while_it_is_on(store: ConfigStore) -> None:
    pem = TestAuthority("Partner CA", at=at(0)).root_pem.decode()
    off = content(store, [], authorities=pem)
    on = content(store, [], authorities=pem, certificate_authorities={"custom": True})
    assert by_what(Watch(store).items(off)).get(AUTHORITY) is None
    (root,) = by_what(Watch(store).items(on))[AUTHORITY]
    assert root.name == "Partner CA"


def test_a_profile_that_renews_itself_is_told_of_late_and_without_its_intermediates(
    store: ConfigStore,
) -> None:
    ca = TestAuthority(at=at(0)).intermediate("Sub CA")
    profile = profile_of("gw", ca.issue(["mx.example.net"], start=at(-40), end=at(20)))
    acme = {
        "directory": "https://acme.example/dir",
        "certificates": [{"name": "gw", "names": ["mx.example.net"]}],
    }
    automatic = content(store, [profile], ["gw"], acme=acme)
    (item,) = Watch(store).items(automatic)
    assert item.automatic
    assert item.life.earliest == pytest.approx(10 * DAY)  # half of the third of sixty days
    told = Told(store)
    assert told.due([item], NOW) == []
    (due,) = told.due([item], NOW + 11 * DAY)
    assert due.severity == "warning"
    idle = content(store, [profile], ["gw"], acme={**acme, "directory": ""})
    assert {item.what for item in Watch(store).items(idle)} == {CERTIFICATE, INTERMEDIATE}


def test_an_intermediate_that_ends_before_its_leaf_is_told_of_even_so(store: ConfigStore) -> None:
    ca = TestAuthority(at=at(0))
    sub = ca.intermediate("Old Sub", start=at(-300), end=at(4))
    profile = profile_of("gw", sub.issue(["mx.example.net"], start=at(-10), end=at(80)))
    acme = {
        "directory": "https://acme.example/dir",
        "certificates": [{"name": "gw", "names": ["mx.example.net"]}],
    }
    items = Watch(store).items(content(store, [profile], ["gw"], acme=acme))
    (due,) = Told(store).due(items, NOW)
    assert (due.item.what, due.severity) == (INTERMEDIATE, "critical")


def test_a_fetched_list_is_told_of_when_it_has_ended_and_one_from_a_file_before(store: ConfigStore) -> None:
    url = "https://crl.example/a.crl"
    for source, name in ((url, "Fetched CA"), ("file:1", "Filed CA")):
        found = read_list(TestAuthority(name, at=at(0)).revocation_list(end=at(0.5)))
        keep_list(store, KeptList(source, found.facts, NOW, len(found.der), found.der), told=True)
    watched = content(store, [], certificate_authorities={"crl": [url]})
    items = by_what(Watch(store).items(watched))[REVOCATION_LIST]
    assert [item.name for item in items] == [url, "CN=Filed CA"]
    assert [item.automatic for item in items] == [True, False]
    (due,) = Told(store).due(items, NOW)
    assert (due.item.name, due.severity) == ("CN=Filed CA", "critical")
    ended = Told(store).due(items, NOW + DAY)
    assert {one.item.name: one.expired for one in ended} == {url: True, "CN=Filed CA": True}


def test_each_mark_is_told_once_also_after_a_restart(store: ConfigStore) -> None:
    profile = profile_of("gw", leaf(TestAuthority(at=at(0)), 3))
    items = Watch(store).items(content(store, [profile], ["gw"]))
    told = Told(store)
    due = told.due(items, NOW)
    assert [(one.days, one.severity, one.expired) for one in due] == [(3, "critical", False)]
    assert told.due(items, NOW) == due  # not told before it is kept
    told.keep(due, items, NOW)
    assert Told(store).due(items, NOW + DAY / 2) == []
    (later,) = Told(store).due(items, NOW + 3.5 * DAY)
    assert (later.days, later.expired) == (0, True)


def test_what_nothing_uses_is_information_and_is_not_repeated_after_its_end(store: ConfigStore) -> None:
    profile = profile_of("old", leaf(TestAuthority(at=at(0)), 3))
    items = Watch(store).items(content(store, [profile]))
    told = Told(store)
    (due,) = told.due(items, NOW)
    assert due.severity == "information"
    told.keep([due], items, NOW)
    (ended,) = told.due(items, NOW + 4 * DAY)
    told.keep([ended], items, NOW + 4 * DAY)
    assert told.due(items, NOW + 10 * DAY) == []


def test_a_mark_outlives_a_rollback_and_is_forgotten_in_the_end(store: ConfigStore) -> None:
    profile = profile_of("gw", leaf(TestAuthority(at=at(0)), 3))
    items = Watch(store).items(content(store, [profile], ["gw"]))
    told = Told(store)
    told.keep(told.due(items, NOW), items, NOW)
    told.keep([], [], NOW + DAY / 4)  # the profile is gone for a moment
    assert told.due(items, NOW + DAY / 2) == []
    told.keep([], [], NOW + 50 * DAY)
    assert store.get_meta(META) == b"{}"


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"a": 1}', b'{"a": ["x", 1]}'])
def test_marks_that_cannot_be_read_are_none(store: ConfigStore, data: bytes) -> None:
    store.put_meta(META, data)
    assert Told(store).due([], NOW) == []


def test_the_summary_counts_what_is_used_and_names_the_soonest(store: ConfigStore) -> None:
    ca = TestAuthority(at=at(0))
    profiles = [profile_of("a", leaf(ca, 3)), profile_of("b", leaf(ca, 300)), profile_of("c", leaf(ca, -2))]
    found = summary(Watch(store).items(content(store, profiles, ["a", "b"])), NOW)
    assert (found["used"], found["expiring"], found["expired"]) == (2, 1, 0)
    assert found["soonest"]["name"] == "a"
    assert found["soonest"]["not_after"] == at(3).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert [item["name"] for item in found["telling"]] == ["a"]
    assert summary([], NOW) == {"used": 0, "expiring": 0, "expired": 0, "soonest": None, "telling": []}


def test_the_state_of_a_profile_is_measured_by_its_own_life() -> None:
    six = (NOW - 4.5 * DAY, NOW + 1.5 * DAY)
    acme = {"directory": "https://a/", "certificates": [{"name": "gw"}]}
    assert life_state("gw", {}, *six, NOW) is State.EXPIRING
    assert life_state("gw", {"acme": acme}, *six, NOW) is State.VALID
    assert life_state("gw", {"acme": acme}, NOW - 6 * DAY, NOW - 1, NOW) is State.EXPIRED


def test_the_next_mark_is_the_soonest_of_all() -> None:
    items = [
        Item(CERTIFICATE, ("a",), "", "1", Life(NOW - 300 * DAY, NOW + 100 * DAY)),
        Item(CERTIFICATE, ("b",), "", "2", Life(NOW - 300 * DAY, NOW + 30.5 * DAY)),
    ]
    assert next_mark(items, NOW) == pytest.approx(NOW + DAY / 2)
    assert next_mark([], NOW) == NOW + DAY


@pytest.mark.parametrize("name", ["a\r\nBcc: x", "a\0b", "%n" * 10, "<b>"])
def test_hostile_names_are_one_line_of_printable_text(store: ConfigStore, name: str) -> None:
    issued = self_signed([name], start=at(-10), end=at(1))
    items = Watch(store).items(content(store, [profile_of("gw", issued)], ["gw"]))
    assert all(item.subject.isprintable() and item.name.isprintable() for item in items)
