"""The list of roots: selection stays small."""

from __future__ import annotations

import datetime

from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import read_certificate

AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
ROOTS = [TestAuthority(f"Root {n}", at=AT) for n in range(5)]


def test_only_the_roots_that_a_chain_names_are_selected() -> None:
    anchors = Anchors.from_pem(*(root.root_pem for root in ROOTS))
    issued = ROOTS[3].intermediate("Sub").issue(["mx.example"])
    chain = [read_certificate(der) for der in issued.chain_der]
    assert [root.subject for root in anchors.select(chain)] == ["CN=Root 3"]


def test_a_root_list_with_an_intermediate_selects_its_root_too() -> None:
    sub = ROOTS[0].intermediate("Sub")
    anchors = Anchors.from_der(
        [sub.certificate.public_bytes(Encoding.DER), *(root.root_der for root in ROOTS)]
    )
    leaf = read_certificate(sub.issue(["mx.example"]).chain_der[0])
    assert [root.subject for root in anchors.select([leaf])] == ["CN=Sub", "CN=Root 0"]


def test_many_roots_of_one_name_are_bounded() -> None:
    twins = [TestAuthority("Twin", at=AT) for _ in range(30)]
    anchors = Anchors.from_pem(*(twin.root_pem for twin in twins))
    leaf = read_certificate(twins[0].issue(["mx.example"]).chain_der[0])
    assert len(anchors.select([leaf])) == 16


def test_membership_is_by_content() -> None:
    anchors = Anchors.from_pem(ROOTS[0].root_pem)
    assert read_certificate(ROOTS[0].root_der) in anchors
    assert read_certificate(ROOTS[1].root_der) not in anchors
