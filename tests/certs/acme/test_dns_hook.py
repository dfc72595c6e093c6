"""The hook program: its arguments, its environment, its end, and what becomes of one that does not end."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest
from tests.certs.acme.kit import run

from gatepost.certs.acme.challenges import Dns01
from gatepost.certs.acme.dns_hook import DnsHook
from gatepost.certs.acme.errors import AcmeFailed

pytestmark = pytest.mark.slow

PROOF = Dns01("mx.example", "_acme-challenge.mx.example", "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM")


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def failure(hook: DnsHook) -> AcmeFailed:
    caught: list[AcmeFailed] = []

    async def main() -> None:
        with pytest.raises(AcmeFailed) as found:
            await hook.present(PROOF)
        caught.append(found.value)

    run(main)
    assert caught[0].text.isprintable()
    return caught[0]


def test_the_program_gets_action_name_and_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/secrets")
    out = tmp_path / "out"
    hook = DnsHook(
        script(tmp_path, f'echo "$# $1 $2 $3" >> {out}; env | sort >> {out}; pwd >> {out}; cat >> {out}'),
        environment={"DNS_PROVIDER": "example"},
    )

    async def main() -> None:
        await hook.present(PROOF)
        await hook.withdraw(PROOF)

    run(main)
    lines = out.read_text().splitlines()
    assert f"3 present {PROOF.record} {PROOF.value}" in lines
    assert f"3 withdraw {PROOF.record} {PROOF.value}" in lines
    for line in (
        "DNS_PROVIDER=example",
        "GATEPOST_ACTION=withdraw",
        "GATEPOST_NAME=mx.example",
        f"GATEPOST_RECORD={PROOF.record}",
        f"GATEPOST_VALUE={PROOF.value}",
        "/",
    ):
        assert line in lines
    assert not any(line.startswith("CREDENTIALS") for line in lines)


def test_a_failure_is_told_with_the_last_line(tmp_path: Path) -> None:
    hook = DnsHook(script(tmp_path, "echo begin; printf 'no such zone: \\033[31mexample\\n' >&2; exit 3"))
    found = failure(hook)
    assert found.text.endswith("hook present failed with status 3: no such zone: \\x1b[31mexample")
    assert not found.permanent


@pytest.mark.parametrize("program", ["/nonexistent/hook", "/etc/passwd", "/"])
def test_what_cannot_be_run(program: str) -> None:
    assert failure(DnsHook(program)).permanent


def test_a_program_that_says_very_much_is_not_stopped_by_it(tmp_path: Path) -> None:
    hook = DnsHook(script(tmp_path, "head -c 2000000 /dev/zero | tr '\\0' 'x'; echo; echo done; exit 1"))
    assert failure(hook).text.endswith("status 1: done")


def test_a_program_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hook = DnsHook(script(tmp_path, f"sleep 100 & echo $! $$ > {pids}; echo waiting; wait"), seconds=1.0)
    begun = time.monotonic()
    assert failure(hook).text.endswith("did not end within 1 s: waiting")
    assert time.monotonic() - begun < 20
    for pid in map(int, pids.read_text().split()):
        assert _ended(pid)


def _ended(pid: int) -> bool:
    """Waits for the end of a process that was killed: the kernel takes a moment for it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def _runs(pid: int) -> bool:
    """A process that was killed and whose parent has not looked yet does not run any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_a_program_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    hook = DnsHook(script(tmp_path, f"sleep 100 & echo $! > {pid_file}; exit 0"), seconds=30.0)
    begun = time.monotonic()

    async def main() -> None:
        await hook.present(PROOF)

    run(main)
    assert time.monotonic() - begun < 20
    left = int(pid_file.read_text())
    assert _runs(left)
    os.kill(left, 9)
