"""TLS report -> its destinations: by mail through our own queue, signed; by https to a web server (RFC 8460 §5).

A mail is handed to a worker like an alert. From there on it is a message like any other, but for two things (`relay.own_mail`): the recipient's
published TLS policy does not hold it up, and its own delivery is in no report. A mail that cannot be signed is not sent, since
receivers have to ignore it; it waits, and goes once there is a key.

By https the compressed report is posted as it is; 200 and 201 are success, whatever else the server says is not. The host's name is
looked up and its addresses are checked like those of any stranger's URL: no inside address, no redirect.

Limits. A desk that dies between a destination's yes and writing it down sends that report once more: it has the same report-id and octets,
so receivers count it once.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gatepost.certs.dkim_vault import DkimVault
from gatepost.control.alert_mail import keep_somewhere
from gatepost.control.ports import Gateway
from gatepost.core.errors import OperatorError
from gatepost.core.events import Noted, Warned
from gatepost.core.ports import Clock
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.policy.tls_report_day import Reporter, next_try
from gatepost.store.tls_report_rows import Sending, SendingState
from gatepost.store.tls_reports import TlsReportStore
from gatepost.wire.dkim import sign_message
from gatepost.wire.tlsrpt import GZIP_TYPE, read_report, unpacked
from gatepost.wire.tlsrpt_mail import SIGNED_FIELDS, ReportMail, make_report_mail
from gatepost.wire.tlsrpt_record import Destination, read_destination

AT_ONCE = 10
MAX_ANSWER = 1 << 16
TAKEN = (200, 201)


class Post(Protocol):
    """The part of `PublicHttp` that is needed here."""

    async def post(
        self, url: str, body: bytes, content_type: str, *, max_body: int = MAX_ANSWER
    ) -> HttpAnswer: ...


class NotSent(Exception):
    """A destination did not take the report; the text says why."""


class ReportSender:
    """Sends what is due, for one look of the job."""

    def __init__(
        self,
        store: TlsReportStore,
        vault: DkimVault,
        gateway: Gateway,
        clock: Clock,
        reporter: Reporter,
        http: Post,
    ) -> None:
        self._store = store
        self._vault = vault
        self._gateway = gateway
        self._clock = clock
        self._reporter = reporter
        self._http = http
        self._places = asyncio.Semaphore(AT_ONCE)

    async def send(self, due: Sequence[Sending]) -> None:
        """Send each once, and write down what became of it."""
        async with asyncio.TaskGroup() as group:
            for one in due:
                group.create_task(self._send(one), name=f"TLS report for {one.domain}")

    async def _send(self, one: Sending) -> None:
        async with self._places:
            try:
                detail = await self._handed_over(one)
            except NotSent as failure:
                self._failed(one, str(failure))
                return
        now = self._clock.now()
        self._store.put_sending(replace(one, state=SendingState.SENT, tries=one.tries + 1, detail=detail))
        text = f"TLS report of {one.day} for {one.domain} was sent to {one.uri}"
        self._gateway.emit(Noted(now, text, {"day": one.day, "domain": one.domain, "how": detail}))

    def _failed(self, one: Sending, problem: str) -> None:
        now, tries = self._clock.now(), one.tries + 1
        again = next_try(one.tries, one.since, now)
        if again is not None:
            self._store.put_sending(replace(one, due=again, tries=tries, detail=problem))
            return
        self._store.put_sending(replace(one, state=SendingState.FAILED, tries=tries, detail=problem))
        text = f"TLS report of {one.day} for {one.domain} was not taken by {one.uri} within a day: {problem}"
        self._gateway.emit(Warned(now, text))

    async def _handed_over(self, one: Sending) -> str:
        """One attempt; returns what it came to. Raises NotSent."""
        destination = read_destination(one.uri)
        assert destination is not None  # only such are kept
        body = self._store.body(one.report)
        return await (self._mail if destination.mail else self._post)(one, destination, body)

    def _unsigned(self, domain: str) -> str:
        if self._vault.keys(domain):
            return f"no key of {domain} opens: the master key is another one; delete them and make new ones"
        return f"no key of {domain} is stored to sign it (`gatepost dkim new {domain}`)"

    async def _post(self, one: Sending, destination: Destination, body: bytes) -> str:
        try:
            answer = await self._http.post(destination.to, body, GZIP_TYPE, max_body=MAX_ANSWER)
        except HttpFailed as failed:
            raise NotSent(failed.text) from None
        if answer.status not in TAKEN:
            raise NotSent(f"it answered {answer.status}")
        return f"answered {answer.status}"

    async def _mail(self, one: Sending, destination: Destination, body: bytes) -> str:
        who, now = self._reporter, self._clock.now()
        signers = await self._vault.signers(who.submitter)
        if not signers:
            raise NotSent(self._unsigned(who.submitter))
        report = read_report(unpacked(body))
        mail = ReportMail(report, one.domain, who.submitter, who.sender, destination.to, one.name, now)
        content = sign_message(make_report_mail(mail), signers, SIGNED_FIELDS, now)
        args: Mapping[str, Any] = {
            # Once more for the same report is another token: it was asked for.
            "token": f"tlsrpt.{one.report}.{one.since:.0f}.{destination.to}",
            "sender": who.sender,
            "recipients": [destination.to],
            "content": b64encode(content).decode("ascii"),
        }
        try:
            return f"MID {await keep_somewhere(self._gateway, args)}"
        except OperatorError as error:
            raise NotSent(error.message) from None
