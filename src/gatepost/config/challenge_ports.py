"""Where the ports of ACME challenges are opened, and which port the world asks for HTTPS, told from plain values: the supervisor, which binds them, knows no model.

On the interface that `acme.interface` names, else on every interface that has a listener; a gateway without a listener
answers everywhere. Where an unspecified address is among them, it stands for all of its family.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

HTTP_PORT = 80  # RFC 8555 §8.3: the authority asks there
TLS_PORT = 443  # RFC 8737 §3
HTTPS_PORT = 443  # RFC 9110 §4.2.2; RFC 8461 §3.3: senders ask there
EVERYWHERE = ("0.0.0.0", "::")


def answering_addresses(
    interfaces: Mapping[str, str], named: str | None, listening: Iterable[str]
) -> tuple[str, ...]:
    """Addresses to bind. `interfaces` are addresses by name, `listening` the names of the listeners' interfaces."""
    wanted = [named] if named is not None else [*listening]
    addresses = dict.fromkeys(interfaces[name] for name in wanted if name in interfaces)
    unspecified = [address for address in addresses if ipaddress.ip_address(address).is_unspecified]
    families = {ipaddress.ip_address(address).version for address in unspecified}
    rest = [address for address in addresses if ipaddress.ip_address(address).version not in families]
    found = (*unspecified, *rest)
    return found if found or named is not None else EVERYWHERE
