"""Chains against TLSA records, with every form of record and every fault of a chain that matters to it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.fakes.ca import Issued, TestAuthority, self_signed

from gatepost.core.reasons import AskedBy, ReasonCode
from gatepost.core.tls import DanePlan, NameSource, ReferenceName
from gatepost.core.tlsa import Matching, Selector, Tlsa, Usage, association
from gatepost.pki.certificate import read_certificate
from gatepost.pki.dane import DaneVerdict, judge_dane

ROOT = TestAuthority()
SUB = ROOT.intermediate()
GOOD = SUB.issue(["mx.partner.example"])
NOW = ROOT.at.timestamp()


def record_of(
    der: bytes, usage: Usage, selector: Selector = Selector.PUBLIC_KEY, matching: Matching = Matching.SHA256
) -> Tlsa:
    return Tlsa(
        usage, selector, matching, association(der, read_certificate(der).public_key_der, selector, matching)
    )


def judge(
    chain: Sequence[bytes], *records: Tlsa, names: Sequence[str] = ("mx.partner.example",), now: float = NOW
) -> DaneVerdict:
    known = tuple(ReferenceName(name, NameSource.DNSSEC) for name in names)
    return judge_dane(chain, DanePlan("mx.partner.example", tuple(records), known, True), now)


LEAF_DER, SUB_DER = GOOD.chain_der[0], GOOD.chain_der[1]


@pytest.mark.parametrize("selector", Selector)
@pytest.mark.parametrize("matching", Matching)
def test_the_hosts_own_record_matches_whatever_else_is_wrong(selector: Selector, matching: Matching) -> None:
    """D6: names and dates do not matter for DANE-EE."""
    record = record_of(LEAF_DER, Usage.DANE_EE, selector, matching)
    assert judge(GOOD.chain_der, record).record == record
    assert judge(GOOD.chain_der[:1], record, names=["elsewhere.example"], now=NOW + 4e8).record == record


def test_a_self_signed_certificate_is_as_good_as_any_for_its_record() -> None:
    lonely: Issued = self_signed(["x.example"])
    assert judge(lonely.chain_der, record_of(lonely.chain_der[0], Usage.DANE_EE)).record is not None


@pytest.mark.parametrize("selector", Selector)
@pytest.mark.parametrize("matching", Matching)
def test_an_issuer_that_is_sent_along_anchors_the_chain(selector: Selector, matching: Matching) -> None:
    record = record_of(SUB_DER, Usage.DANE_TA, selector, matching)
    assert judge(GOOD.chain_der, record) == DaneVerdict(record)


def test_an_issuer_that_is_not_sent_counts_only_where_dns_holds_it_whole() -> None:
    """RFC 7672 §3.1.2"""
    digest = record_of(SUB_DER, Usage.DANE_TA, Selector.CERTIFICATE)
    whole = record_of(SUB_DER, Usage.DANE_TA, Selector.CERTIFICATE, Matching.FULL)
    assert (
        str(judge(GOOD.chain_der[:1], digest).problem)
        == "issuers are not of the TLSA records of mx.partner.example"
    )
    assert judge(GOOD.chain_der[:1], whole).record == whole


def test_a_whole_key_in_dns_anchors_what_it_signed() -> None:
    """RFC 7671 §5.2.3: the issuer itself need not be sent."""
    key = record_of(ROOT.root_der, Usage.DANE_TA, Selector.PUBLIC_KEY, Matching.FULL)
    assert judge(GOOD.chain_der, key) == DaneVerdict(key)
    direct = ROOT.issue(["mx.partner.example"])
    assert judge(direct.chain_der[:1], key) == DaneVerdict(key)
    assert "host name mismatch" in str(judge(GOOD.chain_der, key, names=["other.example"]).problem)
    assert str(judge(GOOD.chain_der, key, now=NOW + 4e8).problem) == "certificate has expired"
    assert judge(GOOD.chain_der[:1], key).record is None  # what the key signed is missing
    other = record_of(TestAuthority("Other").root_der, Usage.DANE_TA, Selector.PUBLIC_KEY, Matching.FULL)
    assert (
        str(judge(GOOD.chain_der, other).problem)
        == "issuers are not of the TLSA records of mx.partner.example"
    )
    nonsense = Tlsa(2, 1, 0, b"no key at all")
    assert judge(GOOD.chain_der, nonsense).record is None


def test_names_and_dates_matter_for_an_issuers_record() -> None:
    record = record_of(SUB_DER, Usage.DANE_TA)
    wrong = judge(GOOD.chain_der, record, names=["other.example", "partner.example"])
    assert wrong.record is None
    assert (
        str(wrong.problem)
        == "host name mismatch: other.example, partner.example not in DNS:mx.partner.example"
    )
    late = judge(GOOD.chain_der, record, now=NOW + 4e8)
    assert str(late.problem) == "certificate has expired"
    assert [one.problem and (one.problem.code, one.problem.asked_by) for one in (wrong, late)] == [
        (ReasonCode.NAME_MISMATCH, AskedBy.DANE),
        (ReasonCode.EXPIRED, AskedBy.DANE),
    ]


def test_a_stranger_is_told_from_the_records() -> None:
    stranger = TestAuthority("Stranger").intermediate().issue(["mx.partner.example"])
    both = judge(stranger.chain_der, record_of(LEAF_DER, Usage.DANE_EE), record_of(SUB_DER, Usage.DANE_TA))
    assert str(both.problem) == "certificate and issuers are not of the TLSA records of mx.partner.example"
    own = judge(stranger.chain_der, record_of(LEAF_DER, Usage.DANE_EE))
    assert str(own.problem) == "certificate is not of the TLSA records of mx.partner.example"
    assert {one.problem and one.problem.code for one in (both, own)} == {ReasonCode.DANE_MISMATCH}


def test_one_good_record_among_others_is_enough() -> None:
    other = Tlsa(3, 1, 1, b"\x00" * 32)
    good = record_of(LEAF_DER, Usage.DANE_EE)
    assert judge(GOOD.chain_der, other, good).record == good


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x03\x02\x01\x01"]])
def test_no_or_unreadable_certificates_match_nothing(chain: list[bytes]) -> None:
    verdict = judge(chain, record_of(LEAF_DER, Usage.DANE_EE))
    assert verdict.record is None
    assert verdict.problem
