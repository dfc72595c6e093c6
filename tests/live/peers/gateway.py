"""Gatepost as its administrator runs it: a home, a configuration, `gatepost start`, and its log.

`document` makes a configuration for loopback; tests change what they are about. A JSON text is YAML too,
so documents are plain dictionaries.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued
from tests.live.peers.processes import PATIENCE, FileLines, Lines, Program, run

Document = dict[str, Any]
COMMAND = (sys.executable, "-P", "-m", "gatepost")
READY_SECONDS = 30.0


def document(
    public: int,
    private: int,
    *,
    hop: str = "",
    address: str = "127.0.0.1",
    certificate: str = "Demo",
    tls: str = "preferred",
    destinations: Sequence[Mapping[str, Any]] = (),
    routes: Sequence[Mapping[str, Any]] = (),
) -> Document:
    """A gateway on loopback that takes mail for everyone on `public`, relays from loopback on `private`.

    `hop` ("[127.0.0.1]:2600") is where everything without a route goes; without it MX records decide. `tls`
    is the default level of outgoing connections, `destinations` are its exceptions.
    """
    return {
        "system": {"hostname": "gw.example.net"},
        "interfaces": [{"name": "Data 1", "address": address, "hostname": "mx.example.net"}],
        "listeners": [
            _listener("IncomingMail", "public", public, certificate)
            | {
                "host_access": [{"group": "ALL", "policy": "ACCEPTED"}],
                "recipient_access": [{"recipient": "ALL", "action": "accept"}],
            },
            _listener("OutgoingMail", "private", private, certificate)
            | {
                "host_access": [
                    {"group": "RELAYLIST", "senders": ["127.0.0.0/8"], "policy": "RELAYED"},
                    {"group": "ALL", "policy": "BLOCKED"},
                ]
            },
        ],
        "mail_flow_policies": [
            {"name": "ACCEPTED", "action": "accept", "tls": "preferred"},
            {"name": "RELAYED", "action": "relay", "tls": "preferred"},
            {"name": "BLOCKED", "action": "reject"},
        ],
        "destination_controls": {
            "default": {"tls": tls, "dane": "none", "mta_sts": False},
            "destinations": list(destinations),
        },
        "smtp_routes": [*routes, {"domain": "ALL", "hosts": [hop or "usedns"]}],
        "bounce_profiles": [
            {
                "name": "Default",
                "initial_retry": "1s",
                "max_retry": "2s",
                "max_age": "1h",
                "max_attempts": 100,
                "delay_warning": "1h",
            }
        ],
        "dns": {"servers": [], "reverse": False},
    }


def _listener(name: str, kind: str, port: int, certificate: str) -> Document:
    return {
        "name": name,
        "type": kind,
        "interface": "Data 1",
        "port": port,
        "tls": "starttls",
        "certificate": certificate,
    }


class Gateway:
    """One home and the gateway on it. Commands work before, while and after it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        self._program: Program | None = None
        self._followed: FileLines | None = None
        self._followed_events: FileLines | None = None

    # What the administrator does

    def command(self, *words: str | Path, status: int | None = 0, text: bytes = b"") -> str:
        """Runs `gatepost …` on this home; its standard output. Fails the test on another exit status."""
        done = run([*COMMAND, *words], environment=self._environment(), text=text)
        if status is not None and done.returncode != status:
            said = (done.stdout + done.stderr).decode(errors="replace")
            pytest.fail(
                f"gatepost {' '.join(map(str, words))} ended with {done.returncode}, not {status}:\n{said}"
            )
        return done.stdout.decode()

    def refused(self, *words: str | Path, status: int) -> str:
        """Runs a command that must end with this status; its standard error."""
        done = run([*COMMAND, *words], environment=self._environment())
        said = done.stderr.decode(errors="replace")
        assert done.returncode == status, f"ended with {done.returncode}:\n{said}"
        return said

    def configure(self, configuration: Document | str, comment: str = "") -> None:
        """Applies a whole configuration, as a dictionary or as YAML."""
        text = configuration if isinstance(configuration, str) else json.dumps(configuration, indent=1)
        file = self.files / "gateway.yaml"
        file.write_text(text)
        self.command("config", "apply", file, *(["--comment", comment] if comment else []))

    def import_certificate(self, name: str, issued: Issued, *, replace: bool = False) -> None:
        """Stores a certificate with its key and chain under a profile name."""
        file = self.files / f"{name}.pem"
        file.write_bytes(issued.key_pem + issued.chain_pem)
        self.command("cert", "import", name, file, *(["--replace"] if replace else []))
        file.unlink()

    def trust(self, pem: bytes) -> None:
        """Adds authorities to the custom list; the configuration decides whether it is used."""
        file = self.files / "authorities.pem"
        file.write_bytes(pem)
        self.command("ca", "import", file)

    def _environment(self) -> dict[str, str]:
        return {"GATEPOST_HOME": str(self.home), "COLUMNS": "200"}

    # Its life

    def start(
        self,
        *,
        workers: int = 1,
        options: Sequence[str] = (),
        timeout: float = READY_SECONDS,
        program: Sequence[str] = COMMAND,
    ) -> Gateway:
        """Starts it and waits until it says that it is ready. `program` stands in for the command `gatepost`."""
        place = self.folder / f"notify-{os.urandom(4).hex()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.bind(str(place))
            notices.settimeout(timeout)
            self._program = Program(
                [*program, "start", "--home", self.home, "--workers", str(workers), *options],
                name="gatepost",
                environment={**self._environment(), "NOTIFY_SOCKET": str(place)},
            )
            self._await_ready(notices, self._program)
        place.unlink()
        return self

    def _await_ready(self, notices: socket.socket, program: Program) -> None:
        try:
            while b"READY=1" not in notices.recv(4096):
                pass
        except TimeoutError:
            said = "\n  ".join(program.output.all[-40:])
            program.kill()
            pytest.fail(f"gatepost did not become ready; it said:\n  {said}")

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._running().pid

    def children(self) -> list[int]:
        """The supervisor's processes: workers and desk."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(word) for word in text.split()]

    @property
    def output(self) -> Lines:
        """What the supervisor and its children printed."""
        return self._running().output

    def reload(self) -> None:
        self._running().signal(signal.SIGHUP)

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, as the service manager does it; the exit status."""
        program, self._program = self._running(), None
        program.signal(signal.SIGTERM)
        status = program.wait(timeout)
        program.kill()
        return status

    def kill(self) -> None:
        """SIGKILL to every process at once."""
        program, self._program = self._running(), None
        program.kill()

    def _running(self) -> Program:
        if self._program is None:
            pytest.fail("the gateway is not running")
        return self._program

    def close(self) -> None:
        """Ends what is left of it."""
        if self._program is not None:
            self._program.kill()
        for followed in (self._followed, self._followed_events):
            if followed is not None:
                followed.close()

    # What it says

    @property
    def log(self) -> Lines:
        """The mail log, followed from its first line."""
        if self._followed is None:
            self._followed = FileLines(self.home / "logs" / "mail_logs")
        return self._followed.lines

    @property
    def events(self) -> Lines:
        """The log of events, followed from its first line. It is written a moment behind the mail log."""
        if self._followed_events is None:
            self._followed_events = FileLines(self.home / "logs" / "events.jsonl")
        return self._followed_events.lines

    def event(self, kind: str, pattern: str = "") -> dict[str, Any]:
        """The first event of this kind with the pattern in its line behind that."""
        found: dict[str, Any] = json.loads(self.events.wait_for(rf'^{{"event":"{kind}".*{pattern}').string)
        return found

    def wait_for_log(self, pattern: str, *, count: int = 1, timeout: float = PATIENCE) -> re.Match[str]:
        """The match of the `count`-th mail log line that has the pattern in it."""
        return self.log.wait_for(pattern, count=count, timeout=timeout)
