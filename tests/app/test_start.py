"""What the person who starts the gateway is shown."""

from __future__ import annotations

import os
from pathlib import Path

from gatepost.app.start import show_passphrase
from gatepost.store.beginning import Beginning, begin
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import read_master_key


def test_the_pass_phrase_is_shown_once_and_never_to_a_journal(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.initialise({})
    key = read_master_key(home, {})
    begin(home, ConfigStore.open(home.config_db), key, 1.0, Beginning({}, "", {}, b"key"))
    output = os.fstat(1)
    said: list[str] = []
    show_passphrase(home, key, {"JOURNAL_STREAM": f"{output.st_dev}:{output.st_ino}"}, said.append)
    assert said == []
    show_passphrase(home, key, {"JOURNAL_STREAM": "1:1"}, said.append)
    assert "`admin`" in said[0]
    assert "none exists yet" in said[1]
    show_passphrase(home, key, {}, said.append)
    assert len(said) == 2
