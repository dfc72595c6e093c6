"""From a finished handshake to facts: judged only where the level verifies, with the names of the plan."""

from __future__ import annotations

import pytest
from tests.fakes.ca import Issued, TestAuthority
from tests.fakes.gateway_parts import authority

from gatepost.core.tls import NameSource, ReferenceName, TlsFacts, TlsLevel, TlsPlan, TlsStage, TlsVerdict
from gatepost.net.tls import TlsSession
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import describe
from gatepost.pki.judge import Judge
from gatepost.pki.revocation import NO_CRLS
from gatepost.policy.tls_out import judge_tls
from gatepost.relay.secure import expires, observe_session

NAME = ReferenceName("partner.example", NameSource.OPERATOR)


class Parts:
    """What `observe_session` uses of services and runtime."""

    judge = Judge()
    anchors = Anchors.from_pem(authority().root_pem)
    crls = NO_CRLS
    described = staticmethod(describe)

    class clock:
        @staticmethod
        def now() -> float:
            return authority().at.timestamp()


def observe(issued: Issued, level: TlsLevel) -> TlsFacts:
    session = TlsSession("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", "", issued.chain_der)
    plan = TlsPlan(level, "partner.example", "destination_controls.default", names=(NAME,))
    return observe_session(Parts(), Parts(), plan, session)  # type: ignore[arg-type]


def test_nothing_is_judged_where_nothing_is_checked() -> None:
    facts = observe(TestAuthority("Stranger").issue(["x.example"]), TlsLevel.REQUIRED)
    assert (facts.stage, facts.chain_judged, facts.chain_problem, facts.match) == (
        TlsStage.ESTABLISHED,
        False,
        None,
        None,
    )
    assert facts.chain[0].names == ("DNS:x.example",)


@pytest.mark.parametrize("level", [level for level in TlsLevel if level.verifies])
def test_a_good_certificate_is_matched(level: TlsLevel) -> None:
    facts = observe(authority().issue(["partner.example"]), level)
    assert facts.chain_judged
    assert facts.chain_problem is None
    assert facts.match is not None
    assert facts.match.reference is NAME


def test_a_bad_one_says_whose_and_why() -> None:
    facts = observe(TestAuthority("Stranger").issue(["partner.example"]), TlsLevel.REQUIRED_VERIFY)
    assert str(facts.chain_problem) == "unable to get local issuer certificate"
    assert (facts.chain_problem_subject, facts.chain_problem_issuer) == ("CN=partner.example", "CN=Stranger")
    assert facts.match is not None, "the name is looked at all the same"


def test_a_monitored_plan_is_looked_at_by_its_own_names() -> None:
    other = ReferenceName("mx.partner.example", NameSource.DNSSEC)
    watched = TlsPlan(TlsLevel.REQUIRED_VERIFY, "partner.example", "x", names=(other,))
    plan = TlsPlan(TlsLevel.PREFERRED, "partner.example", "y", monitored=watched)
    issued = authority().issue(["mx.partner.example"])
    session = TlsSession("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", "", issued.chain_der)
    facts = observe_session(Parts(), Parts(), plan, session)  # type: ignore[arg-type]
    assert not facts.chain_judged, "as without the entry"
    assert facts.monitored is not None
    assert facts.monitored.match is not None
    outcome = judge_tls(plan, facts)
    assert outcome.verdict is TlsVerdict.ENCRYPTED
    assert outcome.monitored is not None
    assert outcome.monitored.verdict is TlsVerdict.VERIFIED


def test_a_connection_ends_with_the_leaf() -> None:
    issued = authority().issue(["partner.example"])
    plan = TlsPlan(TlsLevel.PREFERRED, "partner.example", "")
    outcome = judge_tls(plan, observe(issued, TlsLevel.PREFERRED))
    assert expires(outcome) == issued.leaf.not_valid_after_utc.timestamp()
    assert expires(judge_tls(plan, TlsFacts(TlsStage.NOT_OFFERED))) == float("inf")
