"""What is sent behind a certificate, compared with what should be: each kind of disorder, its code and what repair leaves."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import Issued, TestAuthority

from gatepost.pki.anchors import Anchors
from gatepost.pki.doctor import Diagnosis, diagnose

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
YEAR = 365 * DAY
NAMES = ["mx.example"]
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
LOW = SUB.intermediate("Example Low CA")
GOOD = LOW.issue(NAMES)
RIGHT = GOOD.chain_der[1:]
OTHER = TestAuthority("Other Root", at=AT)
OTHER_SUB = OTHER.intermediate("Other Sub CA")
ANCHORS = Anchors.from_pem(ROOT.root_pem)
BOTH = Anchors.from_pem(ROOT.root_pem, OTHER.root_pem)


def der(*certificates: x509.Certificate | TestAuthority) -> list[bytes]:
    return [
        (c.certificate if isinstance(c, TestAuthority) else c).public_bytes(Encoding.DER)
        for c in certificates
    ]


def look(
    leaf: Issued, behind: Sequence[bytes], anchors: Anchors = ANCHORS, known: Sequence[bytes] = ()
) -> Diagnosis:
    return diagnose([leaf.chain_der[0], *behind], anchors, NOW, known=known)


def codes(found: Diagnosis) -> list[tuple[str, str, str]]:
    return [(note.code, note.severity, note.subject) for note in found.findings]


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        pytest.param(der(LOW, LOW, SUB), [("duplicate", "warning", "CN=Example Low CA")], id="twice"),
        pytest.param(
            der(LOW, SUB) + der(GOOD.leaf), [("duplicate", "warning", "CN=mx.example")], id="the leaf again"
        ),
        pytest.param(der(SUB, LOW), [("misordered", "warning", "CN=mx.example")], id="order"),
        pytest.param(der(LOW, SUB, ROOT), [("root-included", "warning", "CN=Example Root")], id="root"),
        pytest.param(
            der(LOW, SUB, OTHER_SUB), [("unrelated", "warning", "CN=Other Sub CA")], id="a stranger"
        ),
        pytest.param(
            der(LOW, SUB, OTHER), [("unrelated", "warning", "CN=Other Root")], id="the root of a stranger"
        ),
        pytest.param(
            der(LOW, SUB, OTHER_SUB.issue(["x.example"]).leaf),
            [("unrelated", "warning", "CN=x.example")],
            id="the leaf of a stranger",
        ),
    ],
)
def test_one_disorder_has_one_code_and_is_repaired(
    behind: list[bytes], expected: list[tuple[str, str, str]]
) -> None:
    found = look(GOOD, behind)
    assert codes(found) == expected
    assert found.bundle == RIGHT
    assert found.changed
    assert found.verifies


def test_a_stranger_is_one_also_when_its_root_is_trusted() -> None:
    found = look(GOOD, der(LOW, SUB, OTHER_SUB, OTHER), BOTH)
    assert [code for code, _, _ in codes(found)] == ["unrelated", "unrelated"]
    assert found.bundle == RIGHT


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "old",
    [
        pytest.param(LOW.again(start=AT - 2 * YEAR, end=AT - DAY), id="expired, same key"),
        pytest.param(LOW.again(start=AT - YEAR, end=AT + YEAR), id="valid, same key"),
        pytest.param(LOW.again(start=AT - 2 * YEAR, end=AT - DAY, key="p256"), id="expired, other key"),
        pytest.param(LOW.again(start=AT - YEAR, end=AT + YEAR, key="p256"), id="valid, other key"),
        pytest.param(
            SUB.intermediate("Last Year's CA", start=AT - 2 * YEAR, end=AT - DAY), id="expired, other name"
        ),
    ],
)
def test_last_years_intermediate_beside_this_years_is_stale(old: TestAuthority, first: bool) -> None:
    behind = der(old, LOW, SUB) if first else der(LOW, SUB, old)
    found = look(GOOD, behind)
    assert codes(found) == [("stale", "warning", f"CN={old.name}")]
    assert found.bundle == RIGHT


def test_next_years_intermediate_does_not_belong_to_this_years_certificate() -> None:
    following = LOW.again(start=AT - DAY, end=AT + 11 * YEAR, key="p256")
    assert codes(look(GOOD, der(LOW, SUB, following))) == [("unrelated", "warning", "CN=Example Low CA")]


def test_of_two_for_one_key_the_one_that_lasts_longer_is_kept() -> None:
    following = LOW.again(start=AT - DAY, end=AT + 11 * YEAR)
    found = look(GOOD, der(LOW, following, SUB))
    assert codes(found) == [("stale", "warning", "CN=Example Low CA")]
    assert found.bundle == tuple(der(following, SUB))


def test_a_sound_chain_is_not_changed_for_a_newer_certificate_of_its_intermediate_elsewhere() -> None:
    following = LOW.again(start=AT - DAY, end=AT + 11 * YEAR)
    assert look(GOOD, RIGHT, known=der(following)) == Diagnosis((), RIGHT, changed=False, verifies=True)


def test_an_intermediate_that_ends_too_early_gives_way_to_one_that_is_known() -> None:
    ending = LOW.again(start=AT - YEAR, end=AT + 5 * DAY)
    found = look(GOOD, der(ending, SUB), known=der(LOW))
    assert codes(found) == [("stale", "warning", "CN=Example Low CA")]
    assert found.bundle == RIGHT


def test_an_expired_intermediate_is_replaced_where_the_current_one_is_known() -> None:
    old = LOW.again(start=AT - 2 * YEAR, end=AT - DAY)
    alone = look(GOOD, der(old, SUB))
    assert codes(alone) == [("expired", "error", "CN=Example Low CA")]
    assert "--repair" not in alone.findings[0].repair
    assert not alone.changed
    assert not alone.verifies
    found = look(GOOD, der(old, SUB), known=der(LOW))
    assert codes(found) == [
        ("expired", "error", "CN=Example Low CA"),
        ("stale", "warning", "CN=Example Low CA"),
    ]
    assert "--repair" in found.findings[0].repair
    assert found.bundle == RIGHT
    assert found.verifies


def test_an_intermediate_that_ends_before_the_certificate_is_said() -> None:
    ending = LOW.again(start=AT - YEAR, end=AT + 5 * DAY)
    found = look(GOOD, der(ending, SUB))
    assert codes(found) == [("expires-soon", "warning", "CN=Example Low CA")]
    assert "5 days" in found.findings[0].text


def test_a_root_that_has_ended_or_ends_is_told_and_cannot_be_repaired() -> None:
    for left, expected in ((-1, ("expired", "error")), (5, ("expires-soon", "warning"))):
        root = TestAuthority("Old Root", at=AT, start=AT - YEAR, end=AT + left * DAY)
        issued = root.intermediate("Young CA").issue(NAMES)
        found = diagnose(issued.chain_der, Anchors.from_pem(root.root_pem), NOW)
        assert codes(found) == [(*expected, "CN=Old Root")]
        assert not found.changed
        assert "--repair" not in found.findings[0].repair


def test_a_renewed_certificate_with_last_years_intermediate_and_without_its_own() -> None:
    other = LOW.again(key="p256")
    found = look(other.issue(NAMES), der(LOW, SUB))
    assert [code for code, _, _ in codes(found)] == ["missing-intermediate", "stale", "unrelated"]
    assert found.bundle == ()


def test_last_years_certificate_of_the_host_beside_this_years() -> None:
    old = LOW.issue(NAMES, start=AT - YEAR, end=AT - DAY)
    assert codes(look(GOOD, [*RIGHT, *der(old.leaf)])) == [("stale", "warning", "CN=mx.example")]


def test_a_chain_that_begins_with_the_intermediate() -> None:
    chain = der(LOW, GOOD.leaf, SUB)
    found = diagnose(chain, ANCHORS, NOW)
    assert ("misordered", "error", "CN=Example Low CA") in codes(found)


CROSS = OTHER.cross_sign(ROOT)


def test_a_sent_cross_sign_stays_for_the_peers_that_need_it() -> None:
    for anchors in (ANCHORS, BOTH):
        found = look(GOOD, [*RIGHT, *der(CROSS)], anchors)
        assert codes(found) == [("cross-sign", "info", "CN=Example Root")]
        assert "CN=Other Root" in found.findings[0].text
        assert not found.changed
    only_new = look(GOOD, [*RIGHT, *der(CROSS)], Anchors.from_pem(OTHER.root_pem))
    assert codes(only_new) == []
    assert only_new.verifies


def test_of_several_cross_signs_one_stays_in_whatever_order() -> None:
    crosses = [CROSS, *(TestAuthority(f"Root {n}", at=AT).cross_sign(ROOT) for n in range(4))]
    kept = {look(GOOD, [*RIGHT, *der(*crosses[n:], *crosses[:n])]).bundle for n in range(5)}
    assert len(kept) == 1
    assert len(kept.pop()) == 3


def test_a_cross_sign_that_would_make_the_chain_too_long_is_left_out() -> None:
    for levels, stays in ((8, True), (9, False)):
        issued = ROOT.descend(levels).issue(NAMES)
        found = look(issued, [*issued.chain_der[1:], *der(CROSS)])
        assert (found.bundle[-1:] == tuple(der(CROSS))) is stays
        assert [code for code, _, _ in codes(found)] == ["cross-sign" if stays else "unrelated"]
        assert found.verifies


def test_a_cross_sign_that_has_ended_is_stale() -> None:
    ended = TestAuthority("Example Root", parent=OTHER, key=ROOT.key, start=AT - YEAR, end=AT - DAY)
    found = look(GOOD, [*RIGHT, *der(ended)], BOTH)
    assert codes(found) == [("stale", "warning", "CN=Example Root")]
    assert found.bundle == RIGHT


def test_another_way_that_is_known_is_only_told() -> None:
    found = look(GOOD, RIGHT, BOTH, known=der(CROSS))
    assert codes(found) == [("cross-sign", "info", "CN=Other Root")]
    assert not found.changed


def test_two_certificates_of_different_issuers_for_one_intermediate() -> None:
    other = TestAuthority("Example Low CA", parent=OTHER, key=LOW.key)
    found = look(GOOD, [*RIGHT, *der(other)], BOTH)
    assert codes(found) == [
        ("duplicate", "warning", "CN=Example Low CA"),
        ("unrelated", "warning", "CN=Example Sub CA"),
        ("cross-sign", "info", "CN=Example Root"),
    ]
    assert "another way, to CN=Example Root" in found.findings[1].text
    assert found.bundle == tuple(der(other))
    assert found.verifies


def test_a_way_that_verifies_is_preferred_to_one_that_lasts_longer() -> None:
    """Only the library sees the name constraint, not the dates."""
    refused = SUB.intermediate("Twin", permitted=["other.example"], end=AT + 11 * YEAR)
    allowed = TestAuthority("Twin", parent=SUB, key=refused.key, end=AT + 60 * DAY)
    leaf = allowed.issue(NAMES)
    for behind in (der(refused, SUB), der(allowed, SUB), der(refused, allowed, SUB)):
        found = look(leaf, behind, known=der(refused, allowed))
        assert found.bundle == tuple(der(allowed, SUB))
        assert found.verifies


def test_a_way_to_a_trusted_root_is_preferred_to_one_that_lasts_longer() -> None:
    ending = LOW.again(end=AT + 60 * DAY)
    longer = TestAuthority("Example Low CA", parent=OTHER, key=LOW.key)
    found = look(GOOD, der(longer, OTHER, ending, SUB))
    assert found.bundle == tuple(der(ending, SUB))
    assert found.verifies


def test_without_a_trusted_root_a_sound_way_is_still_preferred() -> None:
    early = LOW.again(start=AT + DAY, end=AT + 11 * YEAR)
    late = LOW.again(end=AT + 60 * DAY)
    assert look(GOOD, der(early, late, SUB), Anchors()).bundle == tuple(der(late, SUB))


def test_what_fills_a_gap_and_is_itself_at_fault_is_told() -> None:
    old = LOW.again(start=AT - 2 * YEAR, end=AT - DAY)
    found = look(GOOD, der(SUB), known=der(old))
    assert codes(found) == [
        ("missing-intermediate", "error", "CN=Example Low CA"),
        ("expired", "error", "CN=Example Low CA"),
    ]
    assert found.bundle == tuple(der(old, SUB))
    assert not found.verifies


def test_another_key_of_the_same_name_is_no_damage_where_nothing_identifies_the_keys() -> None:
    this = SUB.intermediate("Plain CA", key_identifiers=False)
    last = this.again(key="p256", key_identifiers=False)
    found = look(this.issue(NAMES), der(last, SUB))
    assert [code for code, _, _ in codes(found)] == ["missing-intermediate", "stale", "unrelated"]


def test_a_name_that_its_issuer_writes_otherwise_is_the_same_name() -> None:
    shouted = TestAuthority("EXAMPLE  LOW CA", parent=SUB, key=LOW.key)
    leaf = LOW.issue(NAMES)
    found = look(leaf, der(SUB), known=der(shouted))
    assert found.bundle == tuple(der(shouted, SUB))
    assert found.verifies


def test_cross_signs_that_lead_in_a_circle_are_left_out_or_told() -> None:
    a, b = TestAuthority("A", at=AT), TestAuthority("B", at=AT)
    leaf = a.issue(NAMES)
    loop = der(b.cross_sign(a), a.cross_sign(b))
    rooted = look(leaf, loop, Anchors.from_pem(a.root_pem))
    assert rooted.bundle == ()
    assert rooted.verifies
    lost = look(leaf, loop)
    assert ("untrusted-root", "error", "CN=B") in codes(lost)
    assert not lost.verifies
