"""The operator's files as bytes. They are read and written with the operator's own rights, before or after an operation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gatepost.core.errors import Exit, OperatorError

MAX_BYTES = 8 * 1024 * 1024
STANDARD = "-"


@contextmanager
def about(name: str) -> Iterator[None]:
    """Let a refusal of an operation name the file. One that names places of the configuration is not about the file."""
    try:
        yield
    except OperatorError as error:
        if error.code is not Exit.REFUSED or error.problems:
            raise
        label = "standard input" if name == STANDARD else name
        raise OperatorError(f"{label}: {error.message}", error.hint) from None


def read_file(name: str) -> bytes:
    """The content of a file; `-` is standard input. Raises OperatorError for what cannot be read."""
    try:
        if name == STANDARD:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OperatorError(
            f"{name} cannot be read: {error.strerror}", "check its name and its permissions"
        ) from None
    if len(data) > MAX_BYTES:
        raise OperatorError(f"{name} is longer than {MAX_BYTES >> 20} MB", "is it the right file?")
    return data


def read_passphrase_file(name: str) -> str:
    """The first line of a file, without the byte order mark that some editors put before it."""
    try:
        return read_file(name).split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise OperatorError(f"the first line of {name} is not UTF-8", "save it as UTF-8") from None


def write_file(name: str, data: bytes, *, secret: bool = False) -> None:
    """Write a file whole, or leave what is there; `-` is standard output. A secret one is readable by its owner only."""
    if name == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    path = Path(name)
    if path.is_dir():
        raise OperatorError(f"{name} is a directory", "name a file", code=Exit.USAGE)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OperatorError(
            f"{name} cannot be written: {error.strerror}", "check its folder and the free space"
        ) from None
