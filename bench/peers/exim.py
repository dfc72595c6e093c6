"""Exim (Debian's light daemon, with GnuTLS), unpacked into the cache and run from its own folder."""

from __future__ import annotations

import pwd

from bench.peers.base import UNPACKED, Peer, is_root, next_port
from bench.scenarios import Way, domain_addresses
from bench.tools import run

PROGRAM = UNPACKED / "exim" / "usr" / "sbin" / "exim4"
USER = "Debian-exim"  # compiled in; it must exist

CONFIGURATION = """\
primary_hostname = relay.example
exim_path = {program}
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 1000
smtp_load_reserve = 1000
queue_run_max = 5
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
acl_smtp_rcpt = accept
acl_smtp_data = accept
keep_environment =
message_size_limit = 50M
split_spool_directory = true
deliver_drop_privilege = true
begin acl
begin routers
all:
  driver = manualroute
  domains = *
  {route}
  self = send
  host_find_failed = defer
  transport = out
begin transports
out:
  driver = smtp
  port = {next_port}
  allow_localhost
  hosts_try_dane =
  tls_verify_hosts =
  tls_try_verify_hosts =
begin retry
* * F,1h,1m
"""


class Exim(Peer):
    name = "exim"
    port = 2520
    note = "Debian's build with GnuTLS; answers QUIT 0.2 s late, which limits A and C"

    def missing(self) -> str:
        if not PROGRAM.exists():
            return "not unpacked (scripts/test-packages)"
        if not is_root():
            return "needs root"
        try:
            pwd.getpwnam(USER)
        except KeyError:
            return f"needs a user {USER} (scripts/test-packages)"
        return ""

    def version(self) -> str:
        return run([str(PROGRAM), "-C", "/dev/null", "-bV"]).split()[2]

    def configure(self, way: Way) -> None:
        self.empty_folder(owner=USER)
        for name in ("spool", "log"):
            self.empty_folder(name, owner=USER)
        route = "route_list = * 127.0.0.1"
        if way is Way.MANY:
            routes = self.folder / "routes"
            routes.write_text("".join(f"{d}: {a}\n" for d, a in domain_addresses()))
            route = f"route_data = ${{lookup{{$domain}}lsearch{{{routes}}}}}"
        text = CONFIGURATION.format(
            program=PROGRAM,
            port=self.port,
            folder=self.folder,
            certificate=self.site.tools.certificate,
            key=self.own_key(USER),
            route=route,
            next_port=next_port(way),
        )
        (self.folder / "exim.conf").write_text(text)

    def command(self) -> list[str]:
        return [str(PROGRAM), "-C", str(self.folder / "exim.conf"), "-bdf", "-q1m"]
