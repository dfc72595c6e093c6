"""One wrong value is one fault, at its place, whichever key of the configuration it is.

`data/whole.yaml` sets every key. Each of its values is made wrong, one at a time: what was wrong must be said, and nothing of
places that are as they were.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.config.documents import TODAY, listener, small

from gatepost.config.examine import Examination, examine
from gatepost.config.faults import Loc, inner_type
from gatepost.config.load import load_plain
from gatepost.config.locations import shown_path
from gatepost.config.model import Document
from gatepost.config.yaml_text import read_yaml
from gatepost.core.errors import ConfigurationError

WHOLE: Any = read_yaml((Path(__file__).parent / "data" / "whole.yaml").read_bytes())
CERTIFICATES = {"Demo"}  # gw is issued
MADE = {"Demo", "gw"}
EXCLUSIVE = {
    "acme.dns.hook",
    "listeners.policies.client_identities.spki",
    "mail_flow_policies.client_identities.authority",
    "mail_flow_policies.client_identities.name",
    "public_web.address",
}
"""Keys that stand in place of others in the whole document."""


def places(value: Any, loc: Loc = ()) -> Iterator[Loc]:
    """Every position of a plain value, the whole itself left out."""
    if loc:
        yield loc
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from places(item, (*loc, step))


def with_value(loc: Loc, value: object) -> Any:
    changed = copy.deepcopy(WHOLE)
    at = changed
    for step in loc[:-1]:
        at = at[step]
    at[loc[-1]] = value
    return changed


def fields(model: type[BaseModel], way: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{way}{field.alias or name}"
        yield path
        if (inner := inner_type(field.annotation, BaseModel)) is not None:
            yield from fields(inner, f"{path}.")


def test_the_whole_document_has_no_fault_and_sets_every_key() -> None:
    examination = examine(WHOLE, CERTIFICATES, TODAY)
    assert examination.faults == ()
    written = {".".join(step for step in loc if isinstance(step, str)) for loc in places(WHOLE)}
    assert set(fields(Document)) - written == EXCLUSIVE


def wrong_once(wrong: object) -> Iterator[str]:
    """What is said beside, or instead of, the one fault of a value that no key takes."""
    before = examine(WHOLE, CERTIFICATES, TODAY)
    for loc in places(WHOLE):
        changed = with_value(loc, wrong)
        examination = examine(changed, CERTIFICATES, TODAY)
        if examination.document is not None:
            continue  # this key takes it
        path = shown_path(loc, changed)
        inside = [one.path for one in examination.faults if one.path.startswith(path)]
        others = [
            one for one in examination.problems if one.path not in inside and one not in before.problems
        ]
        if len(inside) != 1 or others:
            yield f"{path}: {[one.line() for one in examination.problems if one not in before.problems]}"


def test_a_value_that_nothing_takes_is_one_fault_at_every_key() -> None:
    assert list(wrong_once("\n")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", ["maybe", "", True, -1, 10**12, 1.5, [5], [None], ["\n"], [[]]], ids=lambda value: repr(value)
)
def test_other_wrong_values_are_one_fault_too(wrong: object) -> None:
    assert list(wrong_once(wrong)) == []


# --- the cases one by one ----------------------------------------------------------------------


def lines(examination: Examination) -> list[str]:
    return [problem.line() for problem in examination.problems]


def test_a_list_is_not_empty_because_its_one_entry_is_wrong() -> None:
    data = small(smtp_auth={"mechanisms": ["CRAM-MD5"]})
    wanted = ['smtp_auth.mechanisms[0]: "CRAM-MD5" is not one of PLAIN, LOGIN, SCRAM-SHA-256']
    assert lines(examine(data, MADE, TODAY)) == wanted
    with pytest.raises(ConfigurationError) as caught:
        load_plain(data)
    assert [problem.line() for problem in caught.value.problems] == wanted
    empty = examine(small(smtp_auth={"mechanisms": []}), MADE, TODAY)
    assert lines(empty) == ["smtp_auth.mechanisms: is empty (at least one entry is wanted)"]


def test_an_entry_whose_monitor_cannot_be_read_may_be_the_monitored_one() -> None:
    entries = [{"domain": "a.example"}, {"domain": "a.example", "tls": "required", "monitor": "maybe"}]
    examination = examine(small(destination_controls={"destinations": entries}), MADE, TODAY)
    assert [one.path for one in examination.problems] == ["destination_controls.destinations[1].monitor"]


def test_a_policy_whose_tls_cannot_be_read_is_not_one_without_tls() -> None:
    policies = [{"name": "ACCEPTED", "action": "accept", "tls": "requird", "smtp_auth": "required"}]
    examination = examine(small(mail_flow_policies=policies), MADE, TODAY)
    assert [one.path for one in examination.problems] == ["mail_flow_policies[0].tls"]


def test_what_is_wrong_whatever_was_meant_is_said_beside_it() -> None:
    routes = [{"domain": "a.example", "hosts": ["usedns"]}] * 2
    data = small(smtp_routes=routes, listeners=[listener(delay_rejection="maybe", certificate="none")])
    assert [one.path for one in examine(data, MADE, TODAY).faults] == [
        "listeners[0].delay_rejection",
        "listeners[0].certificate",
        "smtp_routes[1].domain",
    ]


def test_a_name_that_cannot_be_read_may_be_any_name() -> None:
    lists = [{"name": 5, "addresses": []}]
    policies = [{"name": "ACCEPTED", "action": "accept", "tls": "preferred", "tls_mandatory_for": "l"}]
    data = small(address_lists=lists, mail_flow_policies=policies)
    assert [one.path for one in examine(data, MADE, TODAY).faults] == ["address_lists[0].name"]
