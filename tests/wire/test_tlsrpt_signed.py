"""What a report's mail brings to prove whom it is from."""

from __future__ import annotations

import json

import pytest
from tests.fakes.dkim_signer import Key, signed
from tests.wire.test_tlsrpt_received import mail

from gatepost.pki.dkim import signing
from gatepost.wire.dkim import Algorithm, Signer, sign_message
from gatepost.wire.dkim_verify import DkimResult, KeyAnswer, judge
from gatepost.wire.tlsrpt_mail import SIGNED_FIELDS, ReportMail, make_report_mail
from gatepost.wire.tlsrpt_received import find_report
from gatepost.wire.tlsrpt_signed import SignedMail, read_signed_mail, signed_mail

NOW = 1_800_000_000.0
SUBMITTER = "TLS-Report-Submitter: Reports.Partner.Example\r\n"


def test_a_signed_report_brings_its_claims_and_the_domains_that_it_names() -> None:
    found = signed_mail(signed(mail(more=SUBMITTER), Key.ed25519()), NOW)
    assert (found.author, found.submitters, found.problem) == (
        "partner.example",
        ("reports.partner.example",),
        "",
    )
    (claim,) = found.claims
    assert claim.key_name == "s1._domainkey.partner.example"
    assert read_signed_mail(json.loads(json.dumps(found.plain()))) == found


@pytest.mark.parametrize(
    ("more", "submitters"),
    [
        ("", ()),
        ("TLS-Report-Submitter: Partner Ltd\r\n", ()),
        (SUBMITTER + "TLS-Report-Submitter : evil.example\r\n", ("reports.partner.example", "evil.example")),
        (SUBMITTER * 2, ("reports.partner.example",)),
    ],
)
def test_a_company_is_no_domain_and_every_field_counts(more: str, submitters: tuple[str, ...]) -> None:
    assert signed_mail(mail(more=more), NOW) == SignedMail((), "partner.example", submitters)


def test_our_own_reports_are_such_as_we_take() -> None:
    key = Key.ed25519()
    signer = Signer("partner.example", "s1", Algorithm.ED25519_SHA256, signing(key.private))
    made = ReportMail(
        find_report(mail()).report,
        "example.net",
        "partner.example",
        "tls@partner.example",
        "r@example.net",
        "u1",
        NOW,
    )
    found = signed_mail(sign_message(make_report_mail(made), [signer], SIGNED_FIELDS, NOW), NOW)
    (claim,) = found.claims
    assert judge(claim, KeyAnswer((key.record("s=tlsrpt; "),))).result is DkimResult.PASS
    assert (found.author, found.submitters) == ("partner.example", ("partner.example",))


def test_a_message_on_which_nothing_can_be_checked_says_why() -> None:
    found = signed_mail(signed(mail(), Key.ed25519()) + b"one line\n", NOW)
    assert found == SignedMail(problem="its lines do not all end in CR LF")
