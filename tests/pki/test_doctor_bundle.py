"""The bundle as a property: however a good chain was shuffled, doubled and mixed, it is repaired to one and the same."""

from __future__ import annotations

import datetime
import random

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority

from gatepost.pki.anchors import Anchors
from gatepost.pki.doctor import diagnose
from gatepost.pki.judge import Purpose, judge_chain

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
LOW = SUB.intermediate("Example Low CA")
GOOD = LOW.issue(["mx.example"])
LEAF, *RIGHT = GOOD.chain_der
OTHER = TestAuthority("Other Root", at=AT)
OTHER_SUB = OTHER.intermediate("Other Sub CA")
ANCHORS = Anchors.from_pem(ROOT.root_pem, OTHER.root_pem)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


STRANGERS = [
    der(certificate)
    for certificate in (
        ROOT.certificate,
        OTHER.certificate,
        OTHER_SUB.certificate,
        OTHER_SUB.issue(["other.example"]).leaf,
        LOW.issue(["mx.example"], start=AT - 90 * DAY, end=AT - DAY).leaf,
        LOW.again(start=AT - 700 * DAY, end=AT - DAY).certificate,
        SUB.again(start=AT - 700 * DAY, end=AT + 30 * DAY).certificate,
        LOW.again(key="p256", start=AT - 365 * DAY).certificate,
        TestAuthority("Example Root", at=AT).certificate,
        SUB.intermediate("Beside CA").certificate,
    )
]
MIXTURES = st.tuples(
    st.lists(st.sampled_from(STRANGERS), max_size=12),
    st.lists(st.sampled_from(RIGHT), max_size=4),
    st.lists(st.binary(max_size=40), max_size=2),
    st.randoms(use_true_random=False),
)


def mixed(
    parts: tuple[list[bytes], list[bytes], list[bytes], random.Random], right: list[bytes]
) -> list[bytes]:
    strangers, again, junk, chance = parts
    behind = [*right, *strangers, *again, *junk]
    chance.shuffle(behind)
    return behind


@settings(max_examples=100, deadline=None)
@given(MIXTURES)
def test_any_mixture_is_repaired_to_the_same_bundle(
    parts: tuple[list[bytes], list[bytes], list[bytes], random.Random],
) -> None:
    behind = mixed(parts, RIGHT)
    found = diagnose([LEAF, *behind], ANCHORS, NOW)
    assert list(found.bundle) == RIGHT
    assert found.verifies
    assert found.changed is (behind != RIGHT)
    assert found.changed is bool(found.findings)


@settings(max_examples=100, deadline=None)
@given(MIXTURES, st.lists(st.sampled_from([*RIGHT, *STRANGERS]), max_size=8), st.booleans())
def test_a_repaired_bundle_stays_as_it_is(
    parts: tuple[list[bytes], list[bytes], list[bytes], random.Random], known: list[bytes], trusted: bool
) -> None:
    """Also where the chain is not whole and no root is trusted."""
    anchors = ANCHORS if trusted else Anchors()
    behind = mixed(parts, RIGHT[parts[3].randrange(3) :])
    first = diagnose([LEAF, *behind], anchors, NOW, known=known)
    second = diagnose([LEAF, *first.bundle], anchors, NOW, known=known)
    assert second.bundle == first.bundle
    assert not second.changed
    assert second.verifies is first.verifies
    assert not {"duplicate", "stale", "misordered", "unrelated", "root-included"} & {
        note.code for note in second.findings
    }
    if first.verifies:
        verdict = judge_chain([LEAF, *first.bundle], anchors, NOW, Purpose.SERVER)
        assert verdict.require()[:-1] == (LEAF, *first.bundle)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*RIGHT, *STRANGERS]), max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_sending_and_of_what_is_known_never_matters(
    behind: list[bytes], chance: random.Random
) -> None:
    known = [*RIGHT, *STRANGERS]
    found = diagnose([LEAF, *behind], ANCHORS, NOW, known=known)
    chance.shuffle(behind)
    chance.shuffle(known)
    assert diagnose([LEAF, *behind], ANCHORS, NOW, known=known).bundle == found.bundle


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5), st.lists(st.binary(max_size=50), max_size=3))
def test_it_never_raises_for_what_a_file_may_hold(chain: list[bytes], known: list[bytes]) -> None:
    for sent in (chain, [LEAF, *chain]):
        found = diagnose(sent, ANCHORS, NOW, known=known)
        assert found == diagnose(sent, ANCHORS, NOW, known=known)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([LEAF, *RIGHT]), st.integers(0), st.integers(0, 7), st.sampled_from([0, 1, 2]))
def test_it_never_raises_for_a_certificate_with_a_bit_changed(
    der: bytes, at: int, bit: int, place: int
) -> None:
    changed = bytearray(der)
    changed[at % len(der)] ^= 1 << bit
    chain = [LEAF, *RIGHT]
    chain[place] = bytes(changed)
    found = diagnose(chain, ANCHORS, NOW, known=RIGHT)
    if place and chain != [LEAF, *RIGHT]:
        assert list(found.bundle) == RIGHT
