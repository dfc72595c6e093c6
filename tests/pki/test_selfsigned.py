"""Self-signed certificates and requests."""

from __future__ import annotations

import pytest
from cryptography import x509

from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.judge import Anchors, Purpose, judge_chain
from gatepost.pki.keys import KeyKind, generate, key_matches
from gatepost.pki.names import match_names
from gatepost.pki.selfsigned import SubjectFields, csr_matches, csr_pem, make_csr, make_self_signed

NOW = 1_800_000_000.0
SUBJECT = SubjectFields("mx.example.net", "Example, Inc.", "Mail", "Roma", "RM", "it")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.ED25519, KeyKind.RSA2048])
def test_a_self_signed_certificate_is_a_sound_host_certificate(kind: KeyKind) -> None:
    made = make_self_signed(
        SUBJECT, ["mx.example.net", "192.0.2.7", "bücher.example"], 30, generate(kind), NOW
    )
    read = read_certificate(made.certificate)
    assert read.self_signed
    assert not read.is_ca
    assert read.subject == r"CN=mx.example.net,OU=Mail,O=Example\, Inc.,L=Roma,ST=RM,C=IT"
    assert read.names.texts() == ("DNS:mx.example.net", "DNS:xn--bcher-kva.example", "IP:192.0.2.7")
    assert (read.not_before, read.not_after) == (NOW - 3600, NOW + 30 * 86400)
    assert key_matches(made.key, read.parsed)
    trusted = Anchors.from_der([made.certificate])
    for purpose in Purpose:
        assert judge_chain([made.certificate], trusted, NOW, purpose).findings == ()
    assert not judge_chain([made.certificate], Anchors(), NOW, Purpose.SERVER).ok


def test_without_names_the_common_name_is_one() -> None:
    made = make_self_signed(SubjectFields("mx.example.net"), [], 30, generate(KeyKind.P256), NOW)
    assert match_names(made.certificate, [ReferenceName("mx.example.net", NameSource.OPERATOR)])


def test_a_name_given_twice_stands_once_and_wildcards_are_kept() -> None:
    san = ["*.Example.net", "a.example", "A.example."]
    made = make_self_signed(SUBJECT, san, 30, generate(KeyKind.P256), NOW)
    assert read_certificate(made.certificate).names.dns == ("*.example.net", "a.example")


@pytest.mark.parametrize(
    ("subject", "san", "days"),
    [
        (SubjectFields(""), ["a.example"], 30),
        (SubjectFields("x" * 65), ["a.example"], 30),
        (SubjectFields("a\nb"), ["a.example"], 30),
        (SubjectFields("a.example", country="ITA"), [], 30),
        (SubjectFields("a.example"), ["a b.example"], 30),
        (SubjectFields("a.example"), ["a..example"], 30),
        (SubjectFields("Our Gateway"), [], 30),
        (SubjectFields("a.example"), ["a.example\0.evil"], 30),
        (SubjectFields("a.example"), [f"n{n}.example" for n in range(101)], 30),
        (SubjectFields("a.example"), [], 0),
        (SubjectFields("a.example"), [], 20_000),
    ],
)
def test_what_cannot_be_made_is_said(subject: SubjectFields, san: list[str], days: int) -> None:
    with pytest.raises(PkiError):
        make_self_signed(subject, san, days, generate(KeyKind.P256), NOW)


def test_a_request_carries_the_same_names() -> None:
    key = generate(KeyKind.P256)
    csr = make_csr(SUBJECT, ["mx.example.net", "192.0.2.7"], key)
    parsed = x509.load_pem_x509_csr(csr_pem(csr).encode())
    assert parsed.is_signature_valid
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(entry.value) for entry in names] == ["mx.example.net", "192.0.2.7"]
    assert csr_matches(csr, key)
    assert not csr_matches(csr, generate(KeyKind.P256))
    assert not csr_matches(b"garbage", key)
