"""The configuration's versions, candidates, certificates and users: `config.db` (architecture 7).

A *version* is numbered, has an author, a time and a comment, and holds everything that a rollback brings back: the
document, the certificate profiles (by revision), the custom list of authorities, the users. A *candidate* is the
same content, not yet committed, of one author on a base version. Versions are never changed.

A *profile* is one revision of one named certificate: its public parts and its key in an envelope. Versions and
candidates refer to revisions, so unchanged certificates are stored once and never sealed again.
Revisions that nothing refers to are removed when the store is opened.

`commit` is the one step that counts: it compares the base with the latest version and stores the new one
in the same transaction, flushed to disk (WAL, `synchronous=FULL`). The store has one user at a time, the
desk or an offline command under the home's lock. It knows nothing of the document's meaning, and never sees a key in clear.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import orjson

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.database import NewerForm, open_database, transaction
from gatepost.store.secrets import Keeper

SCHEMA_VERSION = 1
CHECK_NAME = "master key/"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE version (
    number INTEGER PRIMARY KEY, base INTEGER NOT NULL, at REAL NOT NULL, author TEXT NOT NULL,
    comment TEXT NOT NULL, document BLOB NOT NULL, profiles BLOB NOT NULL, authorities TEXT NOT NULL,
    users BLOB NOT NULL);
CREATE TABLE candidate (
    author TEXT PRIMARY KEY, base INTEGER NOT NULL, at REAL NOT NULL, document BLOB NOT NULL,
    profiles BLOB NOT NULL, authorities TEXT NOT NULL, users BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE profile (
    revision INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, at REAL NOT NULL, chain TEXT NOT NULL,
    record BLOB NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX profile_name ON profile (name, revision);
"""


@dataclass(frozen=True, slots=True)
class Content:
    """What one version or candidate holds. `profiles` maps names to revisions, `users` names to hashes."""

    document: Mapping[str, Any]
    profiles: Mapping[str, int] = field(default_factory=dict)
    authorities: str = ""  # the custom list, PEM
    users: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """One committed version; `at` is seconds since the epoch, UTC."""

    number: int
    base: int
    at: float
    author: str
    comment: str
    content: Content


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A line of the history."""

    number: int
    at: float
    author: str
    comment: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Pending changes of one author on a base version."""

    author: str
    base: int
    at: float
    content: Content


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """One revision of a certificate profile.

    `chain` is what is served, PEM, leaf first (empty while only a request exists); `record` is the profile's JSON
    form without its key, opaque here; `sealed` is the key's envelope, or empty. The repr leaves the envelope out.
    """

    revision: int
    name: str
    at: float
    chain: str
    record: Mapping[str, Any]
    sealed: bytes = field(repr=False)


class StaleBase(Exception):
    """Somebody committed in between: `latest` is the version that is current now."""

    def __init__(self, base: int, latest: int) -> None:
        super().__init__(f"the change is based on version {base}, but the current version is {latest}")
        self.base = base
        self.latest = latest


