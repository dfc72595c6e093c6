"""The job of our TLS reports (RFC 8460): it adds up sessions from the log of events, and sends each day's reports behind its end.

How it works. Once a minute it reads what `events.jsonl` got since the last look, takes the `OutboundSession` events, and adds up
what they count as (`policy.tls_report`). Sums and position are one transaction of a store of their own, so that nothing is counted twice or left
out, whenever the desk dies. The mail path knows nothing of it.

Behind the end of a day (UTC) each domain of it has its time within four hours, the same whenever it is asked. Then its `_smtp._tls`
record is looked up; with one the report is made, kept as it goes out, and sent to each destination (`app.tls_report_sending`). A
look-up without an answer, and a destination that fails, are tried again with growing pauses for 24 hours.

While `tls_reports.send` is off the log is not read, and nothing is counted.

Limits. 200 look-ups and 200 sendings a look. A log that is removed, or put away and pruned before it was read, loses what it told; the log
gets a Warning. A gateway that was off for longer than a day behind a day's end sends that day's reports all the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from gatepost.app.newest import NewestConfiguration
from gatepost.app.tls_report_sending import Post, ReportSender
from gatepost.certs.crls import trusted_pem
from gatepost.certs.dkim_vault import DkimVault
from gatepost.config.model import Document
from gatepost.control.ports import Gateway
from gatepost.control.tls_reporter import reporter_of
from gatepost.core.event import Event
from gatepost.core.events import Warned
from gatepost.core.ports import Clock
from gatepost.core.record_events import OutboundSession
from gatepost.net.dns_answer import DnsAnswer
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.http import PublicHttp, looked_up_by
from gatepost.net.resolver import Resolver
from gatepost.policy.tls_report import counted, day_before, day_of, send_time
from gatepost.policy.tls_report_day import Reporter, day_report, next_look_up
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.secrets import Keeper
from gatepost.store.tls_report_rows import Count, Standing, State
from gatepost.store.tls_reports import KEPT_DAYS, TlsReportStore
from gatepost.track.event_reader import EventReader, Position
from gatepost.wire.tlsrpt_mail import packed_report
from gatepost.wire.tlsrpt_record import TlsrptRecord, TlsrptRecordFault, read_record, record_name

META = "position"
LOOK = 60.0
AT_ONCE = 0.05
IDLE = 3_600.0
LIMIT = 16 << 20  # octets of the log at a time
ROUNDS = 20  # such pieces a look
FIRST_BACK = 1 << 20  # octets before the end of the log, where reading begins for the first time
BATCH = 200
LOOK_UPS = 10  # at the same time

LOST = "log files were gone before they were read for TLS reports: their sessions are not counted"
NO_RECORD = "it asks for no reports"


class Links(Protocol):
    """How the job asks DNS and web servers."""

    async def txt(self, name: str) -> DnsAnswer[str]: ...

    @property
    def http(self) -> Post: ...


OpenLinks = Callable[[Document, Content], Any]
"""An asynchronous context that gives `Links` under a configuration."""


@dataclass(frozen=True, slots=True)
class _RealLinks:
    resolver: Resolver
    http: Post

    async def txt(self, name: str) -> DnsAnswer[str]:
        return await self.resolver.txt(name)


@asynccontextmanager
async def open_links(document: Document, content: Content) -> AsyncIterator[Links]:
    """A resolver and an HTTP client of one look, as the configuration says, and nothing remembered."""
    servers = tuple(parse_name_server(text) for text in document.dns.servers)
    resolver = Resolver(asyncio.get_running_loop(), DnsClient(servers or system_name_servers()))
    trust = await asyncio.to_thread(trusted_pem, content)
    http = PublicHttp(looked_up_by(resolver), trust, allow_inside=document.dns.allow_private_mx)
    try:
        yield _RealLinks(resolver, http)
    finally:
        await http.close()
        await resolver.close()


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a version of the configuration says; `since` is when it was committed."""

    document: Document
    content: Content
    reporter: Reporter
    since: float


