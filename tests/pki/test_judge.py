"""The one judge: every bad certificate of C34 that can be made, and untidy chains that must pass."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL._util import lib  # type: ignore[attr-defined]
from tests.fakes.ca import CLIENT_AUTH, SERVER_AUTH, UNKNOWN, Issued, TestAuthority, self_signed

from gatepost.pki.judge import Anchors, ChainRefused, ChainVerdict, Code, Crls, Judge, Purpose, judge_chain

AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
NOW = AT.timestamp()
DAY = datetime.timedelta(days=1)
NAMES = ["mx.partner.example"]

ROOT = TestAuthority("Example CA", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
GOOD = SUB.issue(NAMES)
ANCHORS = Anchors.from_pem(ROOT.root_pem)


def judge(
    issued: Issued | Sequence[bytes],
    anchors: Anchors = ANCHORS,
    *,
    now: float = NOW,
    purpose: Purpose = Purpose.SERVER,
    crls: Crls | None = None,
) -> ChainVerdict:
    chain = issued.chain_der if isinstance(issued, Issued) else tuple(issued)
    verdict = (
        judge_chain(chain, anchors, now, purpose, crls) if crls else judge_chain(chain, anchors, now, purpose)
    )
    assert lib.ERR_peek_error() == 0, "an OpenSSL error is left for the next TLS read to stumble over"
    return verdict


def breaking(verdict: ChainVerdict) -> list[tuple[int, str]]:
    return [(found.depth, found.code.value) for found in verdict.findings if found.breaks]


def library_accepts(issued: Issued, roots: Sequence[x509.Certificate] = (ROOT.certificate,)) -> bool:
    """The second opinion: cryptography's own verifier."""
    from cryptography.x509 import DNSName

    builder = PolicyBuilder().store(Store(list(roots))).time(AT.replace(tzinfo=None))
    try:
        builder.build_server_verifier(DNSName(NAMES[0])).verify(issued.leaf, list(issued.intermediates))
    except VerificationError:
        return False
    return True


def test_a_good_chain_gives_its_path() -> None:
    verdict = judge(GOOD)
    assert verdict.findings == ()
    assert verdict.ok
    assert verdict.require() == (*GOOD.chain_der, ROOT.root_der)
    assert [certificate.subject for certificate in verdict.presented] == [
        "CN=mx.partner.example",
        "CN=Example Sub CA",
    ]
    assert verdict.names.dns == ("mx.partner.example",)
    assert library_accepts(GOOD)


OTHER_ROOT = TestAuthority("Other CA", at=AT)
STRANGER = OTHER_ROOT.intermediate("Stranger")


@pytest.mark.parametrize(
    "issued",
    [
        pytest.param(GOOD.sending(root=True), id="root sent"),
        pytest.param(GOOD.sending(duplicate=True), id="duplicates"),
        pytest.param(GOOD.sending(root=True, reverse=True), id="wrong order"),
        pytest.param(GOOD.sending(extra=[STRANGER.certificate, OTHER_ROOT.certificate]), id="strangers"),
        pytest.param(
            GOOD.sending(extra=[TestAuthority(f"Stranger {n}", at=AT).certificate for n in range(20)]),
            id="many strangers",
        ),
        pytest.param(ROOT.issue(NAMES), id="no intermediate needed"),
        pytest.param(SUB.issue(NAMES, key="ed25519"), id="ed25519"),
        pytest.param(SUB.issue(NAMES, key="rsa2048"), id="rsa"),
        pytest.param(SUB.issue(NAMES, key="p521"), id="p521"),
        pytest.param(SUB.issue(NAMES, usages=None), id="no extended key usage"),
        pytest.param(SUB.issue(NAMES, is_ca=None), id="no basic constraints"),
        pytest.param(SUB.issue(NAMES, end=AT.replace(year=2060)), id="year 2060"),
        pytest.param(SUB.issue([*NAMES, *(f"n{n}.example" for n in range(1000))]), id="a thousand names"),
        pytest.param(SUB.issue(NAMES, extensions=[(UNKNOWN, False)]), id="unknown extension, not critical"),
    ],
)
def test_chains_that_must_pass(issued: Issued) -> None:
    verdict = judge(issued)
    assert breaking(verdict) == []
    assert verdict.require()[-1] == ROOT.root_der
    assert library_accepts(issued)


