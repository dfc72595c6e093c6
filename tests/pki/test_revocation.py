"""Revocation lists: what is read, what counts, whose signature, which part, and how old."""

from __future__ import annotations

import base64
import datetime
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.findings import Code
from gatepost.pki.judge import Judge, Purpose, judge_chain
from gatepost.pki.revocation import (
    MAX_LIST,
    Crls,
    ListFacts,
    SignedList,
    key_digest,
    read_list,
    require_known_entries,
)

AT = datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
ROOT = TestAuthority("Lists CA", at=AT)
SUB = ROOT.intermediate("Lists Sub CA")
ANCHORS = Anchors.from_pem(ROOT.root_pem)
GOOD = SUB.issue(["mx.example"])
POINT = "http://crl.example/part1.crl"
UNKNOWN_CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")


def point_of(url: str = POINT, **flags: Any) -> x509.IssuingDistributionPoint:
    values: dict[str, Any] = {
        "full_name": [x509.UniformResourceIdentifier(url)] if url else None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**values, **flags})


def made(
    authority: TestAuthority = SUB,
    *revoked: x509.Certificate,
    number: int | None = None,
    begin: datetime.datetime = AT - DAY,
    end: datetime.datetime | None = AT + DAY,
    extensions: tuple[x509.ExtensionType, ...] = (),
    entry_extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    key: Any = None,
) -> bytes:
    """A list as DER, with every choice that the tests need."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(begin)
        .next_update(end or begin + DAY)
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        for value, critical in entry_extensions:
            entry = entry.add_extension(value, critical=critical)
        builder = builder.add_revoked_certificate(entry.revocation_date(AT - DAY).build())
    return builder.sign(key or authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


WHOLE = made(SUB, GOOD.leaf, number=3)


def facts(der: bytes) -> ListFacts:
    return read_list(der).facts


def pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN X509 CRL-----\n" + body + b"-----END X509 CRL-----\n"


def codes(chain: Any = GOOD, *lists: bytes, now: float = NOW, refuse_stale: bool = False) -> list[str]:
    crls = Crls(lists, refuse_stale=refuse_stale)
    assert not crls.problems
    verdict = judge_chain(chain.chain_der, ANCHORS, now, Purpose.SERVER, crls)
    return [f"{found.code}{'!' if found.breaks else ''}" for found in verdict.findings]


# --- reading ------------------------------------------------------------------------------------------


def test_what_a_list_says_of_itself() -> None:
    der = made(SUB, GOOD.leaf, number=7)
    for data in (der, pem(der), b"text\r\n" + pem(der).replace(b"\n", b"\r\n") + b"more"):
        assert read_list(data).der == der
        assert read_list(data).serials == {GOOD.leaf.serial_number}
        found = facts(data)
        assert (found.issuer, found.number, found.revoked) == ("CN=Lists Sub CA", 7, 1)
        assert found.fingerprint == hashlib.sha256(der).hexdigest()
        assert (found.this_update, found.next_update) == (NOW - 86_400, NOW + 86_400)
        assert not found.partial
        assert not found.stale(NOW)
        assert found.stale(NOW + 86_401)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        GOOD.leaf_pem,
        GOOD.leaf.public_bytes(Encoding.DER),
        pem(made())[:-30],
        b"-----BEGIN X509 CRL-----\n!!!\n-----END X509 CRL-----\n",
        made()[:-1],
    ],
)
def test_what_is_no_list(data: bytes) -> None:
    with pytest.raises(PkiError, match="no revocation list"):
        read_list(data)


def test_a_list_without_end_is_not_begun() -> None:
    with pytest.raises(PkiError, match="longer than 8 MiB"):
        read_list(bytes(MAX_LIST + 1))


@pytest.mark.parametrize(
    ("extension", "text"),
    [
        (x509.DeltaCRLIndicator(3), "delta list"),
        (point_of("", indirect_crl=True), "indirect list"),
        (UNKNOWN_CRITICAL, "critical extension that is not known"),
    ],
)
def test_lists_that_cannot_be_used(extension: x509.ExtensionType, text: str) -> None:
    data = made(extensions=(extension,))
    with pytest.raises(PkiError, match=text):
        read_list(data)
    crls = Crls([data])
    assert text in crls.problems[0]
    assert crls.version == crls.state(NOW) == ""


def test_entries_with_unknown_critical_extensions_are_refused_when_a_list_comes_in() -> None:
    require_known_entries(
        made(SUB, GOOD.leaf, entry_extensions=((x509.CRLReason(x509.ReasonFlags.key_compromise), False),))
    )
    with pytest.raises(PkiError, match="entry"):
        require_known_entries(made(SUB, GOOD.leaf, entry_extensions=((UNKNOWN_CRITICAL, True),)))


@given(st.integers(0, 2_000), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_never_changes_what_a_signed_list_says(place: int, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place % len(damaged)] ^= 1 << bit
    try:
        found = read_list(bytes(damaged))
    except PkiError:
        return
    if found.signed_by(read_certificate(SUB.certificate.public_bytes(Encoding.DER))):
        # The number of unused bits in front of the signature is not signed, and says nothing.
        was = read_list(WHOLE)
        assert found.serials == was.serials
        assert replace(found.facts, fingerprint="") == replace(was.facts, fingerprint="")


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(PkiError):
        read_list(b"0" + data)


# --- whose list ---------------------------------------------------------------------------------------


def test_only_the_issuers_own_signature_counts() -> None:
    assert codes(GOOD, made(SUB, GOOD.leaf)) == ["revoked!"]
    impostor = TestAuthority("Lists Sub CA", at=AT)
    assert codes(GOOD, made(impostor, GOOD.leaf)) == []
    assert codes(GOOD, made(ROOT, GOOD.leaf)) == []
    assert codes(GOOD, made(ROOT, SUB.certificate)) == ["revoked!"]


def test_an_issuer_that_may_not_sign_lists_does_not() -> None:
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    key = make_key()
    silent = ROOT.issue(["Silent Sub CA"], key=key, is_ca=True, key_usage=usage, usages=None, san=False)
    issuer = read_certificate(silent.leaf.public_bytes(Encoding.DER))
    builder = x509.CertificateRevocationListBuilder().issuer_name(silent.leaf.subject)
    data = builder.last_update(AT).next_update(AT + DAY).sign(key, hashes.SHA256())
    assert not read_list(data.public_bytes(Encoding.DER)).signed_by(issuer)


def test_a_younger_list_is_told_by_number_then_by_date() -> None:
    one, two = facts(made(number=1)), facts(made(number=2, begin=AT - 5 * DAY))
    assert one.older_than(two)
    assert not two.older_than(one)
    earlier, later = facts(made(begin=AT - 2 * DAY)), facts(made(number=4))
    assert earlier.older_than(later)
    assert not later.older_than(later)
    for other in (made(ROOT, begin=AT - 9 * DAY), made(begin=AT - 9 * DAY, extensions=(point_of(),))):
        assert not facts(other).older_than(later)


# --- part and age -------------------------------------------------------------------------------------


def test_a_stale_list_revokes_and_warns_or_breaks_as_it_is_told() -> None:
    old = made(SUB, end=AT - DAY / 2, begin=AT - DAY)
    assert codes(GOOD, old) == ["crl-stale"]
    assert codes(GOOD, old, refuse_stale=True) == ["crl-stale!"]
    assert codes(GOOD, made(SUB, GOOD.leaf, end=AT - DAY / 2)) == ["revoked!"]
    assert codes(GOOD, old, made(SUB)) == []


def test_a_list_of_a_part_revokes_but_ages_only_for_its_part() -> None:
    names = x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier(POINT)], None, None, None)]
    )
    inside = SUB.issue(["mx.example"], extensions=[(names, False)])
    listed = made(SUB, inside.leaf, GOOD.leaf, extensions=(point_of(),))
    assert facts(listed).partial
    assert codes(inside, listed) == codes(GOOD, listed) == ["revoked!"]
    old = made(SUB, end=AT - DAY / 2, extensions=(point_of(),))
    assert codes(inside, old) == ["crl-stale"]
    assert codes(GOOD, old) == []
    hosts = made(SUB, end=AT - DAY / 2, extensions=(point_of("", only_contains_user_certs=True),))
    assert codes(GOOD, hosts) == ["crl-stale"]
    for flag in ("only_contains_ca_certs", "only_contains_attribute_certs"):
        assert codes(GOOD, made(SUB, end=AT - DAY / 2, extensions=(point_of("", **{flag: True}),))) == []


def test_the_version_names_content_and_rule_and_the_state_also_age() -> None:
    data = made(SUB)
    warn, refuse = Crls([data]), Crls([data], refuse_stale=True)
    assert len({warn.version, refuse.version, Crls([made(ROOT)]).version, ""}) == 4
    assert warn.state(NOW) == warn.state(NOW + 60) != warn.state(NOW + 90_000)


def test_a_remembered_verdict_ends_when_a_list_grows_stale() -> None:
    judge = Judge()
    crls = Crls([made(SUB, end=AT + datetime.timedelta(minutes=5))], refuse_stale=True)
    assert judge.judge_chain(GOOD.chain_der, ANCHORS, NOW, Purpose.SERVER, crls).ok
    later = judge.judge_chain(GOOD.chain_der, ANCHORS, NOW + 301, Purpose.SERVER, crls)
    assert later.worst is not None
    assert later.worst.code is Code.CRL_STALE


def test_lists_that_stay_are_not_read_again() -> None:
    data, other = made(SUB), made(ROOT)
    before = Crls([data])
    after = Crls([other, data], before=before)
    assert after.lists[1] is before.lists[0]
    assert after.version == Crls([other, data]).version


def test_who_gives_a_list_may_vouch_for_its_signer() -> None:
    """The desk has checked the signature; a worker believes it for that key, and checks any other."""
    impostor = TestAuthority("Lists Sub CA", at=AT)
    forged = made(impostor, GOOD.leaf)
    issuer = read_certificate(SUB.certificate.public_bytes(Encoding.DER))
    verdict = judge_chain(
        GOOD.chain_der, ANCHORS, NOW, Purpose.SERVER, Crls([SignedList(forged, key_digest(issuer))])
    )
    assert not verdict.ok
    other = read_certificate(ROOT.certificate.public_bytes(Encoding.DER))
    crls = Crls([SignedList(forged, key_digest(other))])
    assert judge_chain(GOOD.chain_der, ANCHORS, NOW, Purpose.SERVER, crls).ok
