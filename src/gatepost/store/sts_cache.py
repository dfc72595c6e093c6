"""The MTA-STS policies that were fetched, on disk: they outlive restarts, as RFC 8461 §5.1 wants it.

One small file for each domain under `cache/mta-sts/` of the home, written whole and renamed into place, shared by all workers. A file that
cannot be read counts as none. What has expired is removed when it is met, and the oldest go when there are too many.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson

MAX_FILES = 20_000


@dataclass(frozen=True, slots=True)
class CachedPolicy:
    """A policy as it was fetched: the record's id, the time (seconds since the epoch), the file's octets."""

    identifier: str
    fetched: float
    body: bytes


class StsCache:
    """The folder. Methods block for a moment and are called in a thread; two writers of one domain do no harm."""

    def __init__(self, directory: Path, *, keeps: bool = True) -> None:
        """`keeps` False: policies are read and never changed (a configuration that is not in force may trust others)."""
        self._directory = directory
        self._keeps = keeps

    def load(self, domain: str) -> CachedPolicy | None:
        """The policy of a domain, or None."""
        try:
            raw = orjson.loads(self._file(domain).read_bytes())
            if raw["domain"] != domain:
                return None
            return CachedPolicy(str(raw["id"]), float(raw["fetched"]), str(raw["policy"]).encode("utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, domain: str, policy: CachedPolicy) -> None:
        """Keep a policy. A full disk costs the cache, not the delivery."""
        if not self._keeps:
            return
        text = policy.body.decode("utf-8")
        data = orjson.dumps(
            {"domain": domain, "id": policy.identifier, "fetched": policy.fetched, "policy": text}
        )
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=".new-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, self._file(domain))
            self._make_room()

    def forget(self, domain: str) -> None:
        """Remove a policy that has expired or was withdrawn."""
        if self._keeps:
            with contextlib.suppress(OSError):
                self._file(domain).unlink()

    def _file(self, domain: str) -> Path:
        return self._directory / f"{hashlib.sha256(domain.encode('utf-8')).hexdigest()}.json"

    def _make_room(self) -> None:
        names = os.listdir(self._directory)
        if len(names) <= MAX_FILES:
            return
        files = sorted((self._directory / name for name in names), key=lambda path: path.stat().st_mtime)
        for path in files[: len(files) - MAX_FILES]:
            path.unlink(missing_ok=True)
