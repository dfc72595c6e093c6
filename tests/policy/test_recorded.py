"""What is recorded of a host comes back as the very values that the plan was made of."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.reasons import ReasonCode
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.recorded import (
    names_of,
    plain_names,
    plain_sts,
    plain_tlsa,
    sts_of,
    tlsa_of,
)
from gatepost.policy.reference_names import HopNames
from gatepost.wire.mta_sts import Mode, StsFault, StsPolicy

names = st.text("abcx-.", max_size=20)
octet = st.integers(0, 255)
records = st.builds(Tlsa, octet, octet, octet, st.binary(max_size=64))
answers = st.builds(TlsaAnswer, st.sampled_from(TlsaState), st.tuples() | st.tuples(records, records), names)
policies = st.builds(
    StsPolicy,
    st.sampled_from(Mode),
    st.integers(0, 31_557_600),
    st.lists(st.sampled_from(["mx.example.net", "*.example.net", "b.example"]), min_size=1, unique=True).map(
        tuple
    ),
)


def _through_json(plain: object) -> dict[str, object]:
    read = orjson.loads(orjson.dumps(plain))
    assert isinstance(read, dict)
    return read


@settings(max_examples=50)
@given(st.builds(HopNames, *[names] * 3, st.booleans(), st.booleans(), names, names, st.booleans()))
def test_names_come_back(hop: HopNames) -> None:
    assert names_of(_through_json(plain_names(hop))) == hop


@settings(max_examples=50)
@given(st.none() | answers)
def test_tlsa_records_come_back(answer: TlsaAnswer | None) -> None:
    assert tlsa_of(_through_json(plain_tlsa(answer))) == answer


@settings(max_examples=50)
@given(policies)
def test_policies_come_back(policy: StsPolicy) -> None:
    plain = _through_json(plain_sts("example.net", policy, "id1", None))
    assert (plain["mode"], plain["id"]) == (policy.mode.value, "id1")
    assert sts_of(plain) == ("example.net", policy)


def test_no_policy_is_another_thing_than_not_asked() -> None:
    fault = StsFault("the web server does not answer", ReasonCode.STS_FETCH_FAILED)
    plain = plain_sts("example.net", None, "", fault.reason)
    assert (plain["problem"], plain["problem_code"]) == ("the web server does not answer", "sts-fetch-failed")
    assert sts_of(plain) is None
