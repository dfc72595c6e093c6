"""What an import of authorities takes and leaves out."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority

from gatepost.certs.authority_checks import Lists, authority_findings, sort_import
from gatepost.pki.certificate import Certificate, read_certificate

AT = datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)
NOW = AT.timestamp()
ROOT = TestAuthority("Root CA", at=AT)
SUB = ROOT.intermediate("Sub CA")
DEEP = SUB.intermediate("Deep CA")
A, B = TestAuthority("A", at=AT), TestAuthority("B", at=AT)


def read(certificate: x509.Certificate) -> Certificate:
    return read_certificate(certificate.public_bytes(Encoding.DER))


def lists(*custom: TestAuthority, system: tuple[TestAuthority, ...] = (), system_on: bool = True) -> Lists:
    return Lists(
        tuple(read(one.certificate) for one in custom),
        tuple(read(one.certificate) for one in system),
        system_on,
    )


def codes(authority: TestAuthority, known: Lists) -> list[str]:
    return [note.code for note in authority_findings(read(authority.certificate), known, NOW)]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (lists(), ["root-missing"]),
        (lists(SUB), ["root-missing"]),
        (lists(SUB, ROOT), []),
        (lists(SUB, system=(ROOT,)), []),
        (lists(SUB, system=(ROOT,), system_on=False), ["root-off"]),
        (lists(SUB, TestAuthority("Root CA", at=AT)), ["root-missing"]),
    ],
    ids=["nothing", "half way", "custom", "system", "off", "namesake"],
)
def test_an_intermediate_needs_a_root_that_signatures_lead_to(known: Lists, expected: list[str]) -> None:
    assert codes(DEEP, known) == expected


def test_cross_signs_in_a_circle_end() -> None:
    ab, ba = read(A.cross_sign(B)), read(B.cross_sign(A))
    circle = Lists((ab, ba), (), True)
    assert [note.code for note in authority_findings(ab, circle, NOW)] == ["root-missing"]


def test_a_roots_own_hash_does_not_matter_and_an_intermediates_does() -> None:
    old = TestAuthority("Old CA", at=AT, key="rsa2048", hash_name="sha1")
    assert codes(old, lists()) == []
    below = TestAuthority("Below", parent=old, hash_name="sha1", key="rsa2048")
    assert codes(below, lists(old)) == ["weak-hash"]


def test_every_note_says_what_it_is_about_and_what_mends_it() -> None:
    bad = [read(ROOT.issue(["mx.example"]).leaf), read(SUB.certificate)]
    found = sort_import(bad, lists(), NOW)
    assert not found.taken
    assert not found.nothing_new
    for note in found.left_out:
        assert note.subject in note.text
        assert note.repair
        assert note.meaning


def test_what_is_known_already_is_nothing_new() -> None:
    found = sort_import([read(ROOT.certificate)], lists(ROOT), NOW)
    assert found.nothing_new
    assert [note.code for note in found.left_out] == ["duplicate"]