@pytest.mark.parametrize(
    "issued",
    [
        pytest.param(ROOT.descend(9).issue(NAMES), id="ten certificates"),
        pytest.param(SUB.issue(NAMES, usages=(x509.ObjectIdentifier("2.5.29.37.0"),)), id="any usage"),
    ],
)
def test_chains_that_pass_though_the_library_is_stricter(issued: Issued) -> None:
    assert judge(issued).require()[-1] == ROOT.root_der
    assert not library_accepts(issued)


def weak_root(hash_name: str) -> tuple[Issued, Anchors]:
    authority = TestAuthority("RSA CA", at=AT, key="rsa2048")
    return authority.issue(NAMES, hash_name=hash_name), Anchors.from_pem(authority.root_pem)


SHORT = TestAuthority("Short RSA CA", at=AT, key="rsa1024")
PATHLEN = TestAuthority("Pathlen CA", at=AT, path_length=0)
CONSTRAINED = ROOT.intermediate("Constrained", permitted=["other.example"])
EXCLUDED = ROOT.intermediate("Excluded", excluded=["partner.example"])
CLIENT_ONLY = ROOT.intermediate("Client only", usages=[CLIENT_AUTH])
NO_CA = ROOT.intermediate("No CA", is_ca=False)


@pytest.mark.parametrize(
    ("issued", "anchors", "expected"),
    [
        pytest.param(self_signed(NAMES, at=AT), ANCHORS, [(0, "self-signed")], id="self-signed"),
        pytest.param(SUB.issue(NAMES, expired=True), ANCHORS, [(0, "expired")], id="expired"),
        pytest.param(
            SUB.issue(NAMES, not_yet_valid=True), ANCHORS, [(0, "not-yet-valid")], id="not yet valid"
        ),
        pytest.param(
            ROOT.intermediate("Old", end=AT - DAY).issue(NAMES), ANCHORS, [(1, "expired")], id="expired above"
        ),
        pytest.param(
            GOOD.sending(leaf_only=True), ANCHORS, [(0, "missing-intermediate")], id="intermediate missing"
        ),
        pytest.param(GOOD, Anchors(), [(1, "untrusted-root")], id="unknown root"),
        pytest.param(GOOD.sending(root=True), Anchors(), [(2, "untrusted-root")], id="unknown root, sent"),
        pytest.param(
            SUB.issue(NAMES, usages=(CLIENT_AUTH,)), ANCHORS, [(0, "wrong-usage")], id="client only"
        ),
        pytest.param(CLIENT_ONLY.issue(NAMES), ANCHORS, [(1, "wrong-usage")], id="issuer for clients only"),
        pytest.param(
            SUB.issue(NAMES, extensions=[(UNKNOWN, True)]),
            ANCHORS,
            [(0, "unknown-critical-extension")],
            id="unknown",
        ),
        pytest.param(SUB.issue(NAMES, key="rsa1024"), ANCHORS, [(0, "weak-key")], id="rsa 1024"),
        pytest.param(SUB.issue(NAMES, key="p224"), ANCHORS, [(0, "weak-key")], id="p224"),
        pytest.param(
            SHORT.issue(NAMES), Anchors.from_pem(SHORT.root_pem), [(1, "weak-key")], id="root with rsa 1024"
        ),
        pytest.param(*weak_root("sha1"), [(0, "weak-hash")], id="sha1"),
        pytest.param(*weak_root("md5"), [(0, "weak-hash")], id="md5"),
        pytest.param(CONSTRAINED.issue(NAMES), ANCHORS, [(0, "name-constraints")], id="outside permitted"),
        pytest.param(EXCLUDED.issue(NAMES), ANCHORS, [(0, "name-constraints")], id="inside excluded"),
        pytest.param(
            PATHLEN.intermediate("Too deep").issue(NAMES),
            Anchors.from_pem(PATHLEN.root_pem),
            [(2, "path-length")],
            id="path length",
        ),
    ],
)
def test_chains_that_must_not_pass(issued: Issued, anchors: Anchors, expected: list[tuple[int, str]]) -> None:
    verdict = judge(issued, anchors)
    assert breaking(verdict) == expected
    assert not verdict.ok
    with pytest.raises(ChainRefused):
        verdict.require()
    if len(anchors) == 1 and expected != [(0, "weak-key")]:  # the library does not size the host's own key
        assert not library_accepts(issued, [anchors.certificates[0].parsed])


