"""`gatepost policy rehearse` as people read it, and the offer of it before TLS rises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench
from tests.control.ops.test_policy import FINGERPRINT, STRICT
from tests.control.ops.test_policy import recorded as recorded
from tests.control.shell.running import gatepost

from gatepost.control.shell import client, offer
from gatepost.core.errors import Exit


class At:
    """The machine's clock, stopped."""

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


@pytest.fixture
def files(recorded: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GATEPOST_HOME", str(recorded.home.root))
    monkeypatch.setattr(client, "MachineClock", At)
    recorded.store.close()
    (tmp_path / "strict.yaml").write_text(STRICT)
    (tmp_path / "lax.yaml").write_text(CONTRACT_LIKE)
    return tmp_path


def test_it_reads_like_this(files: Path) -> None:
    said = gatepost("policy", "rehearse", str(files / "strict.yaml"))
    assert said.code == 0
    lines = said.out.splitlines()
    told = " ".join(said.out.split())
    assert told.startswith(f"Rehearsal of {files / 'strict.yaml'} over the records of 14 days, 20")
    assert ". Nothing was changed. Outgoing: 4 messages" in told
    assert "Outgoing: 4 messages" in lines
    assert "          4  delivered then, would fail" in lines
    assert "  partner.example: 3 messages would fail" in lines
    assert "    by destination_controls.default, required-verify" in lines
    assert f"      SHA-256 {FINGERPRINT}" in lines
    assert "    from the null sender (1)" in lines
    assert max(map(len, lines)) <= 80


def test_json_has_the_account(files: Path) -> None:
    found = json.loads(gatepost("policy", "rehearse", "--json", str(files / "strict.yaml")).out)
    assert set(found) == {
        "policy",
        "version",
        "days",
        "records",
        "outbound",
        "inbound",
        "by_today",
        "looked_up",
        "notes",
        "warnings",
    }


def test_without_a_terminal_nobody_is_asked(files: Path) -> None:
    said = gatepost("config", "apply", str(files / "strict.yaml"))
    assert said.code == 0
    assert "TLS is asked for more strictly in 1 place now; `gatepost policy rehearse " in said.err
    said = gatepost("config", "apply", str(files / "lax.yaml"))
    assert "policy rehearse" not in said.err


def test_at_a_terminal_it_is_offered(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "_asks", lambda: True)
    strict = str(files / "strict.yaml")
    said = gatepost("config", "apply", strict, stdin=b"y\nn\n")
    assert "default destination: tls preferred -> required-verify" in said.out
    # A long path is folded at its hyphens too.
    assert f"Rehearsalof{strict}over" in "".join(said.out.split())
    assert "would fail" in said.out
    assert (said.code, "nothing was committed" in said.err) == (Exit.REFUSED, True)
    assert "Version 3" not in said.out
    said = gatepost("config", "apply", "--pending", strict)
    assert "Rehearse it" not in said.out
    said = gatepost("config", "commit", stdin=b"y\ny\n")
    assert "Version 3 is stored" in said.out
    said = gatepost("config", "apply", str(files / "lax.yaml"))
    assert "Rehearse it" not in said.out
    said = gatepost("config", "apply", strict, stdin=b"n\n")
    assert "Version 5 is stored" in said.out
