"""The search for ways up to a root: what it finds, and its bounds for hostile sets (C34)."""

from __future__ import annotations

import datetime
import time

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.doctor import MAX_LOOKED_AT, MAX_OF_ONE_CODE, diagnose
from gatepost.pki.routes import MAX_LENGTH, MAX_ROUTES, Pool, Routes

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
NAMES = ["mx.example"]
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
GOOD = SUB.issue(NAMES)
ANCHORS = Anchors.from_pem(ROOT.root_pem)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def read(*certificates: x509.Certificate) -> list[Certificate]:
    return [read_certificate(der(certificate)) for certificate in certificates]


def names(routes: Routes) -> list[tuple[list[str], str, bool]]:
    return [
        ([c.subject for c in route.intermediates], route.root.subject if route.root else "", route.anchored)
        for route in routes.all()
    ]


def test_every_way_is_found_also_the_one_that_ends_nowhere() -> None:
    other = TestAuthority("Other Root", at=AT)
    twin = TestAuthority("Example Sub CA", parent=other, key=SUB.key)
    (leaf, sub, beside) = read(GOOD.leaf, SUB.certificate, twin.certificate)
    found = names(Routes(leaf, [sub, beside], Pool(), ANCHORS, NOW))
    assert sorted(found) == [
        (["CN=Example Sub CA"], "", False),
        (["CN=Example Sub CA"], "CN=Example Root", True),
    ]
    pool = Pool(read(other.certificate))
    assert (["CN=Example Sub CA"], "CN=Other Root", False) in names(
        Routes(leaf, [sub, beside], pool, ANCHORS, NOW)
    )


def test_a_pool_leaves_out_what_cannot_be_read_and_doubles() -> None:
    pool = Pool.of([b"junk", der(SUB.certificate), der(SUB.certificate)])
    (sub,) = read(SUB.certificate)
    assert pool.named(sub.subject_key) == (sub,)
    assert pool.named("cn=nobody") == ()


def mesh(size: int) -> tuple[TestAuthority, list[x509.Certificate]]:
    """Authorities that all sign each other, and no root."""
    members = [TestAuthority(f"Mesh {n}", at=AT) for n in range(size)]
    return members[0], [a.cross_sign(b) for a in members for b in members if a is not b]


def test_a_mesh_of_cross_signs_is_bounded() -> None:
    lowest, crosses = mesh(12)
    chain = [der(lowest.issue(NAMES).leaf), *map(der, crosses)]
    leaf, *others = map(read_certificate, chain)
    started = time.process_time()
    found = Routes(leaf, others, Pool(), Anchors(), NOW).all()
    assert len(found) <= MAX_ROUTES
    assert max(len(route.intermediates) for route in found) < MAX_LENGTH
    verdict = diagnose(chain, Anchors(), NOW)
    assert not verdict.verifies
    assert time.process_time() - started < 3


def test_the_one_root_of_a_mesh_is_found_though_most_ways_are_not_walked() -> None:
    members = [TestAuthority(f"Mesh {n}", at=AT) for n in range(12)]
    crosses = [a.cross_sign(b) for a in members for b in members if a is not b]
    beyond = TestAuthority("Beyond", at=AT)
    crosses.append(beyond.cross_sign(members[-1]))
    issued = members[0].issue(NAMES)
    for trusted in (members[0], members[-1], beyond):
        found = diagnose([*issued.chain_der, *map(der, crosses)], Anchors.from_pem(trusted.root_pem), NOW)
        assert found.verifies
        assert {note.code for note in found.findings if note.severity == "error"} <= {"too-long"}


def test_hundreds_of_the_same_name_are_bounded_and_the_right_one_is_found() -> None:
    same = [ROOT.intermediate("Example Sub CA", key="p256").certificate for _ in range(200)]
    chain = [GOOD.chain_der[0], *map(der, same), der(SUB.certificate)]
    started = time.process_time()
    found = diagnose(chain, ANCHORS, NOW)
    assert time.process_time() - started < 3
    assert {note.code for note in found.findings} == {"too-long", "unrelated"}
    assert found.bundle == (der(SUB.certificate),)


def test_a_trusted_root_is_found_behind_dozens_of_its_cross_signs() -> None:
    crosses = [TestAuthority(f"Stranger {n}", at=AT).cross_sign(ROOT) for n in range(60)]
    chain = [*GOOD.chain_der, *map(der, crosses)]
    found = diagnose(chain, ANCHORS, NOW)
    assert found.verifies
    assert {note.severity for note in found.findings} == {"warning", "info"}
    assert len(found.bundle) == 2  # one cross-sign stays


def test_of_many_findings_of_one_kind_some_are_told() -> None:
    strangers = [TestAuthority(f"Stranger {n}", at=AT).certificate for n in range(MAX_OF_ONE_CODE + 5)]
    found = diagnose([*GOOD.chain_der, *map(der, strangers)], ANCHORS, NOW)
    assert len(found.findings) == MAX_OF_ONE_CODE + 1
    assert found.findings[-1].text == "and 5 more of this kind"
    assert found.bundle == (der(SUB.certificate),)


def test_a_bundle_of_ten_thousand_is_looked_at_as_far_as_it_makes_sense() -> None:
    chain = [*GOOD.chain_der, *[der(ROOT.certificate)] * 10_000]
    started = time.process_time()
    found = diagnose(chain, ANCHORS, NOW)
    assert time.process_time() - started < 3
    assert found.bundle == (der(SUB.certificate),)
    assert [note.code for note in found.findings if "looked at" in note.text] == ["too-long"]
    assert str(MAX_LOOKED_AT) in " ".join(note.text for note in found.findings)
