"""The validating resolver of the zoo: `unbound` on loopback, which believes the zoo's root and knows no other."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from gatepost.app.show.gateway import under_parent
from gatepost.app.zoo.needs import UNBOUND, need
from gatepost.app.zoo.places import NAME_SERVER, RESOLVER
from gatepost.core.errors import OperatorError

STARTED = b"start of service"
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")

# Short memories for what fails, since the zoo is asked again and again; no address of the zoo is private or local to it.
_CONFIGURATION = """\
server:
  interface: {address}
  port: 53
  do-ip6: no
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  num-threads: 1
  so-rcvbuf: 0
  module-config: "validator iterator"
  root-hints: "{folder}/root.hints"
  trust-anchor: "{anchor}"
  trust-anchor-signaling: no
  root-key-sentinel: no
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  edns-buffer-size: 1232
  cache-max-ttl: 3600
  infra-host-ttl: 5
  local-zone: "example." nodefault
remote-control:
  control-enable: no
"""


def to_run(program: str, folder: Path, apparmor: Path = APPARMOR) -> str:
    """The program, or a copy of it in `folder` where AppArmor is at work.

    Debian's profile of the packaged program lets it read its own folders only, and goes by its path.
    """
    try:
        confined = apparmor.read_text("ascii", "replace").startswith("Y")
    except OSError:
        confined = False
    return shutil.copy(program, str(folder / "unbound")) if confined else program


class Unbound:
    """The process, from `start` to `stop`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Process | None = None
        self._drain: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup, anchor: str) -> None:
        """Start it and wait until it answers. Raises OperatorError with its last words otherwise."""
        program = need(UNBOUND)
        self._folder.mkdir()
        program = to_run(program, self._folder)
        (self._folder / "root.hints").write_text(f". 3600 IN NS ns.\nns. 3600 IN A {NAME_SERVER}\n", "ascii")
        file = self._folder / "unbound.conf"
        text = _CONFIGURATION.format(address=RESOLVER, folder=self._folder, anchor=anchor)
        file.write_text(text, "utf-8")
        self._process = process = await asyncio.create_subprocess_exec(
            *under_parent((program, "-d", "-c", str(file))), stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
        )
        assert process.stderr is not None
        said: list[str] = []
        while line := await process.stderr.readline():
            if STARTED in line:
                self._drain = group.create_task(_ignore(process.stderr), name="unbound's words")
                return
            said.append(line.decode("utf-8", "replace").strip())
        await process.wait()
        raise OperatorError(f"unbound did not start: {said[-1] if said else 'it said nothing'}")

    async def stop(self) -> None:
        """End it."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _ignore(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass
