"""Who makes the records of dns-01, by the configuration."""

from __future__ import annotations

import pytest
from tests.certs.renewal_box import Clock

from gatepost.certs.acme.dns_hook import DnsHook
from gatepost.certs.acme.dns_update import DnsUpdate
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.dns_proofs import records_of
from gatepost.config.acme import AcmeDns
from gatepost.pki.keys import SecretBytes

UPDATES = AcmeDns(server="192.0.2.53:5353", zone="example.net", key_name="gw-key")


def test_a_program_or_dynamic_updates() -> None:
    assert isinstance(records_of(AcmeDns(hook="/bin/true"), None, [], Clock()), DnsHook)
    found = records_of(UPDATES, SecretBytes(b"c2VjcmV0LWtleQ=="), ["192.0.2.1", "[2001:db8::1]:53"], Clock())
    assert isinstance(found, DnsUpdate)


@pytest.mark.parametrize("secret", [None, SecretBytes(b"not base64!")])
def test_updates_need_their_key(secret: SecretBytes | None) -> None:
    with pytest.raises(AcmeFailed, match="gw-key") as failure:
        records_of(UPDATES, secret, [], Clock())
    assert failure.value.permanent
    assert "not base64!" not in failure.value.text
