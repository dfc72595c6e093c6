"""The home: its layout, its lock, and whose files are in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home, Owner, credential_path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
OTHER = 12345


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.initialise({})
    return home


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own cannot be)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_empty_home_gets_the_layout_of_the_contract(home: Home) -> None:
    names = {path.relative_to(home.root).as_posix() for path in home.root.rglob("*")}
    assert names == {"logs", "spool", "secrets", "secrets/master.key", "run", "serial"}
    assert [mode(path) for path in (home.secrets, home.run, home.spool)] == [0o700] * 3
    assert mode(home.master_key) == 0o600
    assert len(home.master_key.read_bytes()) == 32


def test_what_exists_is_not_changed(home: Home) -> None:
    key, serial = home.master_key.read_bytes(), home.serial()
    home.logs.chmod(0o755)
    home.initialise({})
    assert (home.master_key.read_bytes(), home.serial(), mode(home.logs)) == (key, serial, 0o755)


def test_a_private_directory_that_was_opened_is_closed_again(home: Home) -> None:
    home.run.chmod(0o755)
    home.initialise({})
    assert mode(home.run) == 0o700


def test_installations_differ(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.initialise({})
    assert other.master_key.read_bytes() != home.master_key.read_bytes()
    assert other.serial() != home.serial()


def test_a_lost_master_key_is_not_replaced(home: Home) -> None:
    ConfigStore.open(home.config_db).close()
    home.master_key.unlink()
    home.initialise({})
    assert not home.master_key.exists()


def test_a_credential_stands_in_for_the_key(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert credential_path(environ) is None
    (credentials / "gatepost-master-key").write_bytes(bytes(32))
    home = Home(tmp_path / "home")
    home.initialise(environ)
    assert not home.master_key.exists()
    assert credential_path(environ) == credentials / "gatepost-master-key"


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="file/home"):
        Home(tmp_path / "file" / "home").initialise({})


@pytest.mark.parametrize(
    ("given", "environ", "uid", "expected"),
    [
        ("/a", {"GATEPOST_HOME": "/b"}, 0, "/a"),
        (None, {"GATEPOST_HOME": "/b"}, 0, "/b"),
        (None, {"GATEPOST_HOME": ""}, 0, "/var/lib/gatepost"),
        (None, {"HOME": "/home/u"}, 1000, "/home/u/.local/share/gatepost"),
    ],
)
def test_which_home_a_command_means(
    given: str | None, environ: dict[str, str], uid: int, expected: str
) -> None:
    assert Home.locate(given, environ, uid).root == Path(expected)


def test_a_second_lock_is_refused_and_says_who_has_it(home: Home) -> None:
    with home.lock("gatepost start"):
        with pytest.raises(OperatorError) as refusal:
            home.lock("gatepost config apply")
        assert refusal.value.code is Exit.TRY_AGAIN
        assert f"gatepost start (process {os.getpid()})" in refusal.value.message
    home.lock("again").release()


def test_a_killed_holder_leaves_no_lock(home: Home) -> None:
    script = (
        "import os, sys; from pathlib import Path; from gatepost.store.home import Home\n"
        "lock = Home(Path(sys.argv[1])).lock('the dead'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(home.root)], check=False).returncode == -9
    home.lock("the living").release()


@as_root
def test_root_leaves_files_of_the_owner_only(public_path: Path) -> None:
    home = Home(public_path / "home")
    home.root.mkdir()
    os.chown(home.root, OTHER, OTHER)
    home.initialise({})
    home.lock("x").release()
    with home.as_owner():
        ConfigStore.open(home.config_db).close()
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in home.root.rglob("*")}
    assert owners == {(OTHER, OTHER)}
    assert os.geteuid() == 0


@as_root
def test_a_new_home_goes_to_the_named_user(public_path: Path) -> None:
    home = Home(public_path / "deep" / "home")
    home.initialise({}, new_owner=Owner(0, 0, "root"))
    assert home.owner().uid == 0
    given = Home(public_path / "given")
    given.initialise({}, new_owner=Owner(OTHER, OTHER))
    assert given.owner() == Owner(OTHER, OTHER)
    assert given.master_key.stat().st_uid == OTHER


def test_an_unknown_user_is_a_wrong_use() -> None:
    with pytest.raises(OperatorError, match="no-such-user") as refusal:
        Owner.named("no-such-user")
    assert refusal.value.code is Exit.USAGE