def test_a_host_certificate_does_not_sign_others() -> None:
    verdict = judge(NO_CA.issue(NAMES))
    assert "not-a-ca" in [code for _, code in breaking(verdict)] or "missing-intermediate" in [
        code for _, code in breaking(verdict)
    ]
    assert not verdict.ok


def test_everything_wrong_is_told_at_once() -> None:
    verdict = judge(SUB.issue(NAMES, expired=True, key="rsa1024", usages=(CLIENT_AUTH,)), Anchors())
    assert set(breaking(verdict)) == {
        (0, "expired"),
        (0, "weak-key"),
        (0, "wrong-usage"),
        (1, "untrusted-root"),
    }


@pytest.mark.parametrize(
    ("issued", "text"),
    [
        (SUB.issue(NAMES, expired=True), "certificate has expired"),
        (SUB.issue(NAMES, not_yet_valid=True), "certificate is not yet valid"),
        (self_signed(NAMES, at=AT), "self-signed certificate"),
        (GOOD.sending(leaf_only=True), "unable to get local issuer certificate"),
        (self_signed(NAMES, at=AT, expired=True), "self-signed certificate"),
    ],
)
def test_the_first_finding_has_the_words_of_the_log(issued: Issued, text: str) -> None:
    worst = judge(issued).worst
    assert worst is not None
    assert (worst.text, worst.subject) == (text, "CN=mx.partner.example")


def test_a_self_signed_certificate_that_is_trusted_itself_passes() -> None:
    issued = self_signed(NAMES, at=AT)
    verdict = judge(issued, Anchors.from_pem(issued.leaf_pem))
    assert verdict.require() == issued.chain_der


def test_a_host_certificate_that_says_ca_is_noted_and_passes() -> None:
    verdict = judge(SUB.issue(NAMES, is_ca=True))
    assert [(found.code, found.breaks) for found in verdict.findings] == [(Code.CA_AS_HOST, False)]
    assert verdict.ok


def test_purpose_client() -> None:
    client, server = SUB.issue(NAMES, usages=(CLIENT_AUTH,)), SUB.issue(NAMES, usages=(SERVER_AUTH,))
    assert judge(client, purpose=Purpose.CLIENT).ok
    assert breaking(judge(server, purpose=Purpose.CLIENT)) == [(0, "wrong-usage")]


@pytest.mark.parametrize("stale_first", [True, False])
def test_a_stale_intermediate_beside_the_fresh_one_does_not_fail(stale_first: bool) -> None:
    stale = ROOT.intermediate("Example Sub CA", key=SUB.key, end=AT - DAY).certificate
    behind = (stale, SUB.certificate) if stale_first else (SUB.certificate, stale)
    chain = [c.public_bytes(Encoding.DER) for c in (GOOD.leaf, *behind)]
    assert judge(chain).ok


@pytest.mark.parametrize("wrong_first", [True, False])
def test_two_keys_of_one_name_without_key_identifiers(wrong_first: bool) -> None:
    """OpenSSL takes the first certificate with the issuer's name and fails on its signature."""
    right = ROOT.intermediate("Twin", key_identifiers=False)
    wrong = ROOT.intermediate("Twin", key_identifiers=False)
    leaf = right.issue(NAMES).leaf
    behind = (wrong.certificate, right.certificate) if wrong_first else (right.certificate, wrong.certificate)
    assert judge([c.public_bytes(Encoding.DER) for c in (leaf, *behind)]).ok


