"""What a process gives up, seen from inside and outside of one that did."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.app.hardening import Privileges, choose_user
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home, Owner

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users can reach (pytest's own cannot be)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def inside(script: str, *arguments: str) -> str:
    """Run a script in a process of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\nfrom gatepost.app.hardening import *\n{script}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_core_dumps_no_tracing_no_new_privileges() -> None:
    status = inside(
        "import resource\nprotect_memory()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), os.stat('/proc/self/environ').st_uid)\n"
        "print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')])"
    )
    assert "(0, 0) 0" in status
    assert "NoNewPrivs:\\t1" in status


def test_the_file_limit_is_raised_to_what_is_allowed() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    script = "import resource\nraise_file_limit()\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))"
    assert inside(script) == str((hard, hard))


def test_a_child_whose_parent_is_gone_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from gatepost.app.hardening import *; die_with_parent(1); print('alive')"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


@as_root
def test_capabilities_are_dropped_for_good() -> None:
    script = (
        "keep_capabilities(1 << CAP_NET_BIND_SERVICE)\nprint(capabilities())\n"
        "keep_capabilities(~0)\nprint(capabilities())\nkeep_capabilities(0)\nprint(capabilities())"
    )
    assert inside(script).split() == [str(1 << 10), str(1 << 10), "0"]


@as_root
def test_a_home_of_root_in_a_private_folder_stays_reachable(public_path: Path) -> None:
    home = public_path / "folder" / "home"
    home.mkdir(parents=True)
    script = (
        "from pathlib import Path\nfrom gatepost.store.home import Home\n"
        "drop_child_capabilities(Home(Path(sys.argv[1])))\nprint(capabilities(), os.listdir(sys.argv[1]))"
    )
    assert inside(script, str(home)) == "0 []"
    os.chown(home.parent, 12345, 12345)
    home.parent.chmod(0o700)
    assert inside(script, str(home)) == f"{1 << 1} []"


@as_root
def test_a_deep_path_is_reached_without_being_traceable(public_path: Path) -> None:
    os.chown(public_path, 12345, 12345)
    script = (
        "from pathlib import Path\nfrom gatepost.control.protocol import short_address\nimport socket\n"
        "capabilities()  # loads the binding while its files can be read\n"
        "os.setresgid(12345, 12345, 12345); os.setresuid(12345, 12345, 12345)\nprotect_memory()\n"
        "deep = Path(sys.argv[1]) / ('x' * 120)\ndeep.mkdir()\n"
        "with short_address(deep / 's') as address: socket.socket(socket.AF_UNIX).bind(address)\n"
        "print(os.listdir(deep))"
    )
    assert inside(script, str(public_path)) == "['s']"


@as_root
def test_whom_root_becomes(public_path: Path) -> None:
    home = Home(public_path)
    stays = choose_user(home, "")
    assert stays.owner.uid == 0
    assert "runs as root" in stays.warning
    named = choose_user(home, "nobody")
    assert (named.owner.name, named.warning) == ("nobody", "")
    os.chown(public_path, 12345, 12345)
    assert choose_user(home, "nobody") == Privileges(Owner(12345, 12345))


@as_root
def test_a_named_user_who_does_not_exist_is_refused(public_path: Path) -> None:
    with pytest.raises(OperatorError) as refusal:
        choose_user(Home(public_path), "no-such-user")
    assert refusal.value.code is Exit.USAGE
