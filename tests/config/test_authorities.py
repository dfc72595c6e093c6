"""The section certificate_authorities: where revocation lists come from, in both written forms."""

from __future__ import annotations

from datetime import date

import pytest

from gatepost.config.authorities import StaleRule
from gatepost.config.check import check
from gatepost.config.diff import diff
from gatepost.config.load import dump_yaml, load_yaml, to_plain
from gatepost.config.model import Document
from gatepost.core.errors import ConfigurationError

ONE, TWO = "http://crl.example/one.crl", "https://crl.example/two.crl"


def section(text: str) -> Document:
    return load_yaml(f"certificate_authorities: {text}")


def test_a_url_alone_and_a_section_are_both_taken_and_written_back_as_they_were() -> None:
    document = section(
        f"{{crl: [{ONE}, {{url: {TWO}, name: Two, secondary: {ONE}, every: 1h}}], crl_stale: refuse}}"
    )
    one, two = document.certificate_authorities.crl
    assert (one.url, one.title, one.secondary, one.every) == (ONE, ONE, None, 86_400)
    assert (two.url, two.title, two.secondary, two.every) == (TWO, "Two", ONE, 3_600)
    assert document.certificate_authorities.crl_stale is StaleRule.REFUSE
    assert to_plain(document)["certificate_authorities"]["crl"][0] == ONE
    for complete in (False, True):
        assert load_yaml(dump_yaml(document, complete=complete)) == document


def test_the_defaults_fetch_nothing_and_warn() -> None:
    found = section("{system: true, custom: false, crl: []}").certificate_authorities
    assert (found.crl, found.crl_stale) == ((), StaleRule.WARN)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("[5]", "crl[0]", "is not a mapping"),
        ("[list.crl]", "crl[0]", "is not an http or https URL"),
        ("['ldap://crl.example/a']", "crl[0]", "is not an http or https URL"),
        ("['http://user:word@crl.example/a']", "crl[0]", "has a user"),
        ("['http://crl.example/a b']", "crl[0]", "is not a URL"),
        ("['http://crl.example:0/a']", "crl[0]", "is not a URL"),
        ("['http:///a']", "crl[0]", "is not a URL"),
        ("[{name: x}]", "crl[0].url", "is missing"),
        ("[{url: file}]", "crl[0].url", "is not an http or https URL"),
        (f"[{{url: '{ONE}', every: 10s}}]", "crl[0].every", "is too often"),
        (f"[{{url: '{ONE}', nam: x}}]", "crl[0].nam", "unknown key"),
        (f"[{', '.join(f'http://crl.example/{number}' for number in range(101))}]", "crl", "more than 100"),
    ],
)
def test_what_is_no_source(text: str, path: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        section(f"{{crl: {text}}}")
    (problem,) = caught.value.problems
    assert problem.path == f"certificate_authorities.{path}"
    assert words in problem.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (f"[{ONE}, {ONE}]", "crl[1].url"),
        (f"[{ONE}, {{url: {TWO}, name: '{ONE}'}}]", "crl[1].name"),
        (f"[{{url: {ONE}, name: a}}, {{url: {TWO}, name: a}}]", "crl[1].name"),
    ],
)
def test_two_sources_of_one_name(text: str, path: str) -> None:
    document = section(f"{{crl: {text}}}")
    faults = [found.path for found in check(document, {"Demo"}, date(2027, 1, 1)) if not found.warning]
    assert faults == [f"certificate_authorities.{path}"]


def test_sources_are_compared_by_their_url() -> None:
    before = section(f"{{crl: [{{url: {ONE}, every: 1h}}, {{url: {TWO}, every: 2h}}]}}")
    after = section(f"{{crl: [{{url: {TWO}, every: 3h}}, {{url: {ONE}, every: 1h}}]}}")
    paths = [change.path for change in diff(before, after)]
    assert f"certificate_authorities.crl[{TWO}].every" in paths
    assert not any(ONE in path for path in paths)
