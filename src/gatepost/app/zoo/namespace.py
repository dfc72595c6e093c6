"""A network of its own for the zoo: nothing that happens in it leaves the machine, and nothing outside of it is changed.

`unshare` (util-linux) makes a network and a mount namespace, for a person who is not root a user namespace as well; the zoo replaces the
command's process in it, so that Ctrl-C and the exit status are its own. Inside, all addresses stand on the loopback interface, ports
below 1024 are free, and /etc/resolv.conf names the zoo's resolver. The kernel removes all of it with the last process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gatepost.app.zoo.needs import need
from gatepost.app.zoo.places import RESOLVER
from gatepost.core.errors import OperatorError

RESOLV_CONF = Path("/etc/resolv.conf")
_SECONDS = 30


def check() -> None:
    """Raises OperatorError where this machine does not allow a network of one's own."""
    _try(_unshare(os.geteuid()))


def enter(options: str) -> NoReturn:
    """Become the zoo inside; `options` are passed on."""
    command = [*_unshare(os.geteuid()), sys.executable, "-P", "-m", "gatepost.app.zoo", options]
    os.execvp(command[0], command)


def _unshare(user: int) -> list[str]:
    program = need("unshare")
    return [program, "-n", "-m", "--"] if user == 0 else [program, "-U", "-r", "-n", "-m", "--"]


def _try(prefix: Sequence[str]) -> None:
    """Whether it can be had at all, before this process is given up for it. Raises OperatorError."""
    command = [*prefix, sys.executable, "-I", "-S", "-c", ""]
    done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise _refused(done.stderr.decode("utf-8", "replace").strip())


def _refused(said: str) -> OperatorError:
    """What `unshare` says, and what to do about it."""
    why = said.rpartition(": ")[2].lower() or "it does not say why"
    if "failed to execute" in said:
        return OperatorError(
            f"{sys.executable} cannot be run in a namespace of its own: {why}",
            "install Gatepost where everybody may read it, or run the zoo as root",
        )
    return OperatorError(
        f"this machine does not give the zoo a network of its own: {why}",
        "run it as root, or allow user namespaces"
        " (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0);"
        " in a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN",
    )


def furnish(addresses: Sequence[str], folder: Path) -> None:
    """Bring up loopback with these addresses, and point the libraries at the zoo's resolver. Inside only."""
    words = ["link set lo up", *(f"address add {address}/32 dev lo" for address in addresses)]
    _run([need("ip"), "-batch", "-"], "\n".join(words) + "\n")
    if RESOLV_CONF.exists():
        file = folder / "resolv.conf"
        # trust-ad: programs that ask through the C library may believe this resolver about DNSSEC.
        file.write_text(f"nameserver {RESOLVER}\noptions edns0 trust-ad\n", "ascii")
        _run([need("mount"), "--bind", str(file), str(RESOLV_CONF.resolve())], "")


def _run(command: Sequence[str], text: str) -> None:
    done = subprocess.run(
        command, input=text.encode("utf-8"), capture_output=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise OperatorError(f"the zoo's network cannot be made: {said[0] if said else command[0]}")
