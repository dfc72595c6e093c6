"""What a process gives up at its start: privileges, core dumps, tracing, a life after its parent.

The few system calls without a Python name go through a small cffi binding to the C library (ABI mode: no
compiler). Linux only, like the rest of the product.

Order matters (prctl(2), capabilities(7)): a change of user clears the parent-death signal and the dumpable
flag and drops capabilities unless `KEEPCAPS` is set, so both are set again behind it.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from gatepost.core.errors import OperatorError
from gatepost.store.home import Home, Owner

CAP_DAC_OVERRIDE = 1
CAP_NET_BIND_SERVICE = 10

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_DECLARATIONS = """
int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
struct head { uint32_t version; int pid; };
struct data { uint32_t effective; uint32_t permitted; uint32_t inheritable; };
int capget(struct head *head, struct data *data);
int capset(struct head *head, const struct data *data);
"""


@cache
def _library() -> tuple[Any, Any]:
    from cffi import FFI  # only the long-lived processes pay for it

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    return ffi, ffi.dlopen(None)


def _prctl(option: int, value: int) -> None:
    ffi, library = _library()
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), f"prctl({option})")


def die_with_parent(parent: int) -> None:
    """End with SIGKILL when the parent ends; at once when it already has."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def protect_memory() -> None:
    """No core dumps, no tracing by other processes of the same user, no new privileges by exec."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def raise_file_limit() -> None:
    """As many descriptors as the hard limit allows: every connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def become_background() -> None:
    """Yield to the mail workers: batch scheduling and a high nice value."""
    os.nice(10)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def capabilities() -> int:
    """The permitted capabilities of this process, as bits."""
    ffi, library = _library()
    head = ffi.new("struct head *", {"version": _CAPABILITY_VERSION_3, "pid": 0})
    data = ffi.new("struct data[2]")
    if library.capget(head, data) != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "capget")
    return int(data[0].permitted) | int(data[1].permitted) << 32


def keep_capabilities(kept: int) -> None:
    """Drop every capability that is not in `kept` (bits), for good."""
    ffi, library = _library()
    bits = capabilities() & kept
    head = ffi.new("struct head *", {"version": _CAPABILITY_VERSION_3, "pid": 0})
    data = ffi.new("struct data[2]")
    for index in range(2):
        data[index].effective = data[index].permitted = bits >> (32 * index) & 0xFFFFFFFF
    if library.capset(head, data) != 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno), "capset")


def drop_child_capabilities(home: Home) -> None:
    """Workers and desk have none.

    One exception: root's home below a directory that is closed to root without this capability (a
    checkout in somebody's private folder) stays reachable.
    """
    reachable = os.geteuid() != 0 or _reachable_without_privilege(home)
    keep_capabilities(0 if reachable else 1 << CAP_DAC_OVERRIDE)


def _reachable_without_privilege(home: Home) -> bool:
    for path in (home.root, *home.root.parents):
        entry = path.stat()
        needed = 0o100 if entry.st_uid == 0 else 0o010 if entry.st_gid == 0 else 0o001
        if not entry.st_mode & needed:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Privileges:
    """Who the gateway runs as after the drop; `warning` is for the log, or empty."""

    owner: Owner
    warning: str = ""


def choose_user(home: Home, user: str) -> Privileges:
    """The user to run as (contract, Privileges): the home's owner, else `--user`, else root with a warning."""
    owner = home.owner()
    if os.geteuid() != 0:
        return Privileges(Owner.of_uid(os.geteuid(), os.getegid()))
    if owner.uid != 0:
        return Privileges(owner)
    if user:
        return Privileges(Owner.named(user))
    return Privileges(
        owner, f"the gateway runs as root, because {home.root} belongs to root and no --user was given"
    )


def drop_privileges(home: Home, chosen: Privileges) -> None:
    """Become the chosen user for good, with nothing left of root but the right to bind low ports.

    Raises OperatorError when that user could not work in the home.
    """
    owner = chosen.owner
    if os.geteuid() != 0 or owner.uid == 0:
        return
    groups = os.getgrouplist(owner.name, owner.gid) if owner.name else [owner.gid]
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups(groups)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    keep_capabilities(1 << CAP_NET_BIND_SERVICE)
    for path in (sys.executable, os.__file__, __file__):
        if not os.access(path, os.R_OK):
            raise OperatorError(
                f"the user {owner.name or owner.uid}, to whom the home belongs, cannot read {path}",
                "install Gatepost and its Python where that user can read them",
            )
    if not os.access(home.root, os.R_OK | os.W_OK | os.X_OK) or not os.access(home.spool, os.W_OK | os.X_OK):
        raise OperatorError(
            f"the user {owner.name or owner.uid} cannot write in the home {home.root}",
            f"give it to that user: chown -R {owner.name or owner.uid} {home.root}",
        )
