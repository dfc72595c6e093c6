"""The spool's port to the file system, for everything that is not SQLite's own.

One small class, so that a test can make any of these operations fail or record their order. All of them block; they are
called by the spool's threads. OSError goes up as it is.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Files:
    """The real thing."""

    def create(self, path: Path) -> int:
        """A new file, open for writing. Raises FileExistsError rather than touch an existing one."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes) -> None:
        """All of `data` at the file's position."""
        written = os.write(descriptor, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(data):
                written += os.write(descriptor, view[written:])

    def flush(self, descriptor: int) -> None:
        """The file's content is on disk when this returns."""
        os.fdatasync(descriptor)

    def flush_directory(self, path: Path) -> None:
        """The names in the directory are on disk when this returns."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def space(self, path: Path) -> tuple[int, int]:
        """Octets that the service user may still write, and octets in all."""
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
