"""Dynamic updates: keys read without being shown, names that DNS cannot hold, servers that are not there."""

from __future__ import annotations

import pytest
from tests.certs.acme.kit import run
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.certs.acme.challenges import Dns01
from gatepost.certs.acme.dns_update import DnsUpdate, TsigKey
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.net.dns_client import DnsClient, NameServer

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


def proof(record: str = "_acme-challenge.mx.example") -> Dns01:
    return Dns01("mx.example", record, "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM")


def failure(update: DnsUpdate, given: Dns01) -> AcmeFailed:
    caught: list[AcmeFailed] = []

    async def main() -> None:
        with pytest.raises(AcmeFailed) as found:
            await update.present(given)
        caught.append(found.value)

    run(main)
    assert caught[0].text.isprintable()
    return caught[0]


def test_a_key_is_read_from_its_base64_and_not_shown() -> None:
    key = TsigKey.from_text("acme-key", SECRET, "hmac-sha512")
    assert key.secret.reveal() == b"secret-secret-secret"
    assert "secret" not in repr(key).replace("SecretBytes", "")
    for text, algorithm in (("not base64!", "hmac-sha256"), ("", "hmac-sha256"), (SECRET, "hmac-md5")):
        with pytest.raises(AcmeFailed) as caught:
            TsigKey.from_text("acme-key", text, algorithm)
        assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "record", ["_acme-challenge." + "a" * 64 + ".example", "_acme-challenge..example", "a." * 130]
)
def test_a_name_that_dns_cannot_hold_is_refused(record: str) -> None:
    update = DnsUpdate(NameServer("127.0.0.1", 9), None, zone="example")
    assert "not a name that DNS can hold" in failure(update, proof(record)).text


def test_a_record_outside_the_zone_is_not_sent() -> None:
    update = DnsUpdate(NameServer("127.0.0.1", 9), None, zone="other.example")
    found = failure(update, proof())
    assert "does not lie in the zone other.example" in found.text
    assert found.permanent


def test_a_server_that_is_not_there() -> None:
    with DnsAuthority({}) as server:
        port = server.port
    update = DnsUpdate(NameServer("127.0.0.1", port), TsigKey.from_text("k", SECRET), zone="example")
    assert (
        "cannot be asked to add _acme-challenge.mx.example in example: connection refused"
        in failure(update, proof()).text
    )


def test_an_alias_is_followed_before_the_zone_is_looked_for() -> None:
    records = {
        "_acme-challenge.mx.example": {"CNAME": ["mx.acme.zone.test."]},
        "mx.acme.zone.test": {"A": ["127.0.0.1"]},
    }
    with DnsAuthority(records) as server:
        here = NameServer("127.0.0.1", server.port)
        update = DnsUpdate(here, None, zone="example", client=DnsClient((here,)))
        assert "mx.acme.zone.test does not lie in the zone example" in failure(update, proof()).text


def test_an_alias_that_cannot_be_looked_up_is_said() -> None:
    with DnsAuthority({}) as server:
        server.behave("_acme-challenge.mx.example", Behaviour.SERVFAIL)
        here = NameServer("127.0.0.1", server.port)
        update = DnsUpdate(here, None, client=DnsClient((here,)))
        assert (
            "the zone of _acme-challenge.mx.example is not found: SERVFAIL" in failure(update, proof()).text
        )
