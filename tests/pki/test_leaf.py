"""What is odd about a host's certificate itself: kinds of keys. Names and promises are in test_doctor."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority

from gatepost.pki.certificate import read_certificate
from gatepost.pki.leaf import rare_key

ROOT = TestAuthority("Example Root")


@pytest.mark.parametrize(
    ("kind", "rare"),
    [
        ("p256", ""),
        ("p384", ""),
        ("rsa2048", ""),
        ("p521", "the curve secp521r1"),
        ("ed25519", "Ed25519"),
    ],
)
def test_kinds_of_keys_that_many_peers_do_not_know(kind: str, rare: str) -> None:
    leaf = ROOT.issue(["mx.example"], key=kind).leaf
    assert rare_key(read_certificate(leaf.public_bytes(Encoding.DER))) == rare
