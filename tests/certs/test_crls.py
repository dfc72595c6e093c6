"""Revocation lists: what is taken in, who may sign, when they are due, what is in force, and when they end."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority

from gatepost.certs.crls import (
    OwnRevocations,
    check_list,
    crls_in_force,
    expiring,
    known_authorities,
    own_authorities,
    trusted_pem,
    when_due,
)
from gatepost.config.authorities import RevocationSource
from gatepost.pki.errors import PkiError
from gatepost.pki.revocation import Crls, read_list
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.revocations import Fetching, KeptList, keep_list

AT = datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)
NOW = AT.timestamp()
CA = TestAuthority("Lists CA", at=AT)
URL = "http://crl.example/a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    opened = ConfigStore.open(tmp_path / "config.db")
    yield opened
    opened.close()


def kept(source: str = URL) -> KeptList:
    der = CA.revocation_list()
    return KeptList(source, read_list(der).facts, "", NOW, len(der), der)


def section(**values: Any) -> dict[str, Any]:
    return {"certificate_authorities": values}


# --- taking in ----------------------------------------------------------------------------------------


def test_a_known_authoritys_list_is_taken() -> None:
    namesake = TestAuthority("Lists CA", at=AT)
    known = known_authorities(namesake.root_pem + CA.root_pem)
    checked = check_list(CA.revocation_list(), known, NOW)
    assert checked.signer.der == CA.root_der
    assert checked.list.facts.issuer == "CN=Lists CA"


@pytest.mark.parametrize(
    ("known", "words"),
    [(b"", "not known here"), (TestAuthority("Lists CA", at=AT).root_pem, "signature")],
)
def test_a_strangers_list_is_refused(known: bytes, words: str) -> None:
    with pytest.raises(PkiError, match=words) as caught:
        check_list(CA.revocation_list(), known_authorities(known), NOW)
    assert caught.value.hint


def test_a_list_of_tomorrow_is_taken_and_one_of_next_week_is_not() -> None:
    known = known_authorities(CA.root_pem)
    begins = read_list(CA.revocation_list()).facts.this_update
    check_list(CA.revocation_list(), known, begins - 80_000)
    with pytest.raises(PkiError, match="in the future"):
        check_list(CA.revocation_list(), known, begins - 90_000)


def test_who_is_known_besides_the_systems_roots(store: ConfigStore) -> None:
    sub = CA.intermediate("Lists Sub CA")
    issued = sub.issue(["mx.example"])
    revision = store.reserve_revision("gw", NOW)
    stored = store.profile(revision)
    assert stored is not None
    store.put_profile(type(stored)(revision, "gw", NOW, issued.chain_pem.decode(), {}, b""))
    content = Content({}, {"gw": revision}, CA.root_pem.decode())
    pem = own_authorities(store, content)
    assert pem.encode() == CA.root_pem + issued.chain_pem[len(issued.leaf_pem) :]


# --- due ----------------------------------------------------------------------------------------------


def test_a_source_is_due_by_its_own_interval_and_the_lists_end() -> None:
    source = RevocationSource(url=URL, every="1h")
    assert when_due(source, Fetching(), None, NOW).at == NOW
    assert when_due(source, Fetching(NOW, NOW), kept(), NOW).at == NOW + 3_600
    assert when_due(source, Fetching(NOW, NOW, 1), kept(), NOW).at == NOW + 300
    assert when_due(source, Fetching(NOW, NOW, wanted=NOW), kept(), NOW).at == NOW


# --- in force -----------------------------------------------------------------------------------------


def test_the_lists_in_force_are_those_of_the_document(store: ConfigStore) -> None:
    keep_list(store, kept(), told=True)
    assert not crls_in_force(store, Content({})).lists
    warn = crls_in_force(store, Content(section(crl=[URL])))
    refuse = crls_in_force(store, Content(section(crl=[URL], crl_stale="refuse")))
    assert len(warn.lists) == len(refuse.lists) == 1
    assert warn.version != refuse.version


def test_what_ends(store: ConfigStore) -> None:
    keep_list(store, kept(), told=True)
    keep_list(store, kept("file:x"), told=True)
    content = Content(section(custom=True, crl=[URL]), {}, CA.root_pem.decode())
    items = [(item.what, item.name, item.fetched) for item in expiring(store, content)]
    assert items == [
        ("authority", "Lists CA", False),
        ("revocation list", URL, True),
        ("revocation list", "CN=Lists CA", False),
    ]
    assert expiring(store, content)[1].not_after == read_list(CA.revocation_list()).facts.next_update
    off = Content(section(custom=False), {}, CA.root_pem.decode())
    assert [item.what for item in expiring(store, off)] == ["revocation list"]


def test_which_roots_verify_is_what_the_document_says() -> None:
    content = Content(section(system=False, custom=True), {}, CA.root_pem.decode())
    assert trusted_pem(content).strip() == CA.root_pem.strip()
    assert not trusted_pem(Content(section(system=False), {}, CA.root_pem.decode())).strip()


def test_our_own_certificates_are_judged_by_the_lists_that_count(store: ConfigStore) -> None:
    own = OwnRevocations(store)
    content = Content(section(crl=[URL], crl_stale="refuse"))
    assert not own.crls(content).lists
    keep_list(store, kept(), told=True)
    first = own.crls(content)
    assert own.crls(content) is first
    assert first.version == Crls([one.der for one in first.lists]).version, "stale lists break none of ours"
    assert not own.crls(Content({})).lists
