"""Postfix with its own configuration and queue: a receiver that keeps mail, or a sender that hands it on.

Everything lies in one temporary folder; the system's Postfix, if there is one, is not touched.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.fakes.ca import Issued
from tests.live.peers.mail import Mail, read_maildir
from tests.live.peers.processes import PATIENCE, FileLines, Program, need_root

MASTER = Path("/usr/lib/postfix/sbin/master")

SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 5 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
tlsproxy unix - - n - 0 tlsproxy
"""


class Postfix:
    """One instance. `options` are further lines of main.cf and win over the defaults here.

    Without `relay_to` it takes mail for every domain into a Maildir; with it ("host:port") it accepts mail
    from loopback and hands all of it on to that host. With a certificate it offers STARTTLS.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        address: str = "127.0.0.1",
        hostname: str = "postfix.example",
        certificate: Issued | None = None,
        relay_to: str = "",
        options: Mapping[str, str] | None = None,
    ) -> None:
        if not MASTER.exists():
            pytest.fail("Postfix is missing: run scripts/test-packages as root, or install Debian's postfix")
        need_root("Postfix")
        self.folder, self.port, self.address = folder, port, address
        self._write(hostname, certificate, relay_to, options or {})
        etc = self.folder / "etc"
        subprocess.run(["postfix", "-c", etc, "check"], check=True, stdin=subprocess.DEVNULL)
        self._log = FileLines(self.folder / "log" / "mail.log")
        self.log = self._log.lines
        self._master = Program([MASTER, "-d", "-c", etc], name="postfix")
        self.log.wait_for("daemon started")

    def _write(
        self, hostname: str, certificate: Issued | None, relay_to: str, options: Mapping[str, str]
    ) -> None:
        for name in ("etc", "spool", "data", "log", "mail"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        shutil.chown(self.folder / "data", "postfix", "postfix")
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.folder / "spool"),
            "data_directory": str(self.folder / "data"),
            "meta_directory": "/etc/postfix",
            "maillog_file": str(self.folder / "log" / "mail.log"),
            "maillog_file_prefixes": str(self.folder),
            "myhostname": hostname,
            "mydestination": "",
            "alias_maps": "",
            "local_recipient_maps": "",
            "inet_interfaces": self.address,
            "inet_protocols": "all",
            "smtp_dns_support_level": "disabled",
            "smtpd_peername_lookup": "no",
            "minimal_backoff_time": "2s",
            "smtp_tls_security_level": "may",
            "smtp_tls_loglevel": "1",
            "smtpd_tls_loglevel": "1",
            "smtpd_tls_received_header": "yes",
            **(_receiving(self.folder / "mail") if not relay_to else _relaying(relay_to)),
            **(_certificate(self.folder / "etc", certificate) if certificate else {}),
            **options,
        }
        (self.folder / "etc" / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        listener = f"[{self.address}]:{self.port} inet n - n - - smtpd\n"
        (self.folder / "etc" / "master.cf").write_text(listener + SERVICES)

    def wait_for_mail(self, count: int = 1, timeout: float = PATIENCE) -> list[Mail]:
        """All messages in the Maildir, once there are `count`."""
        self.log.wait_for(r"postfix/virtual\[.*status=sent", count=count, timeout=timeout)
        return read_maildir(self.folder / "mail" / "all")

    def queue(self) -> Sequence[str]:
        """Postfix's own list of its queue, one JSON object a message."""
        command = ["postqueue", "-c", str(self.folder / "etc"), "-j"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def stop(self) -> None:
        self._master.stop()
        self._log.close()


def _receiving(mail: Path) -> dict[str, str]:
    return {
        "virtual_mailbox_domains": "static:all",
        "virtual_mailbox_maps": "static:all/",
        "virtual_mailbox_base": str(mail),
        "virtual_minimum_uid": "1",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        "mynetworks": "",
        "smtpd_recipient_restrictions": "reject_unauth_destination",
    }


def _relaying(relay_to: str) -> dict[str, str]:
    host, _, port = relay_to.rpartition(":")
    return {"mynetworks": "127.0.0.0/8 [::1]/128", "relayhost": f"[{host}]:{port}"}


def _certificate(folder: Path, issued: Issued) -> dict[str, str]:
    chain = folder / "chain.pem"
    chain.write_bytes(issued.key_pem + issued.chain_pem)
    chain.chmod(0o600)
    return {"smtpd_tls_chain_files": str(chain), "smtpd_tls_security_level": "may"}
