"""Hosts, certificates and ways for messages that ask something of TLS (RFC 8689)."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fakes.ca import Issued
from tests.fakes.gateway_parts import Gateway, authority
from tests.fakes.peer import CAPABILITIES, FakePeer

from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState, of_key
from gatepost.policy.hop import Hop
from gatepost.policy.reference_names import HopNames

DOMAIN, OTHER = "partner.example", "sender.example"
FROM, TO = f"a@{OTHER}", f"b@{DOMAIN}"
MX = "mx.partner.example"
PROMISING = (*CAPABILITIES, "REQUIRETLS")
STRANGE = TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, bytes(32)),), MX)


def certificate(*names: str) -> Issued:
    return authority().issue(list(names or (MX,)))


def promising(**choices: Any) -> FakePeer:
    """A host that keeps the promise, with a certificate for its name."""
    return FakePeer(**{"certificate": certificate(), "capabilities": PROMISING, **choices})


def hop(peer: FakePeer, host: str = MX, **choices: Any) -> Hop:
    names = HopNames(DOMAIN, mx_host=host, mx_signed=choices.pop("signed", True))
    return Hop(ip_address("127.0.0.1"), peer.port, names, **choices)


def records(made: Issued) -> TlsaAnswer:
    """`3 1 1` of this certificate."""
    key = made.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TlsaAnswer(TlsaState.FOUND, (of_key(key),), MX)


async def bounced(it: Gateway, mid: int) -> str:
    """The bounce line of a message; its report goes nowhere."""
    await it.log.line("Bounced:", f"MID {mid} ")
    return it.log.with_("Bounced:", f"MID {mid} ")[0]


def leads_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the hops of the domain: those of MX records, as if they led to loopback."""

    def to(*hops: Hop) -> None:
        async def resolved(*_: Any, **__: Any) -> list[Hop]:
            return list(hops)

        monkeypatch.setattr("gatepost.relay.courier.resolve", resolved)
        monkeypatch.setattr("gatepost.relay.proven_way.resolve", resolved)

    return to
