"""The lists of roots."""

from __future__ import annotations

import pytest
from tests.fakes.ca import TestAuthority

from gatepost.certs.authorities import custom_roots, join_lists, read_authorities
from gatepost.pki.errors import PkiError

ONE, TWO = TestAuthority("One CA"), TestAuthority("Two CA")


def subjects(pem: str) -> list[str]:
    return [certificate.subject for certificate in custom_roots(pem).certificates]


def test_pem_and_der_are_read() -> None:
    assert [c.subject for c in read_authorities(ONE.root_pem + TWO.root_pem).certificates] == [
        "CN=One CA",
        "CN=Two CA",
    ]
    assert read_authorities(ONE.root_der).certificates[0].der == ONE.root_der


def test_a_damaged_one_is_noted_and_the_others_are_read() -> None:
    bad = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    reading = read_authorities(ONE.root_pem + bad + TWO.root_pem)
    assert len(reading.certificates) == 2
    assert any("certificate 2" in note for note in reading.notes)


@pytest.mark.parametrize("data", [b"", b"text", b"\x30\x03\x02\x01\x00"])
def test_a_file_that_holds_none_is_refused(data: bytes) -> None:
    with pytest.raises(PkiError):
        read_authorities(data)


def test_a_file_with_nothing_but_a_key_is_refused() -> None:
    with pytest.raises(PkiError, match="no certificate"):
        read_authorities(ONE.issue(["x.example"]).key_pem)


def test_lists_are_joined_without_repeats() -> None:
    first, added = join_lists("", read_authorities(ONE.root_pem + ONE.root_pem).certificates)
    assert (subjects(first), added) == (["CN=One CA"], 1)
    both, added = join_lists(first, read_authorities(ONE.root_pem + TWO.root_pem).certificates)
    assert (subjects(both), added) == (["CN=One CA", "CN=Two CA"], 1)
    assert join_lists(both, read_authorities(TWO.root_pem).certificates) == (both, 0)
