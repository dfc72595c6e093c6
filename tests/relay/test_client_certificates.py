"""Clients by their certificates: every kind of certificate under both levels, and who is accepted (R22, C34).

The certificates are real, and judged by the one judge; what is tested is the decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.fakes.ca import CLIENT_AUTH, SERVER_AUTH, UNKNOWN, Issued, TestAuthority, damaged, self_signed

from gatepost.core.reasons import ReasonCode
from gatepost.core.reply import Refusal
from gatepost.core.tls import InboundTls
from gatepost.net.tls import TlsSession
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import describe, read_certificate
from gatepost.pki.judge import Judge
from gatepost.pki.revocation import NO_CRLS, Crls, SignedList
from gatepost.policy.tls_in import (
    ClientFacts,
    ClientOutcome,
    ClientRule,
    InboundTlsRule,
    KnownClient,
    judge_client,
)
from gatepost.relay.client_certificates import client_record, observe_client, verify_client

CA = TestAuthority("Partner CA")
SUB = CA.intermediate("Partner Issuing CA")
OTHER = TestAuthority("Other CA")
STRANGER = TestAuthority("Stranger")
NAME = "mx.partner.example"
PREFERRED, REQUIRED = InboundTls.PREFERRED, InboundTls.REQUIRED
ANY = ClientRule()
"""Every valid certificate will do."""


class Parts:
    """What the observation uses of services and runtime."""

    def __init__(self, crls: Crls = NO_CRLS, later: float = 0.0) -> None:
        self.judge = Judge()
        self.anchors = Anchors.from_pem(CA.root_pem, OTHER.root_pem)
        self.crls = crls
        self.described = describe
        self.clock = self
        self.later = later

    def now(self) -> float:
        return CA.at.timestamp() + self.later


def facts(issued: Issued | None, parts: Parts | None = None) -> ClientFacts:
    chain = issued.chain_der if issued is not None else ()
    parts = parts or Parts()
    return observe_client(parts, parts, chain)  # type: ignore[arg-type]


def judge(issued: Issued | None, rule: ClientRule = ANY, level: InboundTls = PREFERRED) -> ClientOutcome:
    return judge_client(level, rule, facts(issued))


def key_of(issued: Issued) -> str:
    return facts(issued).key


# --- the table --------------------------------------------------------------------------------------

WHO = f"(CN={NAME}, issuer CN=Partner CA)"
NO_USAGE = "extended key usage does not include client authentication"
KEY_USAGE = x509.KeyUsage(False, False, True, False, False, False, False, False, False)


def _issue(**choices: Any) -> Issued:
    return CA.issue([NAME], **choices)


VALID = {
    "both usages": (_issue(), NAME),
    "client only": (_issue(usages=(CLIENT_AUTH,)), NAME),
    "no extended usage": (_issue(usages=None), NAME),
    "any usage": (_issue(usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)), NAME),
    "over an intermediate": (SUB.issue([NAME]), NAME),
    "root sent too": (SUB.issue([NAME]).sending(root=True), NAME),
    "sent twice": (SUB.issue([NAME]).sending(duplicate=True), NAME),
    "in wrong order": (CA.descend(2).issue([NAME]).sending(reverse=True), NAME),
    "ten of them": (CA.descend(8).issue([NAME]), NAME),
    "name in the common name": (_issue(san=False), NAME),
    "no name at all": (CA.issue([], common_name="Ann Lee"), "Ann Lee"),
    "Ed25519": (_issue(key="ed25519"), NAME),
    "P-521": (_issue(key="p521"), NAME),
    "a CA too": (_issue(is_ca=True), NAME),
    "negative serial": (_issue(negative_serial=True), NAME),
    "a trusted root itself": (Issued(CA.certificate, CA.key), "Partner CA"),
}
INVALID = {
    "self-signed": (self_signed([NAME]), f"self-signed certificate (CN={NAME}, issuer CN={NAME})"),
    "of a stranger": (
        STRANGER.issue([NAME]),
        f"unable to get local issuer certificate (CN={NAME}, issuer CN=Stranger)",
    ),
    "missing intermediate": (
        SUB.issue([NAME]).sending(leaf_only=True),
        f"unable to get local issuer certificate (CN={NAME}, issuer CN=Partner Issuing CA)",
    ),
    "expired": (_issue(expired=True), f"certificate has expired {WHO}"),
    "not yet valid": (_issue(not_yet_valid=True), f"certificate is not yet valid {WHO}"),
    "server only": (_issue(usages=(SERVER_AUTH,)), f"{NO_USAGE} {WHO}"),
    "for code only": (
        _issue(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        f"extended key usage includes neither client nor server authentication {WHO}",
    ),
    "key usage without signatures": (
        _issue(key_usage=KEY_USAGE),
        f"key usage does not allow a TLS handshake {WHO}",
    ),
    "weak key": (_issue(key="rsa1024"), f"RSA key of 1024 bits is too short {WHO}"),
    "critical unknown extension": (
        _issue(extensions=[(UNKNOWN, True)]),
        f"unknown critical extension {WHO}",
    ),
    "outside the constraints": (
        CA.intermediate("Narrow CA", permitted=["inside.example"]).issue([NAME]),
        f"name outside the permitted subtrees of its issuer (CN={NAME}, issuer CN=Narrow CA)",
    ),
    "damaged signature": (
        replace(_issue(), leaf=damaged(_issue().leaf)),
        f"certificate signature failure {WHO}",
    ),
}


@pytest.mark.parametrize("level", [PREFERRED, REQUIRED, InboundTls.OFF])
@pytest.mark.parametrize("kind", VALID)
def test_a_valid_certificate_is_accepted_at_every_level(kind: str, level: InboundTls) -> None:
    issued, name = VALID[kind]
    outcome = judge(issued, level=level)
    assert (outcome.verified, outcome.refusal, outcome.name) == (True, None, name)
    assert outcome.verification == f"yes: {name}"


@pytest.mark.parametrize("level", [PREFERRED, REQUIRED, InboundTls.OFF])
@pytest.mark.parametrize("kind", INVALID)
def test_an_invalid_certificate_is_refused_at_every_level(kind: str, level: InboundTls) -> None:
    issued, reason = INVALID[kind]
    outcome = judge(issued, level=level)
    assert (outcome.verified, outcome.name) == (False, "")
    assert outcome.verification == f"no: {reason}"
    refusal = outcome.refusal
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (554, "5.7.5")
    assert refusal.text.startswith("Client certificate not accepted: ")
    assert NAME not in refusal.text, "whose it is stands in the log alone"
    assert refusal.cause == f"client certificate not verified: {reason}"


def test_without_a_certificate_only_required_refuses() -> None:
    """`none` is fine with preferred; with implicit TLS (level off) nothing more is asked."""
    for level in (PREFERRED, InboundTls.OFF):
        outcome = judge(None, level=level)
        assert (outcome.verification, outcome.refusal) == ("no: no certificate was sent", None)
    assert judge(None, level=REQUIRED).refusal == Refusal(
        554,
        "5.7.0",
        "A client certificate is required",
        "client certificate not verified: no certificate was sent",
        why=ReasonCode.NO_CERTIFICATE,
    )


def test_octets_that_are_no_certificate_are_an_invalid_one() -> None:
    outcome = judge_client(PREFERRED, ANY, observe_client(Parts(), Parts(), (b"\x30\x03abc",)))  # type: ignore[arg-type]
    assert outcome.refusal is not None
    assert outcome.verification.startswith("no: the certificate cannot be read")
    assert outcome.facts.key == ""
    pinned_nothing = ClientRule((KnownClient(),))
    assert judge_client(PREFERRED, pinned_nothing, outcome.facts).refusal is not None


# --- certificates for servers only ---------------------------------------------------------------------

SERVER_ONLY = ClientRule(server_only=True)


@pytest.mark.parametrize(
    "issued",
    [
        _issue(usages=(SERVER_AUTH,)),
        CA.intermediate("Web CA", usages=(SERVER_AUTH,)).issue([NAME], usages=(SERVER_AUTH,)),
        CA.intermediate("Web CA", usages=(SERVER_AUTH,)).issue([NAME]),
    ],
)
def test_server_only_certificates_are_accepted_where_a_policy_says_so(issued: Issued) -> None:
    assert judge(issued).refusal is not None
    outcome = judge(issued, SERVER_ONLY)
    assert outcome.refusal is None
    assert outcome.verification == f"yes: {NAME} (server-only certificate)"
    assert judge(_issue(), SERVER_ONLY).verification == f"yes: {NAME}", "the others are said nothing of"


@pytest.mark.parametrize(
    "issued",
    [
        _issue(usages=(SERVER_AUTH,), expired=True),
        STRANGER.issue([NAME], usages=(SERVER_AUTH,)),
        self_signed([NAME], usages=(SERVER_AUTH,)),
        _issue(usages=(SERVER_AUTH,), key_usage=KEY_USAGE),
        _issue(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        CA.intermediate("Code CA", usages=(ExtendedKeyUsageOID.CODE_SIGNING,)).issue([NAME]),
    ],
)
def test_nothing_else_is_overlooked_with_it(issued: Issued) -> None:
    assert judge(issued, SERVER_ONLY).refusal is not None


# --- identities --------------------------------------------------------------------------------------


def one(**entry: Any) -> ClientRule:
    """A policy with one entry."""
    if "name" in entry:
        return ClientRule((KnownClient.named(entry.pop("name"), **entry),))
    return ClientRule((KnownClient(**entry),))


@pytest.mark.parametrize(
    ("names", "wanted", "accepted"),
    [
        ([NAME], NAME, True),
        (["MX.Partner.Example"], NAME, True),
        (["*.partner.example"], NAME, True),
        (["*.example"], "partner.example", False),
        (["f*.partner.example"], "foo.partner.example", False),
        (["other.example"], NAME, False),
        (["other.example", NAME], NAME, True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.2"], "192.0.2.1", False),
        (["a.mx.partner.example"], NAME, False),
    ],
)
def test_names_are_matched_by_the_one_matcher(names: list[str], wanted: str, accepted: bool) -> None:
    outcome = judge(CA.issue(names), one(name=wanted, is_address=wanted[0].isdigit()))
    assert outcome.verified is accepted
    assert outcome.names == ((wanted,) if accepted else ())


def test_the_common_name_counts_only_where_there_is_no_other() -> None:
    assert judge(CA.issue([NAME], san=False), one(name=NAME)).verified
    assert not judge(CA.issue(["other.example"], common_name=NAME), one(name=NAME)).verified


def test_c34_hostile_names_match_nothing_and_break_no_line() -> None:
    for raw in (b"mx.partner.example\0.evil", b"mx.partner.example.", b"mx.partner.example\r\nICID 1 lost"):
        outcome = judge(CA.issue([NAME], raw_names=[raw], common_name=""), one(name=NAME))
        assert outcome.refusal is not None
        assert outcome.verification.isprintable()
        assert outcome.refusal.cause.isprintable()


def test_who_is_not_in_the_list_is_refused_although_valid() -> None:
    outcome = judge(CA.issue(["other.example"]), one(name=NAME))
    assert outcome.refusal is not None
    assert (outcome.refusal.code, outcome.refusal.enhanced) == (554, "5.7.5")
    assert outcome.refusal.text == "Client certificate not accepted: it is not of an accepted client"
    assert outcome.verification == (
        "no: not an accepted identity: DNS:other.example (CN=other.example, issuer CN=Partner CA)"
    )


@pytest.mark.parametrize(
    ("authority", "accepted"),
    [
        ("Partner CA", True),
        ("Partner Issuing CA", True),
        ("partner  ca", True),
        ("CN=Partner CA", True),
        ("Other CA", False),
        ("Partner", False),
        (NAME, False),
    ],
)
def test_an_authority_is_any_above_the_certificate(authority: str, accepted: bool) -> None:
    issued = SUB.issue([NAME])
    assert judge(issued, one(name=NAME, authority=authority)).verified is accepted
    by_authority = judge(issued, one(authority=authority))
    assert by_authority.verified is accepted
    assert by_authority.names == ((NAME,) if accepted else ())


def test_an_entry_must_fit_whole() -> None:
    """The right name of the wrong trusted authority, and the right authority's other client, are both refused."""
    rule = one(name=NAME, authority="Partner CA")
    assert judge(CA.issue([NAME]), rule).verified
    assert not judge(OTHER.issue([NAME]), rule).verified
    assert not judge(CA.issue(["other.example"]), rule).verified
    two = ClientRule((*rule.identities, KnownClient.named("other.example", authority="Other CA")))
    assert judge(OTHER.issue(["other.example"]), two).verified
    assert not judge(OTHER.issue([NAME]), two).verified


