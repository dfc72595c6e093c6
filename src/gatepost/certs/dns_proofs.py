"""Records for dns-01 as the configuration wants them: by a program, or by dynamic updates, with the wait until they are visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gatepost.certs.acme.challenges import Dns01
from gatepost.certs.acme.dns_hook import DnsHook
from gatepost.certs.acme.dns_update import DnsUpdate, TsigKey
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.propagation import Propagation
from gatepost.config.acme import AcmeDns
from gatepost.core.ports import Clock
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.pki.keys import SecretBytes


class Records(Protocol):
    """Makes and removes the records of dns-01. Both raise AcmeFailed."""

    async def present(self, proof: Dns01, /) -> None: ...

    async def withdraw(self, proof: Dns01, /) -> None: ...


def records_of(dns: AcmeDns, tsig: SecretBytes | None, resolvers: Sequence[str], clock: Clock) -> Records:
    """What `acme.dns` says. `resolvers` are those of the configuration (`dns.servers`), the system's without any.

    Raises AcmeFailed where the key of the updates is missing.
    """
    servers = tuple(parse_name_server(text) for text in resolvers) or system_name_servers()
    client = DnsClient(servers)
    propagation = Propagation(client, clock, seconds=float(dns.wait))
    if dns.hook is not None:
        return DnsHook(dns.hook, propagation=propagation)
    if tsig is None or dns.server is None:
        raise AcmeFailed(
            f"the key {dns.key_name} is not stored: `gatepost acme secret tsig` stores it", permanent=True
        )
    key = TsigKey.from_text(dns.key_name or "", tsig.reveal().decode("ascii", "replace"), dns.algorithm.value)
    server = parse_name_server(dns.server)
    return DnsUpdate(server, key, zone=dns.zone or "", client=client, propagation=propagation)
