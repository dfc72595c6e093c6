"""An export with certificates restores them all on an empty machine (R32)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, b64, new_home, pem_of
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import Exit, OperatorError


def prepared(bench: Bench) -> None:
    issued = TestAuthority("Example CA").intermediate().issue(["mx.example.net"])
    bench.call("cert.import", name="gw", file=b64(pem_of(issued)))
    bench.call("ca.import", file=b64(TestAuthority("One CA").root_pem))
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw"))


def test_an_export_has_keys_only_when_asked_and_applies_as_it_is(bench: Bench) -> None:
    prepared(bench)
    text = bench.call("config.export")["text"]
    assert "PRIVATE KEY" not in text
    assert "argon2" not in text
    before = bench.document()
    bench.apply(text)
    assert bench.document() == before


def test_a_full_export_restores_everything_elsewhere(bench: Bench, tmp_path: Path) -> None:
    prepared(bench)
    text = bench.call("config.export", certificates=True)["text"]
    assert "PRIVATE KEY" in text
    elsewhere = Bench(new_home(tmp_path / "elsewhere"))
    elsewhere.apply(text)
    assert elsewhere.document() == bench.document()
    assert elsewhere.opens("gw") == bench.opens("gw")
    assert elsewhere.call("ca.export") == bench.call("ca.export")
    one, other = (where.store.latest() for where in (bench, elsewhere))
    assert one is not None
    assert other is not None
    assert one.content.users == other.content.users
    elsewhere.store.close()


def test_what_is_there_already_is_not_sealed_again(bench: Bench) -> None:
    prepared(bench)
    before = bench.store.latest()
    bench.apply(bench.call("config.export", certificates=True)["text"])
    after = bench.store.latest()
    assert before is not None
    assert after is not None
    assert after.content == before.content


def test_an_apply_without_them_leaves_them_alone(bench: Bench) -> None:
    prepared(bench)
    bench.apply(CONTRACT_LIKE)
    assert {row["name"] for row in bench.call("cert.list")} == {"Demo", "gw"}
    assert bench.call("ca.export")["count"] == 1


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("certificates: 7", "certificates"),
        ("certificates: [{name: x}]", "certificates[0]"),
        ("certificates: [x]", "certificates[0]"),
        ("custom_authorities: [x]", "custom_authorities"),
        ("users: {admin: plain}", "users"),
    ],
)
def test_a_damaged_section_is_a_fault_beside_the_others(bench: Bench, section: str, path: str) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.apply(CONTRACT_LIKE + "systm: {}\n" + section + "\n")
    assert caught.value.code == Exit.FAULTY_CONFIGURATION
    assert {"systm", path} <= {problem.path for problem in caught.value.problems}
    assert bench.versions() == 1


def test_a_key_that_is_not_its_certificates_is_found(bench: Bench) -> None:
    prepared(bench)
    text = bench.call("config.export", certificates=True)["text"]
    demo, gw = bench.opens("Demo").decode(), bench.opens("gw").decode()
    swapped = text.replace(gw.replace("\n", "\\n"), demo.replace("\n", "\\n"))
    assert swapped != text
    with pytest.raises(OperatorError) as caught:
        bench.apply(swapped)
    assert any("does not belong" in problem.text for problem in caught.value.problems)
