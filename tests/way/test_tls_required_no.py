"""TLS-Required: No, out: what the recipient published does not hold the message up, the operator's rules do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import controls, gateway
from tests.fakes.time_travel import run
from tests.way.requiretls_parts import FROM, STRANGE, TO, hop, leads_by, promising

from gatepost.core.delivery_events import Delivered


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    return leads_by(monkeypatch)


HEEDING = controls("preferred", dane="opportunistic", mta_sts=True)


def test_records_that_do_not_match_do_not_hold_it_up(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising() as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            held = await it.inject(FROM, TO)
            await it.delayed(held)
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 2")
            assert [mail.tls for mail in peer.mails] == ["TLSv1.3"]
            assert it.log.with_("passes because of TLS-Required: No, else refused: verify error:")
            told = next(event for event in it.log.events if isinstance(event, Delivered))
            assert told.tls is not None
            assert (told.tls["tls_optional"], told.tls["verdict"]) == (True, "encrypted")
            assert told.tls["note"].startswith("passes because of TLS-Required: No")

    run(main)


def test_a_host_without_starttls_takes_it_in_clear_and_the_operators_level_stays(
    tmp_path: Path, way: Any
) -> None:
    async def main() -> None:
        async with (
            promising(certificate=None) as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 1")
            assert [mail.tls for mail in peer.mails] == [""]
            assert it.log.with_("remote host does not offer STARTTLS - continuing in clear")
            await it.quiet()
            it.commit(destination_controls=controls("required", dane="opportunistic"))
            mid = await it.inject(FROM, TO, tls_optional=True)
            await it.delayed(mid)
            assert len(peer.mails) == 1

    run(main)


def test_a_connection_that_it_was_let_through_on_serves_nobody_else(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising() as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 1")
            await it.quiet()
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            assert len(peer.mails) == 1

    run(main)
