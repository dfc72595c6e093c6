"""OpenSMTPD, unpacked into the cache and run in a mount namespace of its own.

The places of its queue, its empty folder and its socket and the names of its users are compiled in. The
namespace binds folders and files of the benchmark over them, so nothing on the machine changes.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.peers.base import UNPACKED, Peer, is_root, next_port
from bench.scenarios import Way, domain_addresses

ROOT = UNPACKED / "opensmtpd"
PROGRAM = ROOT / "usr" / "sbin" / "smtpd"

CONFIGURATION = """\
pki bench cert "{certificate}"
pki bench key "{key}"
smtp max-message-size "50M"
{table}listen on 127.0.0.1 port {port} tls pki bench hostname relay.example
action "out" relay {target}
match from any for any action "out"
"""

USERS = """\
opensmtpd:x:64001:64001::/var/empty:/usr/sbin/nologin
opensmtpq:x:64002:64002::/var/empty:/usr/sbin/nologin
"""
GROUPS = "opensmtpd:x:64001:\nopensmtpq:x:64002:\n"


class OpenSmtpd(Peer):
    name = "opensmtpd"
    port = 2530
    scenarios = "AB"
    warm_up = 0.1
    note = (
        "Debian 12's 6.8 fails to use its own key in TLS (`EVP lib`), so clear text only; "
        "delivers about 15 messages/s to one next hop with an idle CPU: no figure of its capacity"
    )

    def missing(self) -> str:
        if not PROGRAM.exists():
            return "not unpacked (scripts/bench-packages)"
        return "" if is_root() else "needs root"

    def version(self) -> str:
        return "6.8.0p2"

    def configure(self, way: Way) -> None:
        self.empty_folder()
        spool = self.empty_folder("spool", "smtpd")
        spool.chmod(0o711)
        self.empty_folder("lib", "opensmtpd", "empty")
        self.empty_folder("run")
        for users, more in (("passwd", USERS), ("group", GROUPS)):
            (self.folder / users).write_text(Path("/etc", users).read_text() + more)
        (self.folder / "resolv.conf").write_text("lookup file\n")  # it asks DNS first for a client's name
        scheme = "smtp+notls" if way is Way.CLEAR else "smtp+tls"
        verify = "" if way is Way.CLEAR else " tls no-verify"
        table = ""
        target = f'host "{scheme}://127.0.0.1:{next_port(way)}"{verify}'
        if way is Way.MANY:
            routes = self.folder / "routes"
            routes.write_text(
                "".join(f"{d} {scheme}://{a}:{next_port(way)}\n" for d, a in domain_addresses())
            )
            table, target = f'table routes "file:{routes}"\n', f"domain <routes>{verify}"
        text = CONFIGURATION.format(
            certificate=self.site.tools.certificate,
            key=self.own_key(),
            port=self.port,
            table=table,
            target=target,
        )
        (self.folder / "smtpd.conf").write_text(text)

    def command(self) -> list[str]:
        folder, root = shlex.quote(str(self.folder)), shlex.quote(str(ROOT))
        places = {"passwd": "/etc/passwd", "group": "/etc/group", "resolv.conf": "/etc/resolv.conf"}
        places |= {"spool": "/var/spool", "lib": "/var/lib", "run": "/run"}
        steps = [f"mount --bind {folder}/{own} {place}" for own, place in places.items()]
        enter = " && ".join([*steps, f"exec {root}/usr/sbin/smtpd -d -f {folder}/smtpd.conf"])
        return ["unshare", "--mount", "/bin/sh", "-c", enter]
