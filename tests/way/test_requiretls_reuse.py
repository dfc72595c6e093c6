"""REQUIRETLS and connections that other messages opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import controls, gateway
from tests.fakes.peer import CAPABILITIES
from tests.fakes.time_travel import run
from tests.way.requiretls_parts import FROM, TO, bounced, certificate, hop, leads_by, promising, records


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    return leads_by(monkeypatch)


def test_a_connection_of_another_message_is_judged_anew(tmp_path: Path, way: Any) -> None:
    """Opened at level preferred nothing was judged, so it does not do; what was opened for it serves it again."""

    async def main() -> None:
        async with promising() as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            for number, requiretls in enumerate((False, True, True), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert [len(c.mails) for c in peer.conversations] == [1, 2]
            mails = [said for said in peer.commands if said.startswith("MAIL")]
            assert ["REQUIRETLS" in said for said in mails] == [False, True, True]

    run(main)


def test_a_connection_that_proved_the_host_serves_both(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        own = certificate("some.other.name")
        heeding = controls("preferred", dane="opportunistic", mta_sts=True)
        async with (
            promising(certificate=own) as peer,
            gateway(tmp_path, routes={}, destination_controls=heeding) as it,
        ):
            way(hop(peer, tlsa=records(own)))
            for number, requiretls in enumerate((False, True, False), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert [len(c.mails) for c in peer.conversations] == [3]

    run(main)


def test_a_connection_without_the_extension_is_left_for_the_next_host(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        heeding = controls("preferred", dane="opportunistic", mta_sts=True)
        async with (
            promising(capabilities=CAPABILITIES) as first,
            promising() as second,
            gateway(tmp_path, routes={}, destination_controls=heeding) as it,
        ):
            way(hop(first), hop(second))
            for number, requiretls in enumerate((False, True), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert (len(first.mails), len(second.mails)) == (1, 1)

    run(main)


def test_what_keeps_one_back_does_not_keep_the_others(tmp_path: Path, way: Any) -> None:
    """A destination's failure is shared by all that stands ready there and asks the same of TLS."""

    async def main() -> None:
        async with promising(capabilities=CAPABILITIES) as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            peer.hold("BODY")
            plain = controls("preferred", max_connections=1)
            it.commit(destination_controls=plain)
            first = await it.inject(FROM, TO)
            await peer.heard("DATA")
            wishes = [{}, {"requiretls": True}, {}, {"requiretls": True}, {"tls_optional": True}]
            mids = [await it.inject(FROM, TO, **one) for one in wishes]
            peer.go("BODY")
            for mid in (first, mids[0], mids[2], mids[4]):
                await it.log.line(f"Message finished MID {mid} ")
                assert not it.log.with_("Bounced:", f"MID {mid} ")
            for mid in (mids[1], mids[3]):
                await bounced(it, mid)

    run(main)