def test_an_authority_that_a_stranger_only_calls_itself_is_not_one() -> None:
    forged = TestAuthority("Partner CA").issue([NAME])
    assert judge(forged, one(authority="Partner CA")).refusal is not None
    sent_along = replace(STRANGER.issue([NAME]), intermediates=(CA.certificate,))
    assert judge(sent_along, one(authority="Partner CA")).refusal is not None


def test_an_identity_with_server_only() -> None:
    rule = ClientRule(one(name=NAME, authority="Partner CA").identities, server_only=True)
    assert judge(_issue(usages=(SERVER_AUTH,)), rule).verification == f"yes: {NAME} (server-only certificate)"
    assert not judge(CA.issue(["other.example"], usages=(SERVER_AUTH,)), rule).verified


@pytest.mark.parametrize("kind", [kind for kind in INVALID if kind != "damaged signature"])
def test_a_pinned_key_needs_nothing_else(kind: str) -> None:
    """The client has shown in the handshake that it has the key; who signed for it until when does not matter."""
    issued = INVALID[kind][0]
    outcome = judge(issued, one(key=key_of(issued)), REQUIRED)
    assert outcome.refusal is None
    assert outcome.verification == f"yes: spki:{key_of(issued)[:16]} (pinned key)"


def test_a_pin_is_the_key_and_not_the_certificate() -> None:
    first = self_signed([NAME])
    renewed = self_signed(["other.example"], key=first.key)
    assert judge(renewed, one(key=key_of(first))).verified
    assert not judge(self_signed([NAME]), one(key=key_of(first))).verified
    assert not judge(CA.issue([NAME]), one(key=key_of(first))).verified, "valid, and not who is expected"


