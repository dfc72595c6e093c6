"""Builds the C tools, and runs the sinks and the load generator."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scenarios import CLEAR_PORT, DOMAINS, IDLE_SESSIONS, TLS_PORT, Kind, Scenario

HERE = Path(__file__).parent
LONGEST_RUN = 120
LONGEST_DRAIN = 30  # from the last 250 until the sink has everything


class BenchError(Exception):
    """Something that the person running the benchmark must know; the text is for them."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The built programs, the test certificate and the sinks' counters, all in one folder."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def dh_parameters(self) -> Path:
        return self.folder / "dhparams.pem"

    @property
    def counters(self) -> Path:
        return self.folder / "counters"

    def build(self) -> None:
        """Compiles what is older than its source, and makes the certificate once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        newest_header = (HERE / "common.h").stat().st_mtime
        for name in ("gen", "sink", "cage"):
            source, program = HERE / f"{name}.c", self.folder / name
            if program.exists() and program.stat().st_mtime > max(source.stat().st_mtime, newest_header):
                continue
            run(["gcc", "-O2", "-o", str(program), str(source), "-lssl", "-lcrypto", "-lpthread"])
        if not self.key.exists():
            self._make_certificate()
        if not self.dh_parameters.exists():  # Haraka would spend its first minute making them
            run(["openssl", "dhparam", "-dsaparam", "-out", str(self.dh_parameters), "2048"])

    def _make_certificate(self) -> None:
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        names = ["-subj", "/CN=relay.example", "-addext", "subjectAltName=DNS:relay.example"]
        run(["openssl", "req", "-x509", "-days", "365", *new_key, *files, *names])

    @contextlib.contextmanager
    def sinks(self) -> Iterator[None]:
        """Both receivers, counting into one place; they end with the block."""
        self.counters.unlink(missing_ok=True)
        clear = [f"--port={CLEAR_PORT}"]
        tls = [
            f"--port={TLS_PORT}",
            f"--certificate={self.certificate}",
            f"--key={self.key}",
            f"--addresses={DOMAINS}",
        ]
        running: list[subprocess.Popen[str]] = []
        try:
            for options in (clear, tls):
                command = [str(self.folder / "sink"), f"--counters={self.counters}", *options]
                sink = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
                running.append(sink)
                assert sink.stdout is not None
                if sink.stdout.readline().strip() != "ready":
                    raise BenchError(f"the sink did not start; is port {options[0][7:]} taken?")
            yield
        finally:
            for sink in running:
                sink.kill()
                sink.wait()

    def generate(self, scenario: Scenario, port: int, messages: int, rate: float = 0.0) -> dict[str, Any]:
        """One run of the load generator; its result, or BenchError with what it said."""
        command = [str(self.folder / "gen"), f"--port={port}", f"--messages={messages}", *scenario.options()]
        if scenario.kind is Kind.MAIL:
            command += [f"--counters={self.counters}", f"--patience={LONGEST_DRAIN}"]
        if rate:
            command.append(f"--rate={rate:.1f}")
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_RUN
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"no end after {LONGEST_RUN} s") from error
        if done.returncode != 0:
            raise BenchError(done.stderr.strip()[-200:] or f"the generator ended with {done.returncode}")
        result: dict[str, Any] = json.loads(done.stdout)
        expected = 0 if scenario.kind is Kind.HANDSHAKES else messages
        if result["arrived"] < expected:
            raise BenchError(f"{expected - result['arrived']} of {expected} messages did not arrive")
        return result

    @contextlib.contextmanager
    def idle_sessions(self, port: int) -> Iterator[int]:
        """Opens idle TLS sessions, each after one message; gives their number and closes them at the end."""
        command = [
            str(self.folder / "gen"),
            f"--port={port}",
            f"--sessions={IDLE_SESSIONS}",
            "--tls",
            "--idle",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            try:
                words = holder.stdout.readline().split(maxsplit=2)
                if len(words) < 2 or int(words[1]) < IDLE_SESSIONS:
                    raise BenchError(f"only {' '.join(words[1:]) or 'no'} sessions opened")
                yield int(words[1])
            finally:
                holder.stdin.close()
                holder.kill()


def run(command: list[str], *, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Runs a set-up command to its end; BenchError with its last words when it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=folder, env=environment
        )
    except FileNotFoundError as error:
        raise BenchError(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        raise BenchError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout
