"""The document of a new home."""

from __future__ import annotations

import pytest
from tests.config.documents import TODAY

from gatepost.config.check import check
from gatepost.config.defaults import default_document
from gatepost.config.load import dump_yaml, load_yaml
from gatepost.core.errors import ConfigurationError


@pytest.mark.parametrize("hostname", ["localhost", "gw.example.net"])
def test_it_has_no_problems_not_even_a_warning(hostname: str) -> None:
    assert check(default_document(hostname), {"Demo"}, TODAY) == ()


def test_it_is_what_the_contract_says() -> None:
    document = default_document("gw.example.net")
    assert [(item.port, item.type, item.certificate) for item in document.listeners] == [
        (2525, "public", "Demo"),
        (2587, "private", "Demo"),
    ]
    assert {item.address for item in document.interfaces} == {"127.0.0.1"}
    assert document.destination_controls.global_.certificate == "Demo"
    assert load_yaml(dump_yaml(document)) == document


def test_a_name_that_is_none_is_the_operators_fault() -> None:
    with pytest.raises(ConfigurationError):
        default_document("not a name")
