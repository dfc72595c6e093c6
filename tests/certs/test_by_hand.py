"""Renewal by hand: what it comes to for each kind of certificate, and what it makes."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from tests.certs.test_lifecycle import CA, NOW, both, profile_of
from tests.fakes.ca import self_signed

from gatepost.certs.by_hand import Step, Wish, carry_out, plan
from gatepost.certs.lifecycle import key_family
from gatepost.certs.making import new_self_signed
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, load_private_key
from gatepost.pki.profile import Origin, Profile
from gatepost.pki.selfsigned import SubjectFields, csr_matches, read_request

SUBJECT = SubjectFields("mx.example", "Example", "Mail", "Bolzano", "BZ", "it")
LATER = NOW + 20 * 86_400


def own(kind: KeyKind = KeyKind.P256) -> Profile:
    return new_self_signed("gw", SUBJECT, ["mx.example", "192.0.2.1"], 30, kind, NOW)


def test_a_self_signed_certificate_is_made_anew_with_subject_names_key_and_duration() -> None:
    old = own()
    planned = plan(old, Wish())
    assert (planned.step, planned.kind, planned.days) == (Step.ANEW, None, 30)
    new = carry_out(old, planned, LATER).profile
    assert new.leaf.subject == old.leaf.subject
    assert new.leaf.names == old.leaf.names
    assert new.leaf.not_after == LATER + 30 * 86_400
    assert (new.key, new.origin, new.created) == (old.key, Origin.SELF_SIGNED, LATER)
    assert new.leaf.self_signed
    new.require_keys()


def test_a_new_key_and_another_duration_can_be_asked_for() -> None:
    old = own()
    new = carry_out(old, plan(old, Wish(new_key=True, days=7)), LATER).profile
    assert new.key != old.key
    assert key_family(new.leaf) == "ECDSA"
    assert new.leaf.not_after == LATER + 7 * 86_400
    assert csr_matches(new.csr, load_private_key(new.key.reveal()))
    other = carry_out(old, plan(old, Wish(kind=KeyKind.ED25519)), LATER).profile
    assert key_family(other.leaf) == "Ed25519"
    for days in (-1, 99_999):
        with pytest.raises(PkiError, match="duration"):
            plan(old, Wish(days=days))


def test_the_demo_certificate_stays_one() -> None:
    demo = replace(own(), origin=Origin.DEMO)
    assert carry_out(demo, plan(demo, Wish()), LATER).profile.origin is Origin.DEMO


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "ed25519"])
def test_a_signed_certificate_gets_a_request_for_the_same_names(key: str) -> None:
    old = profile_of(CA.issue(["mx.example", "*.mail.example", "192.0.2.1"], key=key))
    planned = plan(old, Wish())
    assert (planned.step, planned.kind) == (Step.REQUEST, None)
    new = carry_out(old, planned, NOW).profile
    request = read_request(new.csr)
    assert request.subject == old.leaf.subject
    assert request.names == old.leaf.names.texts()
    assert request.public_key == old.leaf.public_key_der
    assert (new.pairs, bool(new.next_key)) == (old.pairs, False)
    # Once more, and there is nothing to do: the request is the right one.
    assert plan(new, Wish()).step is Step.SAME_REQUEST
    assert carry_out(new, plan(new, Wish()), NOW).profile == new


def test_a_new_key_of_a_request_waits_and_the_one_before_is_given_up() -> None:
    old = profile_of(CA.issue(["mx.example"], key="rsa3072"))
    planned = plan(old, Wish(new_key=True))
    assert (planned.kind, planned.gives_up) == (KeyKind.RSA3072, False)
    first = carry_out(old, plan(old, Wish(kind=KeyKind.P256)), NOW).profile
    assert csr_matches(first.csr, load_private_key(first.next_key.reveal()))
    assert first.pairs == old.pairs
    second_plan = plan(first, Wish(kind=KeyKind.P256))
    assert second_plan.gives_up
    second = carry_out(first, second_plan, NOW)
    assert second.profile.next_key != first.next_key
    assert "given up" in second.notes[0]
    same = carry_out(first, plan(first, Wish()), NOW).profile
    assert not same.next_key


def test_a_certificate_with_its_name_in_the_cn_only_asks_for_it_as_alternative_name() -> None:
    old = profile_of(CA.issue(["mx.example"], san=False))
    request = read_request(carry_out(old, plan(old, Wish()), NOW).profile.csr)
    assert request.names == ("DNS:mx.example",)
    odd = profile_of(CA.issue(["The mail server of ours"], san=False))
    assert read_request(carry_out(odd, plan(odd, Wish()), NOW).profile.csr).names == (
        "CN:The mail server of ours",
    )


def test_days_are_the_authoritys_to_decide() -> None:
    with pytest.raises(PkiError, match="authority, which decides"):
        plan(profile_of(CA.issue(["mx.example"])), Wish(days=30))


def test_the_second_certificate_is_made_and_renewed_beside() -> None:
    first = own(KeyKind.RSA2048)
    with pytest.raises(PkiError, match="no second certificate"):
        plan(first, Wish(beside=True))
    with pytest.raises(PkiError, match="two RSA"):
        plan(first, Wish(kind=KeyKind.RSA4096, beside=True))
    two = carry_out(first, plan(first, Wish(kind=KeyKind.P256, beside=True)), LATER).profile
    assert [key_family(pair.leaf) for pair in two.pairs] == ["RSA", "ECDSA"]
    assert two.pairs[1].leaf.names == first.leaf.names
    two.require_keys()
    again = carry_out(two, plan(two, Wish(beside=True)), LATER + 60).profile
    assert again.main == two.main
    assert again.beside is not None
    assert two.beside is not None
    assert again.beside.key == two.beside.key
    assert again.beside.certificate != two.beside.certificate
    assert csr_matches(again.csr, load_private_key(again.beside.key.reveal()))  # to be signed next
    with pytest.raises(PkiError, match="two ECDSA"):
        plan(two, Wish(kind=KeyKind.P384))


def test_a_request_for_the_second_of_two_is_for_its_key() -> None:
    two = both()
    assert two.beside is not None
    asked = carry_out(two, plan(two, Wish(beside=True)), NOW).profile
    assert csr_matches(asked.csr, load_private_key(two.beside.key.reveal()))
    waiting = carry_out(two, plan(two, Wish(beside=True, new_key=True)), NOW).profile
    assert waiting.next_key
    assert waiting.pairs == two.pairs


def test_a_long_life_is_cut_to_what_can_be_made() -> None:
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    old = profile_of(self_signed(["mx.example"], at=at, end=at + datetime.timedelta(days=36_500)))
    made = carry_out(old, plan(old, Wish()), NOW).profile
    assert made.leaf.not_after <= NOW + 3650 * 3 * 86_400
