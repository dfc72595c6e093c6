"""The chain doctor on certificates and chains of C34: one fault a case, its code, and what should be sent instead."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from tests.fakes.ca import (
    CLIENT_AUTH,
    MUST_STAPLE,
    SERVER_AUTH,
    UNKNOWN,
    Issued,
    TestAuthority,
    damaged,
    self_signed,
)

from gatepost.pki.anchors import Anchors
from gatepost.pki.doctor import Diagnosis, diagnose
from gatepost.pki.judge import Crls, Purpose
from gatepost.pki.notes import ADVICE

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
NAMES = ["mx.example"]
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
LOW = SUB.intermediate("Example Low CA")
GOOD = LOW.issue(NAMES)
ANCHORS = Anchors.from_pem(ROOT.root_pem)
OTHER = TestAuthority("Other Root", at=AT)


def der(*certificates: x509.Certificate | TestAuthority) -> tuple[bytes, ...]:
    return tuple(
        (c.certificate if isinstance(c, TestAuthority) else c).public_bytes(Encoding.DER)
        for c in certificates
    )


def look(
    issued: Issued | Sequence[bytes],
    *,
    anchors: Anchors = ANCHORS,
    known: Sequence[bytes] = (),
    purpose: Purpose = Purpose.SERVER,
    crls: Crls | None = None,
) -> Diagnosis:
    chain = issued.chain_der if isinstance(issued, Issued) else tuple(issued)
    found = diagnose(chain, anchors, NOW, known=known, purpose=purpose, crls=crls or Crls())
    for note in found.findings:
        assert note.text.isprintable()
        assert len(note.text) < 700
        assert note.meaning, note.code
        assert note.repair, note.code
    return found


def codes(found: Diagnosis) -> list[tuple[str, str]]:
    return [(note.code, note.severity) for note in found.findings]


def test_a_sound_chain_has_no_findings_and_stays_as_it_is() -> None:
    found = look(GOOD)
    assert found == Diagnosis((), GOOD.chain_der[1:], changed=False, verifies=True)


@pytest.mark.parametrize(
    "issued",
    [
        LOW.issue(NAMES, key="rsa2048"),
        LOW.issue(NAMES, usages=None),
        LOW.issue(NAMES, is_ca=None),
        LOW.issue(["*.example.net", "192.0.2.1"]),
        LOW.issue([*NAMES, *(f"n{n}.example" for n in range(1000))]),
        LOW.issue(NAMES, end=AT.replace(year=2060)),
        LOW.issue(NAMES, extensions=[(UNKNOWN, False)]),
        ROOT.descend(9).issue(NAMES),
        ROOT.issue(NAMES),
    ],
    ids=["rsa", "no-eku", "no-ca", "wildcard", "thousand-names", "year-2060", "extension", "ten", "no-sub"],
)
def test_what_is_unusual_and_sound_has_no_findings(issued: Issued) -> None:
    found = look(issued)
    assert codes(found) == []
    assert found.verifies
    assert not found.changed


RSA = TestAuthority("RSA Root", at=AT, key="rsa2048")
RSA_SUB = RSA.intermediate("RSA Sub CA", key="rsa2048", hash_name="sha1")
NOT_CA = ROOT.intermediate("No CA", is_ca=False)
PATHLEN = TestAuthority("Pathlen Root", at=AT, path_length=0)
OUTSIDE = ROOT.intermediate("Outside CA", permitted=["other.example"])
CLIENT_SUB = ROOT.intermediate("Client CA", usages=[CLIENT_AUTH])
WEAK_SUB = ROOT.intermediate("Weak CA", key="rsa1024")


@pytest.mark.parametrize(
    ("issued", "anchors", "expected"),
    [
        pytest.param(LOW.issue(NAMES, expired=True), ANCHORS, [("expired", "error")], id="expired"),
        pytest.param(
            LOW.issue(NAMES, not_yet_valid=True), ANCHORS, [("not-yet-valid", "error")], id="not yet"
        ),
        pytest.param(LOW.issue(NAMES, key="rsa1024"), ANCHORS, [("weak-key", "error")], id="short key"),
        pytest.param(WEAK_SUB.issue(NAMES), ANCHORS, [("weak-key", "error")], id="short key above"),
        pytest.param(
            RSA.issue(NAMES, hash_name="md5"),
            Anchors.from_pem(RSA.root_pem),
            [("weak-hash", "error")],
            id="MD5",
        ),
        pytest.param(
            RSA_SUB.issue(NAMES), Anchors.from_pem(RSA.root_pem), [("weak-hash", "error")], id="SHA-1 above"
        ),
        pytest.param(
            LOW.issue(NAMES, usages=(CLIENT_AUTH,)), ANCHORS, [("wrong-usage", "error")], id="client"
        ),
        pytest.param(CLIENT_SUB.issue(NAMES), ANCHORS, [("wrong-usage", "error")], id="client above"),
        pytest.param(NOT_CA.issue(NAMES), ANCHORS, [("not-a-ca", "error")], id="no CA"),
        pytest.param(
            PATHLEN.intermediate().issue(NAMES),
            Anchors.from_pem(PATHLEN.root_pem),
            [("path-length", "error")],
            id="path length",
        ),
        pytest.param(OUTSIDE.issue(NAMES), ANCHORS, [("name-constraints", "error")], id="constraints"),
        pytest.param(
            LOW.issue(NAMES, extensions=[(UNKNOWN, True)]),
            ANCHORS,
            [("unknown-critical-extension", "error")],
            id="critical",
        ),
        pytest.param(LOW.issue(NAMES, is_ca=True), ANCHORS, [("ca-as-host", "warning")], id="leaf is CA"),
        pytest.param(
            LOW.issue(NAMES, extensions=[(MUST_STAPLE, False)]),
            ANCHORS,
            [("must-staple", "warning")],
            id="staple",
        ),
        pytest.param(
            LOW.issue(NAMES, negative_serial=True), ANCHORS, [("bad-serial", "warning")], id="negative serial"
        ),
        pytest.param(LOW.issue(NAMES, san=False), ANCHORS, [("common-name-only", "warning")], id="CN only"),
        pytest.param(ROOT.descend(10).issue(NAMES), ANCHORS, [("too-long", "error")], id="eleven"),
    ],
)
def test_one_fault_has_one_code(issued: Issued, anchors: Anchors, expected: list[tuple[str, str]]) -> None:
    found = look(issued, anchors=anchors)
    assert codes(found) == expected
    assert found.verifies is (expected[0][1] == "warning")
    assert not found.changed, "the set is right as it is"


def test_a_server_certificate_as_client_certificate() -> None:
    found = look(LOW.issue(NAMES, usages=(SERVER_AUTH,)), purpose=Purpose.CLIENT)
    assert codes(found) == [("wrong-usage", "error")]


HOSTILE = [
    b"good.example\0.evil",
    b"a\r\nb.example",
    b"%n%s.example",
    b"<script>.example",
    b"\xff\xfe.example",
]


@pytest.mark.parametrize(
    "name", [*HOSTILE, b"mx.example.", b"f*.example", b"*.example", b"", "bücher.example".encode()]
)
def test_names_that_no_host_can_have_are_shown_safely(name: bytes) -> None:
    try:
        issued = LOW.issue(NAMES, raw_names=[b"mx.example", name])
        found = look(issued)
    except ValueError:
        pytest.fail("the doctor never raises for what a file may hold")
    assert [code for code, _ in codes(found)] in (["unusable-name"], ["malformed"])


def test_many_bad_names_are_counted_and_not_listed() -> None:
    (note,) = look(LOW.issue(NAMES, raw_names=[f"bad{n}_.".encode() for n in range(1000)])).findings
    assert "bad0_., bad1_., bad2_. and 997 more" in note.text


@pytest.mark.parametrize("name", ["a\0b", "a\r\nb: c", "%s%n", "<b>x</b>", "\x1b[2J", "\u202eevil"])
def test_a_hostile_subject_is_escaped_in_every_text(name: str) -> None:
    found = look(TestAuthority(name, at=AT).intermediate(name + "2").issue(NAMES, common_name=name))
    assert "missing-intermediate" in [code for code, _ in codes(found)]


def test_one_that_signed_itself_is_a_warning_with_nothing_to_send() -> None:
    alone = self_signed(NAMES, at=AT)
    assert codes(look(alone)) == [("self-signed", "warning")]
    found = look(alone.sending(extra=[SUB.certificate]))
    assert codes(found) == [("self-signed", "warning"), ("unrelated", "warning")]
    assert found.bundle == ()
    assert found.changed


def test_a_missing_intermediate_that_is_known_is_put_in() -> None:
    found = look(GOOD.sending(leaf_only=True), known=der(OTHER, SUB, LOW))
    assert codes(found) == [("missing-intermediate", "error")] * 2
    assert [note.subject for note in found.findings] == ["CN=Example Low CA", "CN=Example Sub CA"]
    assert found.bundle == GOOD.chain_der[1:]
    assert found.verifies


def test_a_gap_in_the_middle_is_found_and_filled() -> None:
    found = look((GOOD.chain_der[0], *der(SUB)), known=der(LOW))
    assert codes(found) == [("missing-intermediate", "error")]
    assert found.bundle == GOOD.chain_der[1:]


def test_an_intermediate_among_the_trusted_ones_is_not_with_the_peers() -> None:
    both = Anchors.from_der(der(ROOT, SUB, LOW))
    found = look(GOOD.sending(leaf_only=True), anchors=both)
    assert codes(found) == [("missing-intermediate", "error")] * 2
    assert found.bundle == GOOD.chain_der[1:]


def test_a_missing_intermediate_that_is_nowhere_is_named_with_its_address() -> None:
    at = x509.UniformResourceIdentifier("http://ca.example/low.der")
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, at)]
    )
    found = look(LOW.issue(NAMES, extensions=[(access, False)]).sending(leaf_only=True))
    (note,) = found.findings
    assert (note.code, note.severity, note.subject) == ("missing-intermediate", "error", "CN=Example Low CA")
    assert "http://ca.example/low.der" in note.repair
    assert not found.changed
    assert not found.verifies


def test_an_unknown_authority_may_be_a_root_or_an_intermediate() -> None:
    found = look(GOOD, anchors=Anchors())
    assert codes(found) == [("missing-intermediate", "error")]
    assert "or a root that is not trusted" in found.findings[0].text
    assert not found.changed
    sent = look(GOOD.sending(root=True), anchors=Anchors())
    assert codes(sent) == [("untrusted-root", "error"), ("root-included", "warning")]
    assert sent.bundle == GOOD.chain_der[1:]


def test_a_damaged_signature_is_not_taken_for_a_missing_certificate() -> None:
    found = look(der(damaged(GOOD.leaf), LOW, SUB))
    assert codes(found)[0] == ("bad-signature", "error")
    assert "missing-intermediate" not in [code for code, _ in codes(found)]


def test_a_revoked_certificate_and_an_old_list() -> None:
    revoked = look(GOOD, crls=Crls([LOW.revocation_list(GOOD.leaf)]))
    assert codes(revoked) == [("revoked", "error")]
    assert not revoked.verifies
    old = look(GOOD, crls=Crls([LOW.revocation_list(end=AT - DAY)]))
    assert codes(old) == [("crl-stale", "warning")]


def test_what_cannot_be_read_is_said_and_left_out() -> None:
    assert codes(look(())) == [("no-certificate", "error")]
    assert codes(look((b"nothing",))) == [("malformed", "error")]
    found = look((GOOD.chain_der[0], b"\x30\x03junk", *GOOD.chain_der[1:]))
    assert codes(found) == [("malformed", "warning")]
    assert found.bundle == GOOD.chain_der[1:]
    assert look((GOOD.chain_der[0],), known=(b"junk", b"")).bundle == ()


def test_every_code_that_is_said_has_an_explanation_without_line_ends() -> None:
    for code, (meaning, repair) in ADVICE.items():
        assert meaning.isprintable(), code
        assert repair.isprintable(), code
