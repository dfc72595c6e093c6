"""Exim (Debian's daemon with GnuTLS), unpacked by scripts/test-packages, with its own configuration and spool."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.fakes.ca import Issued
from tests.live.peers.mail import Mail, read_maildir
from tests.live.peers.processes import PATIENCE, PROJECT, FileLines, Program, need_root

PROGRAM = PROJECT / ".cache" / "peers" / "exim" / "usr" / "sbin" / "exim4"
USER = "Debian-exim"

MAIN = """\
primary_hostname = {hostname}
exim_path = {program}
daemon_smtp_ports = {port}
local_interfaces = <; {address}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
log_selector = +tls_cipher +tls_peerdn +tls_sni +smtp_connection +received_recipients
pid_file_path = {folder}/exim.pid
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = accept
acl_smtp_data = accept
keep_environment =
deliver_drop_privilege = true
{tls}
{options}
begin acl
begin routers
{router}
begin transports
{transport}
begin retry
* * F,1h,5s
"""

KEEP_ROUTER = """\
all:
  driver = accept
  transport = keep
"""
KEEP_TRANSPORT = """\
keep:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = {user}
  envelope_to_add
  return_path_add
"""
RELAY_ROUTER = """\
all:
  driver = manualroute
  domains = *
  route_list = * {host}
  self = send
  host_find_failed = defer
  transport = out
"""
RELAY_TRANSPORT = """\
out:
  driver = smtp
  port = {next_port}
  allow_localhost
  hosts_try_dane =
  {smtp_options}
"""


class Exim:
    """One instance: keeps all mail in a Maildir, or with `relay_to` ("host:port") hands all of it on.

    `options` are further lines of the main section, `smtp_options` of the outgoing transport.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        address: str = "127.0.0.1",
        hostname: str = "exim.example",
        certificate: Issued | None = None,
        relay_to: str = "",
        options: str = "",
        smtp_options: str = "tls_verify_hosts =\n  tls_try_verify_hosts =",
    ) -> None:
        if not PROGRAM.exists():
            pytest.fail(
                "Exim is missing: run scripts/test-packages as root (it unpacks Debian's exim4-daemon-light)"
            )
        need_root("Exim")
        self.folder, self.port = folder, port
        for name in ("spool", "log", "mail"):
            (folder / name).mkdir(parents=True)
        host, _, next_port = relay_to.rpartition(":")
        router, transport = (RELAY_ROUTER, RELAY_TRANSPORT) if relay_to else (KEEP_ROUTER, KEEP_TRANSPORT)
        words = {"folder": folder, "user": USER, "host": host, "next_port": next_port}
        text = MAIN.format(
            program=PROGRAM,
            hostname=hostname,
            port=port,
            address=address,
            folder=folder,
            tls=self._tls(certificate),
            options=options,
            router=router.format(**words),
            transport=transport.format(**words, smtp_options=smtp_options),
        )
        configuration = folder / "exim.conf"
        configuration.write_text(text)
        folder.chmod(0o755)
        for path in folder.rglob("*"):
            if path != configuration:
                shutil.chown(path, USER, USER)
        self._log = FileLines(folder / "log" / "mainlog")
        self.log = self._log.lines
        self._daemon = Program([PROGRAM, "-C", configuration, "-bdf", "-q5s"], name="exim")
        self.log.wait_for("daemon started")

    def _tls(self, issued: Issued | None) -> str:
        if issued is None:
            return "tls_advertise_hosts ="
        chain, key = self.folder / "chain.pem", self.folder / "key.pem"
        chain.write_bytes(issued.chain_pem)
        key.write_bytes(issued.key_pem)
        key.chmod(0o600)
        return f"tls_advertise_hosts = *\ntls_certificate = {chain}\ntls_privatekey = {key}"

    def wait_for_mail(self, count: int = 1, timeout: float = PATIENCE) -> list[Mail]:
        """All messages in the Maildir, once there are `count`."""
        self.log.wait_for(r"=> .* T=keep", count=count, timeout=timeout)
        return read_maildir(self.folder / "mail")

    def stop(self) -> None:
        self._daemon.stop()
        self._log.close()
