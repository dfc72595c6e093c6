"""Warnings of names that a listener's certificates do not carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, new_home, pem_of
from tests.fakes.ca import TestAuthority

AUTHORITY = TestAuthority("Example CA")
SNI = """    certificate: Demo
    sni:
      - {name: MX2.example.net, certificate: two}
      - {name: "*.example.org", certificate: two}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(new_home(tmp_path / "home"))


def said(problems: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["path"], one["severity"]) for one in problems if ".sni[" in one["path"]]


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["mx2.example.net", "*.example.org"], []),
        (["mx2.example.net", "a.example.org"], ["listeners[0].sni[1].certificate"]),
        (["*.example.org"], ["listeners[0].sni[0].certificate"]),
    ],
)
def test_a_name_that_the_certificate_does_not_carry_is_warned_about(
    bench: Bench, names: list[str], warned: list[str]
) -> None:
    bench.call("cert.import", name="two", file=b64(pem_of(AUTHORITY.issue(names))))
    text = CONTRACT_LIKE.replace("    certificate: Demo\n", SNI)
    expected = [(path, "warning") for path in warned]
    assert said(bench.call("config.check", text=b64(text))["problems"]) == expected
    assert said(bench.apply(text)["warnings"]) == expected
    bench.start()
    assert said(bench.call("status")["warnings"]) == expected


def test_both_certificates_of_a_profile_have_to_carry_it(bench: Bench) -> None:
    bench.call(
        "cert.import", name="two", file=b64(pem_of(AUTHORITY.issue(["mx2.example.net", "*.example.org"])))
    )
    beside = AUTHORITY.issue(["mx2.example.net"], key="rsa2048")
    bench.call("cert.import", name="two", file=b64(pem_of(beside)), beside=True)
    found = bench.apply(CONTRACT_LIKE.replace("    certificate: Demo\n", SNI))["warnings"]
    assert said(found) == [("listeners[0].sni[1].certificate", "warning")]
