"""A store, a vault, an authority and a clock: the renewals without a gateway, for the tests of this room.

box = Box(tmp_path)
box.configure(box.certificate("mx"), renew_at=0.5)
pause = box.run()                     # what the job does once
box.clock.at += pause                 # time goes on
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.renewal_authority import CutOff, FakeAuthority

from gatepost.certs.acme.challenges import Proof
from gatepost.certs.acme_vault import AcmeVault
from gatepost.certs.inventory import keep_profile, open_profile, with_profile
from gatepost.certs.making import new_self_signed
from gatepost.certs.renewal import Standing, Wanted
from gatepost.certs.renewing import Gate, Renewals, Tools, rows
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import OperatorError
from gatepost.core.event import Event
from gatepost.core.ports import Alert
from gatepost.pki.keys import KeyKind
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import SubjectFields
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.secrets import LocalKeeper, MasterKey
from gatepost.wire.acme_objects import ChallengeKind

NOW = 1_800_000_000.0
DIRECTORY = "https://acme.example/directory"


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Proving:
    """Challenges that nobody looks at; how often they were opened and closed."""

    prefers = (ChallengeKind.HTTP01,)

    def __init__(self) -> None:
        self.opened = self.closed = 0

    async def present(self, proof: Proof, /) -> None: ...

    async def withdraw(self, proof: Proof, /) -> None: ...


class Box:
    def __init__(self, root: Path, *, gate: Gate | None = None) -> None:
        self.clock = Clock()
        self.path = root / "config.db"
        self.store = ConfigStore.open(self.path)
        self.keeper = LocalKeeper(MasterKey(os.urandom(32)))
        self.vault = AcmeVault(self.store, self.keeper, self.clock)
        self.authority = FakeAuthority(self.clock)
        self.proving = Proving()
        self.events: list[Event] = []
        self.alerts: list[Alert] = []
        self.comments: list[str] = []
        self.refusals: list[OperatorError] = []  # of the commits to come
        self.commits_then_ends = False
        self.paused: list[float] = []
        self.gate = gate
        self.store.commit(
            0, Content(to_plain(load_plain({"system": {"hostname": "gw.example.net"}}))), "t", "", NOW
        )
        self.restart()

    def restart(self) -> None:
        """What a new desk has: the store, and nothing in memory."""
        tools = Tools(
            self.store,
            self.keeper,
            self.vault,
            self.authority.connect,
            self._challenges,
            self._commit,
            self.events.append,
            self,
            self.clock,
            gate=self.gate,
            pause=self._pause,
        )
        self.renewals = Renewals(tools)

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    @asynccontextmanager
    async def _challenges(self, wanted: Wanted) -> AsyncIterator[Proving]:
        self.proving.opened += 1
        try:
            yield self.proving
        finally:
            self.proving.closed += 1

    async def _commit(self, profile: Profile, comment: str) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        profile.require_keys()
        self.comments.append(comment)
        await self.install(profile)
        if self.commits_then_ends:
            raise CutOff

    # --- the configuration -------------------------------------------------------------------

    @staticmethod
    def certificate(name: str = "mx", *names: str, **keys: Any) -> dict[str, Any]:
        return {"name": name, "names": list(names) or [f"{name}.example.net"], **keys}

    def configure(self, *certificates: dict[str, Any], **keys: Any) -> None:
        """Commit a section `acme` with these certificates; a stand-in for each that is not there."""
        section = {
            "directory": DIRECTORY,
            "terms_agreed": True,
            "certificates": list(certificates),
            **keys,
        }
        latest = self.store.latest()
        assert latest is not None
        document = to_plain(load_plain({**latest.content.document, "acme": section}))
        content = Content(document, latest.content.profiles)
        self.store.commit(latest.number, content, "t", "", self.clock.at)
        for one in certificates:
            if one["name"] not in content.profiles:
                subject = SubjectFields(one["name"])
                made = new_self_signed(one["name"], subject, one["names"], 3650, KeyKind.P256, self.clock.at)
                asyncio.run(self.install(made))

    async def install(self, profile: Profile) -> None:
        latest = self.store.latest()
        assert latest is not None
        revision = await keep_profile(self.store, self.keeper, profile, self.clock)
        content = with_profile(latest.content, profile.name, revision)
        self.store.commit(latest.number, content, "gatepost", "", self.clock.at)

    # --- looking -----------------------------------------------------------------------------

    def run(self) -> float:
        return asyncio.run(self.renewals.run())

    def until(self, end: float, limit: int = 10_000) -> int:
        """Let the job run whenever it wants to, until a moment; how often it ran."""
        count = 0
        while self.clock.at < end:
            pause = self.run()
            assert pause >= 1.0
            count += 1
            assert count <= limit, "it runs in a loop"
            self.clock.at += min(pause, end - self.clock.at)
        return count

    def profile(self, name: str = "mx") -> Profile:
        """What is in force, with its keys."""
        latest = self.store.latest()
        assert latest is not None
        stored = self.store.profile(latest.content.profiles[name])
        assert stored is not None
        return asyncio.run(open_profile(self.keeper, stored))

    def standing(self, name: str = "mx") -> Standing:
        return self.vault.standing(name)

    def row(self, name: str = "mx") -> Any:
        latest = self.store.latest()
        assert latest is not None
        found = rows(self.store, self.vault, latest.content, self.clock.at)
        return next(row for row in found if row.wanted.name == name)

    def said(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def everything_stored(self) -> bytes:
        """The store's file with its log, as bytes."""
        return b"".join(path.read_bytes() for path in self.path.parent.glob("config.db*"))


def serials(box: Box, name: str = "mx") -> list[int]:
    """The serial numbers of a profile's certificates."""
    return [pair.leaf.parsed.serial_number for pair in box.profile(name).pairs]
