"""Where a delivery may go: one address and the names that led there; and what was left out on the way to it."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.address import IPAddress
from gatepost.core.tlsa import TlsaAnswer
from gatepost.policy.reference_names import HopNames
from gatepost.wire.mta_sts import StsPolicy


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to deliver to, and the names that led there."""

    address: IPAddress
    port: int
    names: HopNames
    tlsa: TlsaAnswer | None = None  # None: not asked for, or the hop is an address
    sts: tuple[str, StsPolicy] | None = None  # the MTA-STS policy that counts here, with its domain
    doubt: str = ""  # what could not be learnt of the way here, where a message requires that it be proven

    @property
    def host(self) -> str:
        return self.names.mx_host or self.names.route_host or str(self.address)

    def __str__(self) -> str:
        where = f"[{self.address}]:{self.port}"
        return where if self.host == str(self.address) else f"{self.host} {where}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A host, or one of its addresses, that DNS names and that is not called; `address` may be empty."""

    host: str
    address: str
    reason: str
