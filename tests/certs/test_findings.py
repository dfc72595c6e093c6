"""What is said of a profile: one change a case, the code of the contract, and whether it breaks verification."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from tests.fakes.ca import CLIENT_AUTH, SERVER_AUTH, Issued, TestAuthority, self_signed

from gatepost.certs.findings import Note, profile_findings
from gatepost.certs.usage import Use
from gatepost.pki.anchors import Anchors
from gatepost.pki.keys import SecretBytes, load_private_key
from gatepost.pki.profile import Origin, Pair, Profile, make_profile

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
ROOT = TestAuthority("Example CA", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
ANCHORS = Anchors.from_pem(ROOT.root_pem)
DAY = datetime.timedelta(days=1)


def profile_of(issued: Issued, origin: Origin = Origin.IMPORTED) -> Profile:
    leaf, *others = issued.chain_der
    key = load_private_key(issued.key_pem)
    return make_profile("gw", leaf, key, intermediates=tuple(others), origin=origin, created=NOW)


def codes(
    issued: Issued, used: tuple[Use, ...] = (), origin: Origin = Origin.IMPORTED
) -> list[tuple[str, str]]:
    notes = profile_findings(profile_of(issued, origin), used, ANCHORS, NOW)
    return [(note.code, note.severity) for note in notes]


def test_a_sound_certificate_has_no_findings() -> None:
    assert codes(SUB.issue(["mx.example"])) == []


def test_one_that_signed_itself_is_a_warning_and_not_an_error() -> None:
    assert codes(self_signed(["mx.example"], at=AT)) == [("self-signed", "warning")]
    assert codes(self_signed(["mx.example"], at=AT), origin=Origin.DEMO) == [("demo", "warning")]


@pytest.mark.parametrize(
    ("issued", "expected"),
    [
        (SUB.issue(["mx.example"], expired=True), ("expired", "error")),
        (SUB.issue(["mx.example"], not_yet_valid=True), ("not-yet-valid", "error")),
        (SUB.issue(["mx.example"], usages=(CLIENT_AUTH,)), ("wrong-usage", "error")),
        (SUB.issue(["mx.example"], key="rsa1024"), ("weak-key", "error")),
        (SUB.issue(["mx.example"]).sending(leaf_only=True), ("missing-intermediate", "error")),
        (TestAuthority("Other CA", at=AT).issue(["mx.example"]), ("missing-intermediate", "error")),
        (SUB.issue(["mx.example"]).sending(root=True), ("root-included", "warning")),
        (SUB.issue(["mx.example"]).sending(duplicate=True), ("duplicate", "warning")),
        (
            SUB.issue(["mx.example"]).sending(extra=[SUB.issue(["x.example"]).leaf]),
            ("unrelated", "warning"),
        ),
        (SUB.issue(["mx.example"], end=AT + 10 * DAY), ("expires-soon", "warning")),
    ],
)
def test_each_fault_has_its_code(issued: Issued, expected: tuple[str, str]) -> None:
    assert expected in codes(issued)


def test_days_that_are_left_are_counted() -> None:
    for left, words in (
        (DAY * 10, "expires in 10 days"),
        (DAY, "expires in 1 day"),
        (DAY / 2, "within a day"),
    ):
        issued = SUB.issue(["mx.example"], start=AT - 50 * DAY, end=AT + left)
        notes = profile_findings(profile_of(issued), (), ANCHORS, NOW)
        assert [note.text.removeprefix("expires ") for note in notes] == [words.removeprefix("expires ")]


def test_intermediates_in_the_wrong_order_are_found() -> None:
    deep = SUB.intermediate("Lower CA").issue(["mx.example"])
    assert codes(deep) == []
    assert codes(deep.sending(reverse=True)) == [("misordered", "warning")]


def test_where_it_is_used_its_names_must_fit() -> None:
    use = Use("gw", "listeners[0].certificate", "listener In", "mx.our.example")
    assert codes(SUB.issue(["mx.our.example"]), (use,)) == []
    assert codes(SUB.issue(["*.our.example"]), (use,)) == []
    (note,) = profile_findings(profile_of(SUB.issue(["other.example"])), (use,), ANCHORS, NOW)
    assert (note.code, note.severity) == ("name-mismatch", "warning")
    assert "mx.our.example" in note.text
    assert "listener In" in note.text


def test_what_breaks_verification_comes_first() -> None:
    use = Use("gw", "listeners[0].certificate", "listener In", "mx.our.example")
    found = codes(SUB.issue(["other.example"], expired=True).sending(root=True), (use,))
    assert found[0] == ("expired", "error")
    assert [severity for _, severity in found] == ["error", "warning", "warning"]


LISTENER = Use("gw", "listeners[0].certificate", "listener In", "mx.example")
DELIVERY = Use("gw", "destination_controls.global.certificate", "delivery")
LDAP = Use("gw", "ldap.certificate", "ldap")


def notes_of(issued: Issued, *used: Use, known: tuple[bytes, ...] = ()) -> list[Note]:
    return profile_findings(profile_of(issued), used, ANCHORS, NOW, known=known)


@pytest.mark.parametrize("used", [(DELIVERY,), (LDAP,), (LISTENER, DELIVERY)])
def test_a_server_certificate_as_client_certificate_is_a_warning_that_says_why(used: tuple[Use, ...]) -> None:
    issued = SUB.issue(["mx.example"], usages=(SERVER_AUTH,))
    (found,) = notes_of(issued, *used)
    assert (found.code, found.severity) == ("wrong-usage", "warning")
    assert used[-1].what in found.text
    assert "public authorities no longer issue" in found.meaning
    assert notes_of(issued, LISTENER) == []
    assert notes_of(SUB.issue(["mx.example"], usages=None), *used) == []


def test_a_client_certificate_for_delivery_alone_need_not_be_one_for_servers() -> None:
    issued = SUB.issue(["mx.example"], usages=(CLIENT_AUTH,))
    assert notes_of(issued, DELIVERY) == []
    assert [note.severity for note in notes_of(issued, DELIVERY, LISTENER)] == ["error"]


def test_a_key_that_is_not_the_certificates_is_found_where_it_is_at_hand() -> None:
    profile = profile_of(SUB.issue(["mx.example"]))
    other = SUB.issue(["mx.example"])
    for key, words in ((other.key_pem, "does not belong"), (b"nothing", "cannot be used")):
        (found,) = profile_findings(replace(profile, key=SecretBytes(key)), (), ANCHORS, NOW)
        assert (found.code, found.severity) == ("key-mismatch", "error")
        assert words in found.text
    assert profile_findings(replace(profile, key=SecretBytes(b"")), (), ANCHORS, NOW) == []


def test_both_certificates_of_a_profile_are_looked_at_and_told_apart() -> None:
    rsa = SUB.issue(["mx.example"], key="rsa2048").sending(duplicate=True)
    leaf, *others = rsa.chain_der
    profile = replace(profile_of(SUB.issue(["other.example"])), beside=Pair(leaf, tuple(others)))
    notes = profile_findings(profile, (LISTENER,), ANCHORS, NOW)
    assert [(note.code, note.text.partition(" (the ")[2]) for note in notes] == [
        ("name-mismatch", "ECDSA certificate)"),
        ("duplicate", "RSA certificate)"),
        ("duplicate", "RSA certificate)"),
    ]


def test_a_kind_of_key_that_few_peers_know_wants_another_beside_it() -> None:
    alone = profile_of(SUB.issue(["mx.example"], key="ed25519"))
    assert [note.code for note in profile_findings(alone, (), ANCHORS, NOW)] == ["rare-key"]
    leaf, *others = SUB.issue(["mx.example"]).chain_der
    both = replace(alone, beside=Pair(leaf, tuple(others)))
    assert profile_findings(both, (), ANCHORS, NOW) == []


def test_the_repair_names_the_profile_and_the_document_holds_everything() -> None:
    (found,) = notes_of(
        SUB.issue(["mx.example"]).sending(leaf_only=True), known=SUB.issue(["x"]).chain_der[1:]
    )
    assert found.document() == {
        "code": "missing-intermediate",
        "severity": "error",
        "text": "the certificate of CN=Example Sub CA is missing, which signed CN=mx.example",
        "meaning": found.meaning,
        "repair": "`gatepost cert check gw --repair` puts it in: it is known here",
        "subject": "CN=Example Sub CA",
    }
    assert found.meaning