def test_a_pin_beside_names() -> None:
    pinned = self_signed(["pinned.example"])
    rule = ClientRule((KnownClient(key=key_of(pinned)), KnownClient.named(NAME)))
    assert judge(pinned, rule).verified
    assert judge(CA.issue([NAME]), rule).names == (NAME,)
    assert not judge(self_signed([NAME]), rule).verified


# --- revocation ----------------------------------------------------------------------------------------


def crls(*, refuse_stale: bool = False, **choices: Any) -> Crls:
    return Crls([SignedList(CA.revocation_list(REVOKED.leaf, **choices), "")], refuse_stale=refuse_stale)


REVOKED = _issue()


def test_a_revoked_certificate_is_refused_also_where_its_key_is_pinned() -> None:
    for issued, usages in ((REVOKED, ANY), (REVOKED, one(key=key_of(REVOKED)))):
        outcome = judge_client(PREFERRED, usages, facts(issued, Parts(crls())))
        assert outcome.refusal is not None
        assert "revoked" in outcome.verification


def test_what_could_not_be_told_is_for_later() -> None:
    good, month = _issue(), 30 * 86400.0
    strict = judge_client(PREFERRED, ANY, facts(good, Parts(crls(refuse_stale=True), later=month)))
    assert strict.refusal is not None
    assert (strict.refusal.code, strict.refusal.enhanced) == (454, "4.7.5")
    lax = judge_client(PREFERRED, ANY, facts(good, Parts(crls(), later=month)))
    assert lax.refusal is None
    assert lax.verification == f"yes: {NAME} (the issuer's revocation list is out of date)"


