"""The home: one directory that holds everything a gateway keeps (contract, Home and Privileges).

    home/                0750
      config.db          configuration, certificates (keys sealed), users
      records.db         what became of deliveries and sessions, for some days
      tls-reports.db     sums of the TLS reports that are sent, once they are switched on
      ids, serial        high-water marks of the identifiers; the installation's serial number
      lock               held by the running gateway or by an offline command
      logs/              mail_logs, events.jsonl
      received-tls-reports/  reports about our domains, made when the first comes
      run/control.sock   the directory is 0700 before the socket exists
      secrets/           0700; master.key, and the first pass-phrase until it was shown
      spool/             one directory a shard

Whoever changes the home holds its lock; the loser is told who has it and exits 75. The kernel drops
the lock with its process, so a crash leaves nothing to clean up. A command of root works under
the identity of the home's owner (`as_owner`), so that no file in it ever belongs to somebody else; the owner
of an existing home is never changed.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gatepost.core.errors import Exit, OperatorError

MASTER_KEY_BYTES = 32
CREDENTIAL = "gatepost-master-key"
SYSTEM_HOME = "/var/lib/gatepost"
USER_HOME = ".local/share/gatepost"


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that a home belongs to, as numbers; `name` is empty when the system does not know it."""

    uid: int
    gid: int
    name: str = ""

    @classmethod
    def of_uid(cls, uid: int, gid: int = 0) -> Owner:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, gid)
        return cls(uid, entry.pw_gid, entry.pw_name)

    @classmethod
    def named(cls, name: str) -> Owner:
        """The user called `name`. Raises OperatorError when there is none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise OperatorError(
                f"there is no user {name!r} on this machine",
                "create it (`useradd --system NAME`) or name another with --user",
                code=Exit.USAGE,
            ) from None
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_name)


class HomeLock:
    """The held lock of a home; dropped by `release` or by the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next one in. Releasing twice is harmless."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class Home:
    """The layout of one home. The paths are fixed by the contract; nothing is created by naming them."""

    root: Path

    @classmethod
    def locate(cls, given: str | None, environ: Mapping[str, str], uid: int) -> Home:
        """The home of a command: `--home`, else `GATEPOST_HOME`, else the default of this user."""
        text = given or environ.get("GATEPOST_HOME")
        if text:
            return cls(Path(text).expanduser().absolute())
        if uid == 0:
            return cls(Path(SYSTEM_HOME))
        return cls(Path(environ.get("HOME") or pwd.getpwuid(uid).pw_dir) / USER_HOME)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def mail_log(self) -> Path:
        return self.logs / "mail_logs"

    @property
    def event_log(self) -> Path:
        return self.logs / "events.jsonl"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def sts_policies(self) -> Path:
        """Fetched MTA-STS policies; may be removed at any time."""
        return self.root / "cache" / "mta-sts"

    @property
    def tls_reports_db(self) -> Path:
        """Sums and sendings of our TLS reports; made when they are switched on."""
        return self.root / "tls-reports.db"

    @property
    def config_db(self) -> Path:
        return self.root / "config.db"

    @property
    def records_db(self) -> Path:
        """What became of deliveries and sessions; may be removed while the gateway is stopped."""
        return self.root / "records.db"

    @property
    def received_tls_reports(self) -> Path:
        """TLS reports about our domains: what came in and waits to be read, and the database of those that were."""
        return self.root / "received-tls-reports"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def master_key(self) -> Path:
        return self.secrets / "master.key"

    @property
    def first_passphrase(self) -> Path:
        """The sealed pass-phrase of `admin`, until `start` has shown it once."""
        return self.secrets / "first-passphrase"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    @property
    def ids(self) -> Path:
        return self.root / "ids"

    @property
    def serial_file(self) -> Path:
        return self.root / "serial"

    # --- ownership ---------------------------------------------------------------------------

    def owner(self) -> Owner:
        """The owner of the home, or of the process where there is no home yet."""
        try:
            entry = self.root.stat()
        except FileNotFoundError:
            return Owner.of_uid(os.geteuid(), os.getegid())
        return Owner.of_uid(entry.st_uid, entry.st_gid)

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Work with the owner's identity, so that root leaves no files of its own in the home.

        Changes the effective user of the whole process (all its threads): read the operator's own
        files before. Without root's privileges, or in a home of root, it does nothing.
        """
        owner = self.owner()
        if os.geteuid() != 0 or owner.uid == 0:
            yield
            return
        groups, gid = os.getgroups(), os.getegid()
        os.setgroups(_groups_of(owner))
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(gid)
            os.setgroups(groups)

    # --- first use ---------------------------------------------------------------------------

    def initialise(self, environ: Mapping[str, str], *, new_owner: Owner | None = None) -> None:
        """Make what is missing: directories, master key, serial number. Nothing that exists is changed.

        A home that does not exist yet is given to `new_owner` when root says so. A master key is made
        only while there is no configuration: where one is missing later, it is lost, and a new
        one would hide that. Raises OperatorError where the place cannot be used.
        """
        try:
            self._make_root(new_owner)
            with self.as_owner():
                for path, mode in (
                    (self.logs, 0o750),
                    (self.spool, 0o700),
                    (self.secrets, 0o700),
                    (self.run, 0o700),
                ):
                    _make_directory(path, mode)
                if not self.config_db.exists() and credential_path(environ) is None:
                    create_once(self.master_key, secrets.token_bytes(MASTER_KEY_BYTES), 0o600)
                create_once(self.serial_file, _new_serial().encode() + b"\n", 0o644)
        except OSError as error:
            raise OperatorError(
                f"the home {self.root} cannot be prepared: {error.strerror}",
                "check its path, its owner and the free space, or name another with --home",
            ) from error

    def _make_root(self, new_owner: Owner | None) -> None:
        if self.root.is_dir():
            return
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o750)
        if new_owner is not None and os.geteuid() == 0:
            os.chown(self.root, new_owner.uid, new_owner.gid)
        _flush_directory(self.root.parent)

    def serial(self) -> str:
        """The serial number made for this installation."""
        return self.serial_file.read_text("ascii").strip()

    # --- the lock ----------------------------------------------------------------------------

    def lock(self, who: str) -> HomeLock:
        """Hold the home for `who` (shown to the loser). Raises OperatorError (exit 75) when it is held."""
        try:
            with self.as_owner():
                descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OperatorError(
                f"the home {self.root} cannot be locked: {error.strerror}",
                "run the command as the home's owner",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise OperatorError(
                f"the home {self.root} is in use by {holder or 'another process'}",
                "wait until it has ended, or stop it",
                code=Exit.TRY_AGAIN,
            ) from None
        os.ftruncate(descriptor, 0)
        # Only the loser's message has it; looking at what there is works on a full disk too.
        with suppress(OSError):
            os.pwrite(descriptor, f"{who} (process {os.getpid()})\n".encode(), 0)
        return HomeLock(descriptor)


def credential_path(environ: Mapping[str, str]) -> Path | None:
    """The master key that the service manager passed, if it did (systemd.exec, `LoadCredential`)."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory) / CREDENTIAL
    return path if path.exists() else None


def create_once(path: Path, content: bytes, mode: int) -> bool:
    """Write a file durably and whole, or leave the one that is there; True when it was made now."""
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike rename, it never replaces what another process just made
        except FileExistsError:
            return False
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _flush_directory(path.parent)
    return True


def _make_directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        found = path.stat()
        # An administrator may open `logs`; the private ones are closed again whenever they are ours.
        if mode == 0o700 and stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
            path.chmod(mode)
    else:
        _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _groups_of(owner: Owner) -> list[int]:
    return os.getgrouplist(owner.name, owner.gid) if owner.name else [owner.gid]


def _new_serial() -> str:
    """Random, in the appliance's shape: two groups of twelve hexadecimal digits."""
    text = secrets.token_hex(12).upper()
    return f"{text[:12]}-{text[12:]}"
