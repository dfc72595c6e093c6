"""A gateway whose workers do not always show what they are told to; run as a script in place of `gatepost`.

The file `stubborn` in the home says what they do when they next compile a configuration: `all` keeps the TLS contexts of
before, a number does so in that worker only, `foreign` shows certificates that nobody configured. Without the file they
do as they should.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.fakes.ca import TestAuthority

from gatepost.app.desk import run_desk
from gatepost.app.main import role_arguments, run
from gatepost.app.roles import Assignment, SupervisorPort
from gatepost.app.runtime import build_runtime
from gatepost.app.start import StartOptions, say, start
from gatepost.app.worker import Worker
from gatepost.app.worker_main import run_worker
from gatepost.control.ops import build
from gatepost.net.tls import ServerContext
from gatepost.pki.revocation import Crls
from gatepost.relay.services import Runtime

PROGRAM = (sys.executable, str(Path(__file__).resolve()))
FLAG = "stubborn"


class Stubborn:
    """Compiles configurations for one worker."""

    def __init__(self) -> None:
        self.home = Path()
        self.index = -1
        self.kept: Mapping[str, ServerContext] | None = None

    def build(self, payload: Mapping[str, Any], before: Crls) -> Runtime:
        flag = self.home / FLAG
        told = flag.read_text().strip() if flag.exists() else ""
        if told == "foreign":
            return build_runtime(_with_foreign_certificates(payload), before)
        runtime = build_runtime(payload, before)
        if self.kept is not None and told in ("all", str(self.index)):
            return replace(runtime, server_contexts=self.kept)
        self.kept = runtime.server_contexts
        return runtime


def _with_foreign_certificates(payload: Mapping[str, Any]) -> dict[str, Any]:
    foreign = TestAuthority("Somebody else").issue(["foreign.example"])
    shown = {"chains": [foreign.chain_pem.decode()], "keys": [foreign.key_pem.decode()]}
    return {**payload, "profiles": {name: {**old, **shown} for name, old in payload["profiles"].items()}}


class StubbornWorker(Worker):
    def __init__(self, supervisor: SupervisorPort) -> None:
        self.stubborn = Stubborn()
        super().__init__(supervisor, build=self.stubborn.build)

    async def start(self, assignment: Assignment) -> None:
        self.stubborn.home, self.stubborn.index = assignment.home, assignment.index
        await super().start(assignment)


def main(arguments: list[str]) -> int:
    role, *rest = arguments
    if role == "worker":
        return run_worker(*role_arguments(rest), StubbornWorker)
    if role == "desk":
        return run_desk(*role_arguments(rest), build)
    _, home, _, workers = rest
    start(StartOptions(home, int(workers)), os.environ, say, command=PROGRAM)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], main))
