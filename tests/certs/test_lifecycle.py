"""What happens to a profile: the answer of an authority, its bundle, two certificates, roots apart."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import Issued, TestAuthority, make_key, self_signed

from gatepost.certs.by_hand import Wish, carry_out, plan
from gatepost.certs.lifecycle import (
    Brought,
    Change,
    install_intermediates,
    install_signed,
    key_family,
    put_beside,
    replace_first,
    still_belonging,
    which_pair,
    with_bundles,
    without_beside,
)
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, load_private_key, public_key_der
from gatepost.pki.profile import Origin, Profile, make_profile

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
ROOT = TestAuthority("Example Root", at=AT)
CA = ROOT.intermediate("Example Sub CA")


def profile_of(issued: Issued, name: str = "gw") -> Profile:
    leaf, *others = issued.chain_der
    key = load_private_key(issued.key_pem)
    return make_profile(
        name, leaf, key, intermediates=tuple(others), origin=Origin.IMPORTED, created=NOW - 1000
    )


def der(*certificates: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def again(old: Issued, authority: TestAuthority = CA, **choices: object) -> Issued:
    """Another certificate for the same key."""
    return authority.issue(["mx.example"], key=old.key, **choices)  # type: ignore[arg-type]


def subjects(profile: Profile) -> list[str]:
    return [read_certificate(one).subject for one in profile.intermediates]


def test_an_answer_for_the_served_key_takes_the_place_of_the_certificate() -> None:
    old = CA.issue(["mx.example"])
    profile = replace(profile_of(old), csr=b"")
    new = again(old)
    change = install_signed(profile, Brought(der(*new.certificates)), NOW)
    assert change.profile.certificate == new.chain_der[0]
    assert (change.profile.origin, change.profile.created) == (Origin.SIGNED, NOW)
    assert change.profile.key == profile.key
    change.profile.require_keys()


def test_an_answer_for_the_waiting_key_brings_that_key_into_use_and_keeps_the_request() -> None:
    old = profile_of(CA.issue(["mx.example"]))
    asked = carry_out(old, plan(old, Wish(new_key=True)), NOW).profile
    assert asked.key == old.key
    assert asked.next_key
    waiting = load_private_key(asked.next_key.reveal())
    new = CA.issue(["mx.example"], key=waiting)  # type: ignore[arg-type]
    change = install_signed(asked, Brought(der(*new.certificates)), NOW)
    assert change.profile.key == asked.next_key
    assert not change.profile.next_key
    assert change.profile.csr == asked.csr
    assert any("waiting" in note for note in change.notes)
    change.profile.require_keys()


def test_an_answer_for_the_old_key_leaves_the_open_request_open() -> None:
    issued = CA.issue(["mx.example"])
    old = profile_of(issued)
    asked = carry_out(old, plan(old, Wish(new_key=True)), NOW).profile
    change = install_signed(asked, Brought(der(*again(issued).certificates)), NOW)
    assert change.profile.next_key == asked.next_key
    assert any("still open" in note for note in change.notes)


def test_the_leaf_is_found_wherever_it_stands_and_everything_else_is_kept_as_it_came() -> None:
    old = CA.issue(["mx.example"])
    new = again(old)
    bundle = der(ROOT.certificate, CA.certificate, new.leaf, CA.certificate)
    change = install_signed(profile_of(old), Brought(bundle), NOW)
    assert change.profile.certificate == new.chain_der[0]
    assert subjects(change.profile) == ["CN=Example Root", "CN=Example Sub CA", "CN=Example Sub CA"]
    assert any("root CN=Example Root is kept and not sent" in note for note in change.notes)


def test_a_root_is_kept_and_never_served() -> None:
    issued = CA.issue(["mx.example"]).sending(root=True)
    profile = profile_of(issued)
    assert len(profile.chain) == 3
    assert [read_certificate(one).subject for one in profile.main.served] == [
        "CN=mx.example",
        "CN=Example Sub CA",
    ]
    assert profile.certificate_pem.count("BEGIN") == 2
    alone = profile_of(self_signed(["mx.example"], at=AT))
    assert alone.main.served == alone.chain  # its own root is what is served


def test_of_two_answers_for_the_same_key_the_newer_is_taken() -> None:
    old = CA.issue(["mx.example"])
    last_year, this_year = again(old, start=AT - 20 * DAY), again(old, start=AT - 2 * DAY)
    change = install_signed(profile_of(old), Brought(der(last_year.leaf, this_year.leaf)), NOW)
    assert change.profile.certificate == this_year.chain_der[0]


def test_last_years_intermediate_never_stays_beside_this_years() -> None:
    """R6: the bundle that came replaces the old one."""
    other = ROOT.intermediate("Example Sub CA 2")
    old = CA.issue(["mx.example"])
    change = install_signed(profile_of(old), Brought(der(*again(old, other).certificates)), NOW)
    assert subjects(change.profile) == ["CN=Example Sub CA 2"]


def test_when_no_bundle_came_those_of_the_old_stay_that_belong() -> None:
    stranger = TestAuthority("Other Root", at=AT).intermediate("Other Sub CA")
    old = CA.issue(["mx.example"]).sending(extra=[stranger.certificate])
    change = install_signed(profile_of(old), Brought(der(again(old).leaf)), NOW)
    assert subjects(change.profile) == ["CN=Example Sub CA"]
    assert any("CN=Example Sub CA" in note and "stays" in note for note in change.notes)
    assert any("CN=Other Sub CA" in note and "dropped" in note for note in change.notes)


def test_of_two_that_could_stand_at_one_place_the_one_that_lasts_longer_stays() -> None:
    stale = ROOT.intermediate("Example Sub CA", key=CA.key, end=AT + 5 * DAY)
    leaf = read_certificate(CA.issue(["mx.example"]).chain_der[0])
    kept, dropped = still_belonging(leaf, der(stale.certificate, CA.certificate), NOW)
    assert (kept, dropped) == (der(CA.certificate), der(stale.certificate))


def test_intermediates_of_a_second_file_are_kept_behind_those_of_the_first() -> None:
    old = CA.issue(["mx.example"])
    brought = Brought(der(again(old).leaf), behind=der(CA.certificate))
    assert subjects(install_signed(profile_of(old), brought, NOW).profile) == ["CN=Example Sub CA"]


def test_intermediates_can_be_replaced_alone() -> None:
    profile = profile_of(CA.issue(["mx.example"]).sending(leaf_only=True))
    change = install_intermediates(profile, der(CA.certificate))
    assert subjects(change.profile) == ["CN=Example Sub CA"]
    assert change.profile.certificate == profile.certificate
    with pytest.raises(PkiError, match="no certificate"):
        install_intermediates(profile, ())


@pytest.mark.parametrize(
    ("brought", "words"),
    [
        (Brought(), "holds no certificate"),
        (Brought(der(CA.certificate)), "authorities only, the first is CN=Example Sub CA"),
        (Brought(der(CA.issue(["other.example"]).leaf)), "CN=other.example was not made for a key of gw"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(brought: Brought, words: str) -> None:
    with pytest.raises(PkiError, match=words):
        install_signed(profile_of(CA.issue(["mx.example"])), brought, NOW)


@pytest.mark.parametrize(
    ("choice", "words"), [("expired", "expired on 2027-01-14"), ("not_yet_valid", "is not yet valid")]
)
def test_one_that_is_out_of_its_time_is_refused_by_name(choice: str, words: str) -> None:
    old = CA.issue(["mx.example"])
    with pytest.raises(PkiError, match=words):
        install_signed(profile_of(old), Brought(der(again(old, **{choice: True}).leaf)), NOW)


def test_a_private_key_in_the_file_is_compared() -> None:
    old = CA.issue(["mx.example"])
    answer = der(again(old).leaf)
    same = install_signed(profile_of(old), Brought(answer, keys=(public_key_der(old.key),)), NOW)
    assert any("left out" in note for note in same.notes)
    other = public_key_der(make_key())
    with pytest.raises(PkiError, match="does not belong to the certificate CN=mx"):
        install_signed(profile_of(old), Brought(answer, keys=(other,)), NOW)


# --- two certificates -------------------------------------------------------------------------------


def both() -> Profile:
    rsa, ec = CA.issue(["mx.example"], key="rsa2048"), CA.issue(["mx.example"])
    return put_beside(profile_of(rsa), profile_of(ec, "x")).profile


def test_two_certificates_of_different_keys_stand_side_by_side() -> None:
    profile = both()
    assert profile.name == "gw"
    assert [key_family(pair.leaf) for pair in profile.pairs] == ["RSA", "ECDSA"]
    profile.require_keys()
    assert which_pair(profile, "beside").certificate == profile.pairs[1].certificate
    assert without_beside(profile).profile.pairs == profile.pairs[:1]


def test_two_of_the_same_kind_are_refused() -> None:
    p256, p384 = CA.issue(["mx.example"]), CA.issue(["mx.example"], key="p384")
    with pytest.raises(PkiError, match="two ECDSA certificates"):
        put_beside(profile_of(p256), profile_of(p384))
    for wrong in ("beside", "third"):
        with pytest.raises(PkiError):
            which_pair(profile_of(p256), wrong)
    with pytest.raises(PkiError, match="no second"):
        without_beside(profile_of(p256))


def test_the_key_decides_which_of_two_is_replaced() -> None:
    profile = both()
    assert profile.beside is not None
    key = load_private_key(profile.beside.key.reveal())
    new = CA.issue(["mx.example"], key=key)  # type: ignore[arg-type]
    change = install_signed(profile, Brought(der(new.leaf)), NOW)
    assert change.profile.certificate == profile.certificate
    assert change.profile.beside is not None
    assert change.profile.beside.certificate == new.chain_der[0]


def test_a_waiting_key_of_another_kind_becomes_the_second_where_that_is_asked_for() -> None:
    first = profile_of(CA.issue(["mx.example"], key="rsa2048"))
    asked = carry_out(first, plan(first, Wish(kind=KeyKind.P256, beside=True)), NOW).profile
    waiting = load_private_key(asked.next_key.reveal())
    new = CA.issue(["mx.example"], key=waiting)  # type: ignore[arg-type]
    beside = install_signed(asked, Brought(der(new.leaf)), NOW, beside=True).profile
    assert [key_family(pair.leaf) for pair in beside.pairs] == ["RSA", "ECDSA"]
    # The old bundle of the first certificate serves the second too: the same authority signed both.
    assert beside.pairs[1].intermediates == der(CA.certificate)
    instead = install_signed(asked, Brought(der(new.leaf)), NOW).profile
    assert [key_family(pair.leaf) for pair in instead.pairs] == ["ECDSA"]
    again_first = CA.issue(["mx.example"], key=make_key("rsa2048"))
    with pytest.raises(PkiError, match="key of the first certificate"):
        install_signed(asked, Brought(der(again_first.leaf)), NOW, beside=True)


def test_an_import_over_a_name_replaces_the_first_and_keeps_what_still_fits() -> None:
    profile = both()
    other = profile_of(CA.issue(["mx.example"], key="rsa2048"), "x")
    kept = replace_first(profile, other)
    assert (kept.profile.name, kept.notes) == ("gw", ())
    assert kept.profile.beside == profile.beside
    same_kind = replace_first(profile, profile_of(CA.issue(["mx.example"]), "x"))
    assert same_kind.profile.beside is None
    assert "dropped" in same_kind.notes[0]


# --- repair -----------------------------------------------------------------------------------------


def test_a_repair_says_what_it_took_out_put_in_and_put_in_order() -> None:
    low = CA.intermediate("Example Low CA")
    untidy = low.issue(["mx.example"]).sending(root=True, reverse=True)
    profile = profile_of(untidy)
    change: Change = with_bundles(profile, [der(low.certificate, CA.certificate)])
    assert change.notes == ("taken out: CN=Example Root", "put in order, each behind the one that it signed")
    gap = with_bundles(profile_of(untidy.sending(leaf_only=True)), [der(low.certificate, CA.certificate)])
    assert gap.notes == ("put in: CN=Example Low CA", "put in: CN=Example Sub CA")
    twice = profile_of(CA.issue(["mx.example"]).sending(extra=[CA.certificate]))
    assert with_bundles(twice, [der(CA.certificate)]).notes == ("taken out: CN=Example Sub CA",)
