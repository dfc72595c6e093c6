"""Postfix, as installed: the stock process model and limits, or with outgoing TLS connections kept for reuse."""

from __future__ import annotations

from pathlib import Path

from bench.peers.base import Peer, Site, is_root, next_port
from bench.scenarios import Way, domain_addresses
from bench.tools import run

MASTER = Path("/usr/lib/postfix/sbin/master")

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
meta_directory = /etc/postfix
myhostname = relay.example
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost =
default_transport = smtp:[127.0.0.1]:{next_port}
relay_transport = smtp:[127.0.0.1]:{next_port}
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
message_size_limit = 50000000
default_process_limit = 1200
smtpd_client_connection_count_limit = 0
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtp_tls_loglevel = 0
smtpd_tls_loglevel = 0
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsproxy unix - - n - 0 tlsproxy
"""


class Postfix(Peer):
    def __init__(self, site: Site, reuse: bool = False) -> None:
        self.name = "postfix-reuse" if reuse else "postfix"
        self.port = 2511 if reuse else 2510
        # the setting changes nothing where no mail goes out over TLS
        self.scenarios = "CDEL" if reuse else "ABCDEFIL"
        self.note = "with smtp_tls_connection_reuse=yes, else stock" if reuse else "stock settings"
        self._reuse = reuse
        super().__init__(site)

    def missing(self) -> str:
        if not MASTER.exists():
            return "not installed (Debian: postfix)"
        return "" if is_root() else "needs root"

    def version(self) -> str:
        return run(["postconf", "-d", "-h", "mail_version"]).strip()

    def configure(self, way: Way) -> None:
        self.empty_folder()
        for name in ("etc", "spool", "log"):
            self.empty_folder(name)
        self.empty_folder("data", owner="postfix")
        etc = self.folder / "etc"
        main = MAIN_CF.format(
            folder=self.folder,
            next_port=next_port(way),
            certificate=self.site.tools.certificate,
            key=self.site.tools.key,
        )
        if self._reuse:
            main += "smtp_tls_connection_reuse = yes\n"
        if way is Way.MANY:
            routes = (f"{d} smtp:[{a}]:{next_port(way)}\n" for d, a in domain_addresses())
            (etc / "transport").write_text("".join(routes))
            main += f"transport_maps = texthash:{etc}/transport\n"
        (etc / "main.cf").write_text(main)
        (etc / "master.cf").write_text(MASTER_CF.format(port=self.port))
        run(["postfix", "-c", str(etc), "check"])  # makes the queue's folders with their owners

    def command(self) -> list[str]:
        return [str(MASTER), "-d", "-c", str(self.folder / "etc")]