class TlsReportJob:
    """Implements `app.jobs.Job`. `links` replaces how DNS and web servers are asked."""

    name = "tls-reports"

    def __init__(
        self,
        home: Home,
        store: ConfigStore,
        keeper: Keeper,
        gateway: Gateway,
        reader: EventReader,
        clock: Clock,
        *,
        links: OpenLinks = open_links,
        limit: int = LIMIT,
    ) -> None:
        self._home = home
        self._vault = DkimVault(store, keeper, clock)
        self._gateway = gateway
        self._reader = reader
        self._clock = clock
        self._links = links
        self._limit = limit
        self._newest = NewestConfiguration(store)
        self._settings: _Settings | None = None
        self._pruned = ""

    async def run(self) -> float:
        """Count what is new, send what is due; the seconds to the next look."""
        await self._follow_configuration()
        settings, path = self._settings, self._home.tls_reports_db
        if settings is None:
            if path.exists():
                with TlsReportStore.open(path) as sums:
                    if sums.get_meta(META) is not None:
                        sums.add((), {META: None})
            return IDLE
        with TlsReportStore.open(path) as sums:
            if await self._count(sums, settings):
                return AT_ONCE
            return await self._report(sums, settings)

    async def _follow_configuration(self) -> None:
        found = await self._newest.take_read()
        if found is None:
            return
        version, document = found
        if not document.tls_reports.send:
            self._settings = None
            return
        reporter = reporter_of(document, self._home.serial())
        self._settings = _Settings(document, version.content, reporter, version.at)

    # --- counting --------------------------------------------------------------------------------

    async def _count(self, sums: TlsReportStore, settings: _Settings) -> bool:
        """Add up what the log got; True where there is more."""
        position, since = _unpacked(sums.get_meta(META))
        if position is None:
            position, since = await asyncio.to_thread(self._reader.near_end, FIRST_BACK), settings.since
        for _ in range(ROUNDS):
            read = await asyncio.to_thread(self._reader.read, position, (OutboundSession,), self._limit)
            if read.lost:
                self._gateway.emit(Warned(self._clock.now(), LOST))
            if read.position != position or not sums.get_meta(META):
                gateway = settings.reporter.gateway
                counts = await asyncio.to_thread(_added_up, read.events, since, gateway)
                metas = {META: _packed(read.position, since)}
                self._tell_lost(await asyncio.to_thread(sums.add, counts, metas))
            position = read.position
            if not read.more:
                return False
        return True

    def _tell_lost(self, sessions: int) -> None:
        if sessions:
            text = f"{sessions} sessions are in no TLS report: there are too many domains today"
            self._gateway.emit(Warned(self._clock.now(), text))

    # --- reports ---------------------------------------------------------------------------------

    async def _report(self, sums: TlsReportStore, settings: _Settings) -> float:
        now = self._clock.now()
        today = day_of(now)
        if self._pruned != today:
            await asyncio.to_thread(sums.prune, day_before(today, KEPT_DAYS))
            self._pruned = today
        days = sums.due_days(now, today, BATCH)
        if days or sums.due_sendings(now, 1):
            async with self._links(settings.document, settings.content) as links:
                await self._look_up_all(sums, settings, links, days)
                sender = ReportSender(
                    sums, self._vault, self._gateway, self._clock, settings.reporter, links.http
                )
                await sender.send(sums.due_sendings(self._clock.now(), BATCH))
        if len(days) == BATCH:
            return AT_ONCE
        due = sums.next_due(today)
        return LOOK if due is None else min(max(due - self._clock.now(), AT_ONCE), LOOK)

    async def _look_up_all(
        self, sums: TlsReportStore, settings: _Settings, links: Links, days: Sequence[Standing]
    ) -> None:
        places = asyncio.Semaphore(LOOK_UPS)

        async def one(standing: Standing) -> None:
            async with places:
                await self._look_up(sums, settings, links, standing)

        async with asyncio.TaskGroup() as group:
            for standing in days:
                group.create_task(one(standing), name=f"TLS report record of {standing.domain}")

    async def _look_up(
        self, sums: TlsReportStore, settings: _Settings, links: Links, standing: Standing
    ) -> None:
        """Make the report of a day for a domain that asks for it, or write down why there is none."""
        day, domain = standing.day, standing.domain
        if standing.state is State.REPORTED and sums.send_again(day, domain, self._clock.now()):
            return
        answer = await links.txt(record_name(domain))
        if answer.temporary:
            self._look_up_again(sums, standing, answer.detail)
            return
        try:
            record = read_record(answer.values) if answer.found else None
        except TlsrptRecordFault as fault:
            self._stand(sums, standing, State.FAILED, f"its record does not count: {fault}")
            return
        if record is None:
            self._stand(sums, standing, State.NO_RECORD, NO_RECORD)
        elif not record.destinations:
            text = f"no report can go to {', '.join(record.ignored)[:200]}"
            self._stand(sums, standing, State.FAILED, text)
        else:
            self._make(sums, settings, standing, record)

    def _look_up_again(self, sums: TlsReportStore, standing: Standing, problem: str) -> None:
        text = f"its record cannot be looked up: {problem}"
        again = next_look_up(standing.tries, self._clock.now())
        if again is None:
            self._stand(sums, standing, State.FAILED, text)
        else:
            self._stand(sums, standing, State.UNKNOWN, text, due=again, tries=standing.tries + 1)

    def _stand(
        self,
        sums: TlsReportStore,
        standing: Standing,
        state: State,
        detail: str,
        *,
        due: float = 0.0,
        tries: int = 0,
    ) -> None:
        """A day that is not over goes on being counted, whatever a report of its first hours came to."""
        if standing.day >= day_of(self._clock.now()):
            state, due, tries = State.COUNTED, standing.due, 0
        sums.stand(standing.day, standing.domain, state, detail, due=due or standing.due, tries=tries)

    def _make(
        self, sums: TlsReportStore, settings: _Settings, standing: Standing, record: TlsrptRecord
    ) -> None:
        now = self._clock.now()
        whole = standing.day < day_of(now)
        results = sums.results(standing.day, standing.domain)
        made = day_report(settings.reporter, standing.day, standing.domain, results, None if whole else now)
        uris = [destination.uri for destination in record.destinations]
        sums.keep_report(standing, made.name, packed_report(made.report), uris, now, whole=whole)


def _added_up(events: Sequence[Event], since: float, gateway: str) -> list[Count]:
    """Sessions from a moment on; those that count alike once, with their number."""
    found = (counted(one) for one in events if isinstance(one, OutboundSession) and one.at >= since)
    alike = Counter((day_of(one.at), one.domain, one.policy, one.failure) for one in found if one)
    return [
        Count(day, domain, send_time(day, domain, gateway), policy, failure, number)
        for (day, domain, policy, failure), number in alike.items()
    ]


def _packed(position: Position, since: float) -> bytes:
    return orjson.dumps({"head": position.head, "offset": position.offset, "since": since})


def _unpacked(data: bytes | None) -> tuple[Position | None, float]:
    if not data:
        return None, 0.0
    raw = orjson.loads(data)
    return Position(raw["head"], raw["offset"]), float(raw["since"])
