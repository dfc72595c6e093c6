"""The programs of others that the zoo runs, and the packages that bring them. All that are missing are told at once, before anything starts."""

from __future__ import annotations

import shutil

from gatepost.core.errors import OperatorError

UNBOUND = "unbound"
PACKAGES = {UNBOUND: "unbound", "ip": "iproute2", "unshare": "util-linux", "mount": "mount"}
"""Debian's names. Fedora's are the same, but `iproute` for iproute2 and `util-linux` for mount."""

_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin"  # a person's PATH may lack sbin


def find(program: str) -> str | None:
    """Where a program is."""
    return shutil.which(program) or shutil.which(program, path=_PLACES)


def need(program: str) -> str:
    """The same. Raises OperatorError when it is not installed."""
    found = find(program)
    if found is None:
        raise _missing([program])
    return found


def require_programs() -> None:
    """All of them. Raises OperatorError that names each missing one and its package."""
    missing = [program for program in PACKAGES if find(program) is None]
    if missing:
        raise _missing(missing)


def _missing(programs: list[str]) -> OperatorError:
    packages = [PACKAGES[program] for program in programs]
    several = len(programs) > 1
    text = f"the zoo needs {_listed(programs)}, which {'are' if several else 'is'} not installed"
    hint = f"install the package{'s' if several else ''} {_listed(packages)}: apt-get install {' '.join(packages)}"
    if UNBOUND in programs:
        hint += "; unbound's service need not run"
    return OperatorError(text, hint)


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]
