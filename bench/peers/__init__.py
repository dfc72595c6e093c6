"""The servers that are compared, by the names that `make bench PEERS=...` takes."""

from __future__ import annotations

from collections.abc import Callable

from bench.peers.base import Peer, Site
from bench.peers.exim import Exim
from bench.peers.gatepost import Gatepost
from bench.peers.haraka import Haraka
from bench.peers.opensmtpd import OpenSmtpd
from bench.peers.postfix import Postfix

PEERS: dict[str, Callable[[Site], Peer]] = {
    "gatepost": Gatepost,
    "postfix": Postfix,
    "postfix-reuse": lambda site: Postfix(site, reuse=True),
    "exim": Exim,
    "haraka": Haraka,
    "opensmtpd": OpenSmtpd,
}

__all__ = ["PEERS", "Peer", "Site"]
