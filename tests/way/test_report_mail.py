"""TLS reports for our report mailboxes: taken out of the mail once they are on disk; everything else goes its way."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import BODY, gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run
from tests.wire.test_tlsrpt_received import mail

from gatepost.relay import report_mail
from gatepost.store import tls_reports_incoming
from gatepost.store.tls_reports_incoming import Came

FROM, TO = "reports@partner.example", "tls-reports@example.net"
REPORT = mail()


def received(**keys: Any) -> dict[str, Any]:
    return {"mailboxes": [TO.upper()], **keys}


def test_a_report_is_taken_and_nobody_is_asked_where_its_mailbox_lives(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(
            tmp_path, routes={"example.net": ("reject",)}, tls_reports_received=received()
        ) as it:
            mid = await it.inject(FROM, TO, body=REPORT)
            await it.log.line(f"Message finished MID {mid} done")
            assert it.log.about(f"MID {mid}")[1:] == [
                f"Message done DCID 0 MID {mid} to RID [0]",
                f"MID {mid} RID [0] Response '2.0.0 taken as a TLS report'",
                f"Message finished MID {mid} done",
            ]
            assert it.incoming.names() == [str(mid)]
            came, content = it.incoming.get(str(mid))
            assert content == REPORT
            assert (came.way, came.origin, came.mid, came.recipient) == ("mail", FROM, mid, TO)
            assert it.couriers.scheduler.messages == {}

    run(main)


@pytest.mark.parametrize(
    ("to", "body", "settings"),
    [
        (TO, BODY, received()),  # no report: somebody's question
        ("postmaster@example.net", REPORT, received()),
        (TO, REPORT, {}),
    ],
)
def test_what_is_not_to_be_taken_is_delivered(
    tmp_path: Path, to: str, body: bytes, settings: dict[str, Any]
) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"example.net": peer.port}, tls_reports_received=settings) as it,
        ):
            mid = await it.inject(FROM, to, body=body)
            await it.log.line(f"Message finished MID {mid} done")
            assert [one.body for one in peer.mails] == [body]
            assert it.incoming.names() == []

    run(main)


def test_other_recipients_of_the_same_message_get_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"example.net": peer.port}, tls_reports_received=received()) as it,
        ):
            mid = await it.inject(FROM, "ann@example.net", TO, "bob@example.net", body=REPORT)
            await it.log.line(f"Message finished MID {mid} done")
            (one,) = peer.mails
            assert [text.partition(">")[0].lstrip("<") for text in one.recipients] == [
                "ann@example.net",
                "bob@example.net",
            ]
            assert it.incoming.names() == [str(mid)]
            await it.quiet()
            assert it.couriers.scheduler.messages == {}

    run(main)


def test_a_copy_goes_on_where_that_is_wanted_and_the_report_is_handed_over_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(
                tmp_path,
                routes={"example.net": ("[127.0.0.1]:9",)},
                tls_reports_received=received(deliver=True),
            ) as it,
        ):
            mid = await it.inject(FROM, TO, body=REPORT)
            await it.delayed(mid)
            assert it.incoming.names() == [str(mid)]
            it.incoming.done(str(mid))
            it.commit(smtp_routes=[{"domain": "example.net", "hosts": [f"[127.0.0.1]:{peer.port}"]}])
            it.to_next_attempt(mid)
            await it.log.line(f"Message finished MID {mid} done")
            assert [one.body for one in peer.mails] == [REPORT]
            assert it.incoming.names() == []

    run(main)


def test_what_cannot_be_kept_stays_in_the_queue_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with gateway(tmp_path, tls_reports_received=received()) as it:
            it.incoming.put("other", Came("mail", "x", 0.0), b"")
            with monkeypatch.context() as full:
                full.setattr(tls_reports_incoming, "MAX_WAITING", 1)
                mid = await it.inject(FROM, TO, body=REPORT)
                await it.delayed(mid)
            assert "too many TLS reports wait to be read" in it.log.with_("Delayed:")[0]
            it.to_next_attempt(mid)
            await it.log.line(f"Message finished MID {mid} done")
            assert str(mid) in it.incoming.names()

    run(main)


def test_one_that_waits_behind_mail_for_a_dead_host_is_taken_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(
            tmp_path, routes={"example.net": ("[127.0.0.1]:9",)}, tls_reports_received=received()
        ) as it:
            others = [await it.inject(FROM, "ann@example.net", body=BODY) for _ in range(6)]
            mid = await it.inject(FROM, TO, body=REPORT)
            await it.log.line(f"Message finished MID {mid} done")
            for other in others:
                await it.delayed(other)
            assert it.incoming.names() == [str(mid)]

    run(main)


def test_what_is_longer_than_any_report_goes_on_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_mail, "MAX_MAIL", 100)

    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"example.net": peer.port}, tls_reports_received=received()) as it,
        ):
            mid = await it.inject(FROM, TO, body=REPORT)
            await it.log.line(f"Message finished MID {mid} done")
            assert len(peer.mails) == 1
            assert len(it.log.with_("is longer than a TLS report may be")) == 1

    run(main)


def test_one_report_at_a_time_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of deliveries to one domain may begin at once, and a report may have 15 MiB."""
    met = []

    async def main() -> None:
        async with gateway(
            tmp_path, routes={"example.net": ("reject",)}, tls_reports_received=received()
        ) as it:
            keep, both = it.incoming.put, threading.Barrier(2, timeout=0.3)

            def put(name: str, came: Came, content: bytes) -> None:
                try:
                    both.wait()
                    met.append(name)
                except threading.BrokenBarrierError:
                    both.reset()
                keep(name, came, content)

            monkeypatch.setattr(it.incoming, "put", put)
            mids = await asyncio.gather(*(it.inject(FROM, TO, body=REPORT) for _ in range(2)))
            for mid in mids:
                await it.log.line(f"Message finished MID {mid} done")
            assert sorted(it.incoming.names()) == sorted(str(mid) for mid in mids)

    run(main)
    assert met == []
