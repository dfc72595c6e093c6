"""The operator's routes on loopback: a bare host's MX on port 25, `[host]`, addresses, lists, reject, usedns.

What DNS says of a *recipient's* domain is never followed to loopback (`test_next_hops`); what the operator wrote is.
Port 25 on addresses of 127.0.0.0/8 that no other test process uses; needs root.
"""

from __future__ import annotations

import os
from functools import cached_property

import pytest
from tests.fakes.dns_authority import DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.processes import need_root
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery
from tests.live.peers.submit import submit

PROCESS = os.getpid() % 65_536
FIRST, SECOND = (f"127.{net}.{PROCESS >> 8}.{PROCESS & 255}" for net in (77, 78))
RECORDS = {
    "relay.example": {"MX": ["10 mx1.relay.example.", "20 mx2.relay.example."], "A": [SECOND]},
    "mx1.relay.example": {"A": [FIRST]},
    "mx2.relay.example": {"A": [SECOND]},
    "host.example": {"A": [SECOND]},
    "direct.example": {"MX": ["10 mx1.relay.example."]},
}
# Recipient domain: the route's hosts, and where the message has to go (nowhere where it is refused).
ROUTES: dict[str, tuple[list[str], str]] = {
    "bare.example": (["relay.example"], FIRST),
    "bracketed.example": (["[relay.example]"], SECOND),
    "address.example": ([FIRST], FIRST),
    "bracketed-address.example": ([f"[{SECOND}]:25"], SECOND),
    "list.example": (["[nowhere.example]", "[host.example]"], SECOND),
    "no-mx.example": (["host.example"], SECOND),
    ".below.example": (["[host.example]"], SECOND),
    "refused.example": (["reject"], ""),
}
RETURNED = {
    "refused.example": "5.7.1 - Delivery not authorized 000-'",
    "direct.example": f"5.1.2 - Bad destination host 000-'mx1.relay.example [{FIRST}]: loopback address'",
}


class Site:
    def __init__(self, scene: Scene) -> None:
        need_root("receivers on port 25")
        self.receivers: dict[str, ScriptedReceiver] = {
            address: scene.receiver(address=address, port=25) for address in (FIRST, SECOND)
        }
        self.dns = scene.ending.enter_context(DnsAuthority(RECORDS))
        self.gateway = scene.gateway()
        self.private = scene.ports.free()
        routes = [{"domain": domain, "hosts": hosts} for domain, (hosts, _) in ROUTES.items()]
        made = document(scene.ports.free(), self.private, routes=routes)
        made["dns"] = {"servers": [f"127.0.0.1:{self.dns.port}"], "reverse": False}
        made["delivery"] = {"timeouts": {"idle": "1s"}}
        self.gateway.configure(made)
        self.gateway.start()

    @cached_property
    def sent(self) -> dict[str, int]:
        """A message to each domain of the tables, with the null sender so that nothing comes back."""
        domains = (*ROUTES, *RETURNED)
        return {
            domain: submit(self.private, "", f"user@{'x' if domain[0] == '.' else ''}{domain}")
            for domain in domains
        }


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


@pytest.mark.parametrize("domain", [domain for domain in ROUTES if domain not in RETURNED])
def test_a_route_is_followed(site: Site, domain: str) -> None:
    address = ROUTES[domain][1]
    lines = delivery(site.gateway, site.sent[domain])
    assert lines[0] == f"New SMTP DCID D interface 127.0.0.1 address {address} port 25"
    assert "Message finished MID M done" in lines
    wanted = f"user@{'x' if domain[0] == '.' else ''}{domain}"
    assert any(wanted in mail.recipients for mail in site.receivers[address].wait_for_mail())


@pytest.mark.parametrize("domain", RETURNED)
def test_what_no_route_allows_is_returned(site: Site, domain: str) -> None:
    mid = site.sent[domain]
    line = site.gateway.wait_for_log(rf"Double bounce: MID {mid} to RID 0 - (.*)$")[1]
    assert line.startswith(RETURNED[domain])
    assert f"Message finished MID {mid} done" in about(site.gateway, f"MID {mid}")