def test_two_roots_of_one_name_without_key_identifiers() -> None:
    twins = [TestAuthority("Twin Root", at=AT, key_identifiers=False) for _ in range(2)]
    anchors = Anchors.from_pem(*(twin.root_pem for twin in twins))
    for twin in twins:
        assert judge(twin.issue(NAMES), anchors).ok


def test_a_forged_signature_is_found_and_leaves_nothing_behind() -> None:
    impostor = TestAuthority("Example CA", at=AT, key_identifiers=False)
    verdict = judge(impostor.issue(NAMES))
    assert breaking(verdict)[0] == (0, "bad-signature")
    assert judge(GOOD).ok


def test_loops_of_cross_signs_end() -> None:
    a, b = TestAuthority("Loop A", at=AT), TestAuthority("Loop B", at=AT)
    leaf = a.issue(NAMES).leaf
    loop = (leaf, b.cross_sign(a), a.cross_sign(b))
    verdict = judge([c.public_bytes(Encoding.DER) for c in loop])
    assert not verdict.ok
    assert judge([c.public_bytes(Encoding.DER) for c in loop], Anchors.from_pem(b.root_pem)).ok


def test_many_certificates_of_one_name_cost_a_bounded_time() -> None:
    twins = [ROOT.intermediate("Twin", key_identifiers=False) for _ in range(30)]
    leaf = twins[-1].issue(NAMES).leaf
    chain = [c.public_bytes(Encoding.DER) for c in (leaf, *(twin.certificate for twin in twins))]
    started = time.process_time()
    verdict = judge(chain)
    assert time.process_time() - started < 0.2
    assert (0, "too-long") in breaking(verdict)


def test_a_chain_of_more_than_ten_certificates_is_not_followed() -> None:
    verdict = judge(ROOT.descend(10).issue(NAMES))
    assert (0, "too-long") in breaking(verdict)


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x03\x02\x01\x01"], [b"\x00" * 300_000]])
def test_no_or_unreadable_certificates(chain: list[bytes]) -> None:
    verdict = judge(chain)
    assert breaking(verdict) == [(0, "malformed" if chain else "no-certificate")]
    with pytest.raises(ChainRefused):
        verdict.require()


def test_an_unreadable_certificate_behind_the_first_is_only_noted() -> None:
    verdict = judge([GOOD.chain_der[0], b"garbage", GOOD.chain_der[1]])
    assert verdict.ok
    assert [(found.depth, found.code) for found in verdict.findings] == [(1, Code.MALFORMED)]


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000))
def test_damaged_bytes_never_raise_and_never_verify(position: int, value: int, cut: int) -> None:
    leaf = bytearray(GOOD.chain_der[0])
    index = position % len(leaf)
    changed = leaf[index] != value
    leaf[index] = value
    verdict = judge([bytes(leaf), *GOOD.chain_der[1:]])
    assert verdict.ok is not changed
    assert not judge([bytes(leaf[: cut % len(leaf)]), *GOOD.chain_der[1:]]).ok


@pytest.mark.parametrize("seconds", [-91 * 86400, 91 * 86400, 0, 4e12, -1e9])
def test_time_is_the_argument_and_not_the_clock(seconds: float) -> None:
    for _ in range(2):
        assert judge(GOOD, now=NOW + seconds).ok is (seconds == 0)


def test_revocation() -> None:
    crls = Crls([SUB.revocation_list(GOOD.leaf)])
    assert breaking(judge(GOOD, crls=crls)) == [(0, "revoked")]
    assert judge(SUB.issue(NAMES), crls=crls).ok
    above = Crls([ROOT.revocation_list(SUB.certificate)])
    assert breaking(judge(GOOD, crls=above)) == [(1, "revoked")]


def test_lists_that_do_not_count() -> None:
    impostor = TestAuthority("Example Sub CA", at=AT)
    assert judge(GOOD, crls=Crls([impostor.revocation_list(GOOD.leaf)])).ok
    garbage = Crls([b"garbage"])
    assert len(garbage.problems) == 1
    assert judge(GOOD, crls=garbage).ok
    stale = judge(GOOD, crls=Crls([SUB.revocation_list(end=AT - DAY)]))
    assert stale.ok
    assert [found.code for found in stale.findings] == [Code.CRL_STALE]