# --- what is told --------------------------------------------------------------------------------------


def test_many_names_are_counted() -> None:
    names = [f"mx{number}.partner.example" for number in range(7)]
    assert judge(CA.issue(names)).verification == f"yes: {', '.join(names[:5])} and 2 more"


def test_the_record_says_what_to_pin() -> None:
    issued = SUB.issue([NAME])
    record = client_record(judge(issued, one(name=NAME)), issued.chain_der)
    leaf = read_certificate(issued.chain_der[0])
    assert record == {
        "verified": True,
        "names": [NAME],
        "reason": "",
        "code": "",
        "server_only": False,
        "subject": f"CN={NAME}",
        "issuer": "CN=Partner Issuing CA",
        "presented": [f"DNS:{NAME}"],
        "not_after": leaf.not_after,
        "fingerprint": leaf.fingerprint,
        "key": key_of(issued),
        "authorities": ["Partner Issuing CA", "CN=Partner Issuing CA", "Partner CA", "CN=Partner CA"],
        "chain": [read_certificate(der).fingerprint for der in issued.chain_der],
    }
    assert judge(issued, one(key=record["key"])).verified
    assert client_record(judge(None), ())["reason"] == "no certificate was sent"
    assert client_record(judge(self_signed([NAME])), ())["code"] == "self-signed"


def test_the_verdict_follows_the_clock() -> None:
    """The same session is judged anew before each MAIL: a certificate that has ended since does not count."""
    issued = _issue()
    session = TlsSession("TLSv1.3", "AES", "X25519", "", issued.chain_der)
    rule = InboundTlsRule(PREFERRED, client=ANY)
    parts = Parts()
    assert verify_client(parts, parts, rule, session).refusal is None  # type: ignore[arg-type]
    parts.later = 91 * 86400.0
    refusal = verify_client(parts, parts, rule, session).refusal  # type: ignore[arg-type]
    assert refusal is not None
    assert "expired" in refusal.text
