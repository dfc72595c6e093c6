"""`gatepost zoo check`: one real message to every inhabitant under every column, and whether what happened is what the table says.

For each column: its configuration is committed, the messages are handed over on one connection, and the events of their MIDs say what became
of each. Beside the verdict, which is the gateway's own word, the other side is asked: a message that is said to be delivered has arrived
once, over TLS or not as it is said; one that is not is still in the queue, or was given back. So none can be lost unseen.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gatepost.app.zoo.places import CREDULOUS
from gatepost.app.zoo.population import Population
from gatepost.app.zoo.stage import ADDRESS, KEEPER, PORT
from gatepost.app.zoo.table import Column, Inhabitant, Outcome, Verdict
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.delivery_events import Delivered, RecipientBounced, RecipientDelayed
from gatepost.core.errors import OperatorError
from gatepost.core.event import Event
from gatepost.core.events import MessageHeld, Warned
from gatepost.track.event_reader import EventReader, Position

PATIENCE = 60.0  # seconds in which nothing at all happens
LOOK_AGAIN = 0.1  # the log is a file that others write; nothing tells when a line comes
DISBELIEF = f"Name server {CREDULOUS}:53 is not believed about DNSSEC"
_PIECE = 8 << 20
_KINDS = (Delivered, RecipientDelayed, RecipientBounced, MessageHeld)
_QUEUED = re.compile(r"queued as ([0-9]+)")
_OVER_TLS = {Verdict.CLEAR: False, Verdict.ENCRYPTED: True, Verdict.VERIFIED: True}


@dataclass(frozen=True, slots=True)
class Result:
    """One cell. `problem` is empty when it is as the table says and nothing is lost."""

    inhabitant: Inhabitant
    column: Column
    expected: Outcome
    found: Outcome | None
    problem: str


class Check:
    """One run over some columns. `tell(text)` is told how far it is."""

    def __init__(self, population: Population, tell: Callable[[str], None]) -> None:
        self._zoo = population
        self._stage = population.stage
        self._tell = tell
        home = population.stage.home
        self._reader = EventReader(home.logs, home.event_log.name)
        self._position = Position()
        self._run = f"{time.time():.3f}"

    async def run(self, columns: Sequence[Column]) -> list[Result]:
        """All cells of these columns. Raises OperatorError when the gateway does not do its part."""
        results: list[Result] = []
        before = self._reader.near_end(0)
        for column in columns:
            begun = time.monotonic()
            found = await self._column(column)
            results += found
            wrong = sum(bool(result.problem) for result in found)
            many = "inhabitant" if len(found) == 1 else "inhabitants"
            took = time.monotonic() - begun
            self._tell(f"{column.value}: {len(found)} {many}, {wrong} not as the table says, {took:.1f} s")
        unvalidated = [result for result in results if not result.column.validated]
        if unvalidated and (problem := await self._untold(before)):
            results.append(replace(unvalidated[-1], problem=problem))
        return results + self._unasked(results)

    async def _column(self, column: Column) -> list[Result]:
        chosen = [one for one in self._zoo.chosen if column in one.expected]
        if not chosen:
            return []
        await self._stage.use(column, self._zoo.all)
        self._position = self._reader.near_end(0)
        mids = await asyncio.to_thread(self._send, column, chosen)
        names = {mid: name for name, mid in mids.items()}
        outcomes = await self._outcomes(set(names))
        for attempt in range(2, max(one.attempts for one in chosen) + 1):
            again = {mids[one.name] for one in chosen if one.attempts >= attempt}
            again = {mid for mid in again if mid in outcomes and outcomes[mid].verdict is Verdict.REFUSED}
            for mid in again:
                await self._stage.call("queue.retry", mid=mid)
            outcomes |= await self._outcomes(again)
        waiting = {row["mid"] for row in (await self._stage.call("queue.list"))["messages"]}
        results = [
            self._result(one, column, outcomes.get(mids[one.name]), waiting=mids[one.name] in waiting)
            for one in chosen
        ]
        await self._stage.call("queue.delete", all=True)
        return results

    def _identifier(self, one: Inhabitant, column: Column) -> str:
        return f"{one.name}.{column.value}.{self._run}@keeper.zoo.example"

    def _send(self, column: Column, chosen: Sequence[Inhabitant]) -> dict[str, int]:
        """Hand over a message for each; their MIDs by name. Raises OperatorError."""
        mids = {}
        sender = f"{KEEPER}@{KEEPER}.zoo.example"
        try:
            with smtplib.SMTP(ADDRESS, PORT, "client.zoo.example", timeout=PATIENCE) as client:
                client.ehlo()
                for one in chosen:
                    content = (
                        f"From: {sender}\r\nTo: visitor@{one.domain}\r\nSubject: {one.name} under {column.value}\r\n"
                        f"Message-ID: <{self._identifier(one, column)}>\r\n\r\nA message of the zoo.\r\n"
                    )
                    client.mail(sender)
                    client.rcpt(f"visitor@{one.domain}")
                    code, said = client.data(content)
                    queued = _QUEUED.search(said.decode("utf-8", "replace"))
                    if code != 250 or queued is None:
                        raise OperatorError(f"the gateway did not take the message for {one.domain}: {code}")
                    mids[one.name] = int(queued[1])
        except (OSError, smtplib.SMTPException) as error:
            raise OperatorError(f"the gateway did not take the messages: {error}") from None
        return mids

    async def _outcomes(self, mids: set[int]) -> dict[int, Outcome]:
        """What became of each; those of which nothing is heard for a minute are missing."""
        outcomes: dict[int, Outcome] = {}
        deadline = time.monotonic() + PATIENCE
        while mids - outcomes.keys() and time.monotonic() < deadline:
            read = await asyncio.to_thread(self._reader.read, self._position, _KINDS, _PIECE)
            self._position = read.position
            new = dict(_of_events(read.events, mids))
            if new:
                outcomes |= new
                deadline = time.monotonic() + PATIENCE
            elif not read.more:
                await asyncio.sleep(LOOK_AGAIN)
        return outcomes

    def _result(self, one: Inhabitant, column: Column, found: Outcome | None, *, waiting: bool) -> Result:
        wanted = one.expected[column]
        expected = Outcome(wanted.verdict, wanted.reason.format(domain=one.domain, mx=one.mx))
        identifier = self._identifier(one, column)
        arrived = [
            message.tls
            for host in self._zoo.hosts[one.name]
            for message in host.arrived
            if message.message_id == identifier
        ]
        problem = _difference(expected, found) or _lost(found, arrived, waiting=waiting)
        return Result(one, column, expected, found, problem)

    async def _untold(self, since: Position) -> str:
        """D10: the log says once that the resolver is not believed, and an alert is raised. What is amiss with that, else nothing."""
        warnings = alerts = 0
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            read = await asyncio.to_thread(self._reader.read, since, (Warned, AlertRaised), _PIECE)
            since = read.position
            for event in read.events:
                match event:
                    case Warned(text=text):
                        warnings += text.startswith(DISBELIEF)
                    case AlertRaised(subject=subject):
                        alerts += subject == DISBELIEF
            if alerts and not read.more:
                return "" if warnings == 1 else f"the log says {warnings} times that {DISBELIEF}"
            if not read.more:
                await asyncio.sleep(LOOK_AGAIN)
        return f"no alert was raised: {DISBELIEF}"

    def _unasked(self, all_results: Sequence[Result]) -> list[Result]:
        """D2: names that nobody may ask for, over the whole run."""
        server = self._zoo.name_server
        assert server is not None
        asked = {name for name, kind in server.asked if kind == "TLSA"}
        results = []
        last = {result.inhabitant.name: result for result in all_results}
        for one in self._zoo.chosen:
            if one.unasked and one.name in last and (name := f"_25._tcp.{one.mx}") in asked:
                results.append(replace(last[one.name], problem=f"{name} was asked for TLSA records"))
        return results


def _of_events(events: Iterable[Event], mids: set[int]) -> Iterable[tuple[int, Outcome]]:
    for event in events:
        mid = getattr(event, "mid", 0)
        if mid not in mids:
            continue
        match event:
            case Delivered(tls=tls):
                record = tls or {"verdict": Verdict.CLEAR, "reason": ""}
                yield mid, Outcome(Verdict(record["verdict"]), record["reason"])
            case RecipientDelayed(code=code, texts=texts):
                yield mid, Outcome(Verdict.REFUSED, " ".join((code, *texts)))
            case RecipientBounced(code=code, texts=texts):
                yield mid, Outcome(Verdict.BOUNCED, " ".join((code, *texts)))
            case MessageHeld(reason=reason):
                yield mid, Outcome(Verdict.REFUSED, f"held: {reason}")


def _difference(expected: Outcome, found: Outcome | None) -> str:
    if found is None:
        return "nothing became of the message"
    if found.verdict is not expected.verdict:
        return f"{found.verdict.value}, not {expected.verdict.value}"
    return "" if expected.reason in found.reason else "for another reason"


def _lost(found: Outcome | None, arrived: Sequence[bool], *, waiting: bool) -> str:
    """Whether the hosts and the queue say the same as the gateway's event."""
    if found is None:
        return ""
    over_tls = _OVER_TLS.get(found.verdict)
    if over_tls is None:
        if arrived:
            return f"{found.verdict.value}, and yet it arrived"
        if waiting is not (found.verdict is Verdict.REFUSED):
            return "it is still in the queue" if waiting else "it is neither delivered nor in the queue"
        return ""
    if list(arrived) != [over_tls]:
        how = ["over TLS" if tls else "in clear" for tls in arrived]
        return f"{found.verdict.value}, but it arrived {' and '.join(how) or 'nowhere'}"
    return "it was delivered and is still in the queue" if waiting else ""