def test_one_broken_root_does_not_stop_the_others() -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    anchors = Anchors.from_pem(b"text\r\n" + broken + ROOT.root_pem.replace(b"\n", b"\r\n"), ROOT.root_pem)
    assert len(anchors) == 1
    assert len(anchors.problems) == 1
    assert anchors.version == ANCHORS.version
    assert judge(GOOD, anchors).ok


def test_anchors_of_another_content_have_another_version() -> None:
    both = Anchors.from_pem(ROOT.root_pem, OTHER_ROOT.root_pem)
    assert both.version == Anchors.from_pem(OTHER_ROOT.root_pem + ROOT.root_pem).version
    assert len({both.version, ANCHORS.version, Anchors().version}) == 3


def test_an_intermediate_in_the_list_is_no_root() -> None:
    """Partial chains are off: a trusted list holds roots."""
    anchors = Anchors.from_der([SUB.certificate.public_bytes(Encoding.DER)])
    assert not judge(GOOD, anchors).ok
    helped = Anchors.from_der([SUB.certificate.public_bytes(Encoding.DER), ROOT.root_der])
    assert judge(GOOD.sending(leaf_only=True), helped).ok


class TestMemory:
    def test_the_same_question_gets_the_same_answer_object(self) -> None:
        memory = Judge()
        first = memory.judge_chain(GOOD.chain_der, ANCHORS, NOW, Purpose.SERVER)
        assert memory.judge_chain(list(GOOD.chain_der), ANCHORS, NOW + 60, Purpose.SERVER) is first
        assert memory.judge_chain(GOOD.chain_der, ANCHORS, NOW + 7200, Purpose.SERVER) is not first
        assert (memory.cache_state().hits, memory.cache_state().misses) == (1, 2)

    def test_a_date_in_the_chain_ends_a_verdict(self) -> None:
        memory = Judge()
        end = AT + datetime.timedelta(minutes=5)
        chain = SUB.issue(NAMES, end=end).chain_der
        assert memory.judge_chain(chain, ANCHORS, NOW, Purpose.SERVER).ok
        assert not memory.judge_chain(chain, ANCHORS, end.timestamp() + 1, Purpose.SERVER).ok
        assert memory.judge_chain(chain, ANCHORS, NOW, Purpose.SERVER).ok

    def test_roots_purpose_and_lists_are_part_of_the_question(self) -> None:
        memory = Judge()
        chain = SUB.issue(NAMES, usages=(SERVER_AUTH,)).chain_der
        assert memory.judge_chain(chain, ANCHORS, NOW, Purpose.SERVER).ok
        assert not memory.judge_chain(chain, Anchors(), NOW, Purpose.SERVER).ok
        assert not memory.judge_chain(chain, ANCHORS, NOW, Purpose.CLIENT).ok
        revoked = Crls([SUB.revocation_list(x509.load_der_x509_certificate(chain[0]))])
        assert not memory.judge_chain(chain, ANCHORS, NOW, Purpose.SERVER, revoked).ok

    def test_the_border_between_certificates_is_part_of_the_question(self) -> None:
        memory = Judge()
        whole = b"".join(GOOD.chain_der)
        assert memory.judge_chain(GOOD.chain_der, ANCHORS, NOW, Purpose.SERVER).ok
        assert not memory.judge_chain([whole], ANCHORS, NOW, Purpose.SERVER).ok

    def test_it_forgets_the_oldest(self) -> None:
        memory = Judge(capacity=2)
        chains = [SUB.issue([f"n{n}.example"]).chain_der for n in range(3)]
        verdicts = [memory.judge_chain(chain, ANCHORS, NOW, Purpose.SERVER) for chain in chains]
        assert len(memory) == 2
        assert memory.judge_chain(chains[2], ANCHORS, NOW, Purpose.SERVER) is verdicts[2]
        assert memory.judge_chain(chains[0], ANCHORS, NOW, Purpose.SERVER) is not verdicts[0]
