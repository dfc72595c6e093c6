"""Envelopes: what opens, what does not, and what is said when the master key is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home
from gatepost.store.secrets import MasterKey, SealBroken, read_master_key

KEY = MasterKey(bytes(range(32)))


@settings(max_examples=50)
@given(st.text(), st.integers(0, 2**64 - 1), st.binary(max_size=3000))
def test_what_is_sealed_opens_again(name: str, revision: int, secret: bytes) -> None:
    assert KEY.open(name, revision, KEY.seal(name, revision, secret)) == secret


def test_an_envelope_is_bound_to_its_name_and_revision() -> None:
    sealed = KEY.seal("gw", 7, b"secret")
    for name, revision in (("gw2", 7), ("gw", 8), ("g", 7)):
        with pytest.raises(SealBroken):
            KEY.open(name, revision, sealed)


def test_another_master_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        MasterKey(bytes(32)).open("gw", 7, KEY.seal("gw", 7, b"secret"))


def test_no_changed_or_shortened_envelope_opens() -> None:
    sealed = KEY.seal("gw", 7, b"secret")
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(SealBroken):
            KEY.open("gw", 7, bytes(changed))
        with pytest.raises(SealBroken):
            KEY.open("gw", 7, sealed[:index])


def test_sealing_twice_gives_different_envelopes_without_the_secret() -> None:
    one, two = KEY.seal("gw", 7, b"secret"), KEY.seal("gw", 7, b"secret")
    assert one != two
    assert b"secret" not in one


def test_the_key_does_not_show_itself() -> None:
    assert repr(KEY) == "MasterKey(…)"
    assert not hasattr(KEY, "__dict__")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.initialise({})
    return home


def test_the_key_of_the_home_is_read(home: Home) -> None:
    sealed = MasterKey(home.master_key.read_bytes()).seal("gw", 1, b"secret")
    assert read_master_key(home, {}).open("gw", 1, sealed) == b"secret"


def test_a_credential_overrides_the_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "gatepost-master-key").write_bytes(bytes(range(32)))
    key = read_master_key(home, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert key.open("gw", 1, KEY.seal("gw", 1, b"secret")) == b"secret"


@pytest.mark.parametrize("content", [None, b"", bytes(31), bytes(33)])
def test_a_lost_key_says_what_is_lost_with_it(home: Home, content: bytes | None) -> None:
    home.master_key.unlink()
    if content is not None:
        home.master_key.write_bytes(content)
    with pytest.raises(OperatorError, match="Demo, gw") as refusal:
        read_master_key(home, {}, ["Demo", "gw"])
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION
    assert "backup" in refusal.value.hint