class ConfigStore:
    """`config.db`, opened. Methods block for at most a flush and may be called from any thread, one at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._turn = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> ConfigStore:
        """Open or create the store. Raises OperatorError (exit 78) for one that a newer Gatepost wrote."""
        try:
            return cls(open_database(path, _SCHEMA, SCHEMA_VERSION))
        except apsw.CantOpenError:
            raise OperatorError(
                f"the configuration {path} cannot be opened", "run the command as the home's owner"
            ) from None
        except NewerForm as error:
            raise OperatorError(
                f"the configuration {path} was written by a newer Gatepost: {error}",
                "use that version, or bring back a backup of before the update",
                code=Exit.FAULTY_CONFIGURATION,
            ) from None

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn, transaction(self._db):
            yield

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._turn:
            return self._db.execute(query, values).fetchall()

    def _row(self, query: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        rows = self._rows(query, values)
        return rows[0] if rows else None

    # --- versions ----------------------------------------------------------------------------

    def latest_number(self) -> int:
        """The current version's number; 0 while there is none."""
        with self._turn:
            return int(self._db.execute("SELECT coalesce(max(number), 0) FROM version").get)

    def latest(self) -> Version | None:
        """The current version, or None in a new store."""
        return self.version(self.latest_number())

    def version(self, number: int) -> Version | None:
        """One version, or None where there is none of that number."""
        row = self._row(
            "SELECT base, at, author, comment, document, profiles, authorities, users "
            "FROM version WHERE number = ?",
            (number,),
        )
        if row is None:
            return None
        base, at, author, comment = row[:4]
        return Version(number, base, at, author, comment, _content(row[4:]))

    def history(self, limit: int = 1000) -> list[VersionInfo]:
        """The newest versions, newest first."""
        rows = self._rows(
            "SELECT number, at, author, comment FROM version ORDER BY number DESC LIMIT ?", (limit,)
        )
        return [VersionInfo(*row) for row in rows]

    def commit(self, base: int, content: Content, author: str, comment: str, at: float) -> int:
        """Store `content` as the next version, durably, and drop the author's candidate; returns its number.

        Raises StaleBase when `base` is not the latest version, and LookupError when a profile's
        revision does not exist; nothing is changed then.
        """
        with self._transaction():
            latest = self.latest_number()
            if base != latest:
                raise StaleBase(base, latest)
            self._require_profiles(content)
            number = latest + 1
            self._db.execute(
                "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, base, at, author, comment, *_columns(content)),
            )
            self._db.execute("DELETE FROM candidate WHERE author = ?", (author,))
        return number

    def _require_profiles(self, content: Content) -> None:
        for name, revision in content.profiles.items():
            found = self._db.execute("SELECT name FROM profile WHERE revision = ?", (revision,)).get
            if found != name:
                raise LookupError(f"profile {name!r} has no revision {revision}")

    # --- candidates --------------------------------------------------------------------------

    def candidate(self, author: str) -> Candidate | None:
        """The pending changes of one author."""
        row = self._row(
            "SELECT base, at, document, profiles, authorities, users FROM candidate WHERE author = ?",
            (author,),
        )
        return Candidate(author, row[0], row[1], _content(row[2:])) if row else None

    def candidates(self) -> list[Candidate]:
        """All pending changes, by author."""
        rows = self._rows(
            "SELECT author, base, at, document, profiles, authorities, users FROM candidate ORDER BY author"
        )
        return [Candidate(row[0], row[1], row[2], _content(row[3:])) for row in rows]

    def put_candidate(self, author: str, base: int, content: Content, at: float) -> None:
        """Replace the author's candidate. Raises LookupError like `commit`."""
        with self._transaction():
            self._require_profiles(content)
            self._db.execute(
                "INSERT OR REPLACE INTO candidate VALUES (?, ?, ?, ?, ?, ?, ?)",
                (author, base, at, *_columns(content)),
            )

    def clear_candidate(self, author: str) -> bool:
        """Abandon the author's pending changes; True when there were any."""
        with self._transaction():
            self._db.execute("DELETE FROM candidate WHERE author = ?", (author,))
            return self._db.changes() > 0

    # --- profiles ----------------------------------------------------------------------------

    def reserve_revision(self, name: str, at: float) -> int:
        """A revision that was never used before, for a key that is about to be sealed with it."""
        with self._transaction():
            self._db.execute("INSERT INTO profile VALUES (NULL, ?, ?, '', '{}', x'')", (name, at))
            return self._db.last_insert_rowid()

    def put_profile(self, profile: StoredProfile) -> None:
        """Fill a reserved revision. A revision that is in use is never written again (ValueError)."""
        with self._transaction():
            if profile.revision in self._used_revisions():
                raise ValueError(f"revision {profile.revision} is in use and cannot be changed")
            self._db.execute(
                "UPDATE profile SET at = ?, chain = ?, record = ?, sealed = ? WHERE revision = ? AND name = ?",
                (
                    profile.at,
                    profile.chain,
                    orjson.dumps(profile.record),
                    profile.sealed,
                    profile.revision,
                    profile.name,
                ),
            )
            if self._db.changes() != 1:
                raise LookupError(f"profile {profile.name!r} has no revision {profile.revision}")

    def profile(self, revision: int) -> StoredProfile | None:
        """One revision of a certificate profile."""
        row = self._row(
            "SELECT revision, name, at, chain, record, sealed FROM profile WHERE revision = ?",
            (revision,),
        )
        return _profile(row) if row else None

    def revisions(self, name: str) -> list[StoredProfile]:
        """All kept revisions of one name, newest first."""
        rows = self._rows(
            "SELECT revision, name, at, chain, record, sealed FROM profile "
            "WHERE name = ? ORDER BY revision DESC",
            (name,),
        )
        return [_profile(row) for row in rows]

    def committed(self, name: str) -> list[tuple[int, float, str, int]]:
        """The versions that have a profile of this name: number, time, author, revision; oldest first."""
        return self._rows(
            "SELECT v.number, v.at, v.author, p.value FROM version v, json_each(CAST(v.profiles AS TEXT)) p "
            "WHERE p.key = ? ORDER BY v.number",
            (name,),
        )

    def sealed_names(self) -> list[str]:
        """The profiles of the current version that have a private key: what a lost master key costs."""
        latest = self.latest()
        if latest is None:
            return []
        found = ((name, self.profile(revision)) for name, revision in latest.content.profiles.items())
        return sorted(name for name, profile in found if profile is not None and profile.sealed)

    def prune(self) -> int:
        """Remove revisions that no version and no candidate refers to; only while nobody is preparing a change."""
        with self._transaction():
            used = self._used_revisions()
            found = [row[0] for row in self._db.execute("SELECT revision FROM profile")]
            unused = [revision for revision in found if revision not in used]
            for revision in unused:
                self._db.execute("DELETE FROM profile WHERE revision = ?", (revision,))
        return len(unused)

    def _used_revisions(self) -> set[int]:
        rows = self._db.execute("SELECT profiles FROM version UNION ALL SELECT profiles FROM candidate")
        return {int(revision) for row in rows for revision in orjson.loads(row[0]).values()}

    # --- small values ------------------------------------------------------------------------

    def get_meta(self, key: str) -> bytes | None:
        """A small value that belongs to the store as a whole, not to a version."""
        with self._turn:
            value = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
        return None if value is None else bytes(value)

    def put_meta(self, key: str, value: bytes) -> None:
        self.put_metas({key: value})

    def put_metas(self, values: Mapping[str, bytes | None]) -> None:
        """Several small values at once, durably; None removes one."""
        with self._transaction():
            for key, value in values.items():
                if value is None:
                    self._db.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def metas(self, prefix: str) -> dict[str, bytes]:
        """The small values whose keys begin so, by key."""
        rows = self._rows("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return {str(key): bytes(value) for key, value in sorted(rows)}


async def seal_profile(
    store: ConfigStore,
    keeper: Keeper,
    name: str,
    chain: str,
    record: Mapping[str, Any],
    key_pem: bytes,
    now: Callable[[], float],
) -> int:
    """Store a new revision of a profile with its key sealed (none when `key_pem` is empty); returns the revision."""
    at = now()
    revision = store.reserve_revision(name, at)
    sealed = await keeper.seal(name, revision, key_pem) if key_pem else b""
    store.put_profile(StoredProfile(revision, name, at, chain, record, sealed))
    return revision


def _columns(content: Content) -> tuple[bytes, bytes, str, bytes]:
    return (
        orjson.dumps(content.document),
        orjson.dumps(dict(content.profiles)),
        content.authorities,
        orjson.dumps(dict(content.users)),
    )


def _content(row: tuple[Any, ...]) -> Content:
    document, profiles, authorities, users = row
    return Content(orjson.loads(document), orjson.loads(profiles), authorities, orjson.loads(users))


def _profile(row: tuple[Any, ...]) -> StoredProfile:
    revision, name, at, chain, record, sealed = row
    return StoredProfile(revision, name, at, chain, orjson.loads(record), bytes(sealed))
