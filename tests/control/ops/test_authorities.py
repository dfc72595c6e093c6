"""ca.*: both lists, import, export, switches."""

from __future__ import annotations

import pytest
from tests.control.kit import Bench, b64
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import OperatorError


def lists(bench: Bench) -> dict[str, tuple[bool, int]]:
    return {row["name"]: (row["enabled"], row["count"]) for row in bench.call("ca.list")["lists"]}


def test_an_import_adds_and_does_not_switch_on(bench: Bench) -> None:
    one, two = TestAuthority("One CA"), TestAuthority("Two CA")
    answer = bench.call("ca.import", file=b64(one.root_pem))
    assert (answer["added"], answer["total"], answer["enabled"]) == (1, 1, False)
    answer = bench.call("ca.import", file=b64(one.root_pem + two.root_pem))
    assert (answer["added"], answer["total"]) == (1, 2)
    assert lists(bench)["custom"] == (False, 2)
    names = [row["name"] for row in bench.call("ca.list")["authorities"] if row["list"] == "custom"]
    assert names == ["One CA", "Two CA"]


def test_replacing_forgets_the_old_list_and_a_rollback_brings_it_back(bench: Bench) -> None:
    one, two = TestAuthority("One CA"), TestAuthority("Two CA")
    bench.call("ca.import", file=b64(one.root_pem))
    bench.call("ca.import", file=b64(two.root_pem), replace=True)
    assert bench.call("ca.export")["pem"].encode() == two.root_pem
    bench.call("config.rollback", version=2)
    assert bench.call("ca.export")["pem"].encode() == one.root_pem


def test_what_is_there_already_makes_no_version(bench: Bench) -> None:
    one = b64(TestAuthority("One CA").root_pem)
    bench.call("ca.import", file=one)
    answer = bench.call("ca.import", file=one)
    assert answer["unchanged"]
    assert bench.versions() == answer["version"] == 2


def test_a_damaged_root_is_named_and_does_not_keep_the_others_out(bench: Bench) -> None:
    good = TestAuthority("Good CA").root_pem
    bad = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    answer = bench.call("ca.import", file=b64(bad + good))
    assert answer["added"] == 1
    assert any("certificate 1" in warning["text"] for warning in answer["warnings"])


@pytest.mark.parametrize("data", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_a_file_without_certificates_is_refused(bench: Bench, data: bytes) -> None:
    with pytest.raises(OperatorError):
        bench.call("ca.import", file=b64(data))
    assert bench.versions() == 1


def test_a_host_certificate_is_taken_with_a_warning_and_its_key_left_out(bench: Bench) -> None:
    issued = TestAuthority("Example CA").issue(["mx.example"])
    answer = bench.call("ca.import", file=b64(issued.leaf_pem + issued.key_pem))
    texts = [warning["text"] for warning in answer["warnings"]]
    assert any("not an authority" in text for text in texts)
    assert any("private key" in text for text in texts)
    assert "PRIVATE KEY" not in bench.call("ca.export")["pem"]


def test_the_lists_are_switched_in_the_document(bench: Bench) -> None:
    gateway = bench.start()
    answer = bench.call("ca.switch", list="custom", enabled=True)
    assert "empty" in answer["warnings"][0]["text"]
    bench.call("ca.import", file=b64(TestAuthority("One CA").root_pem))
    bench.call("ca.switch", list="system", enabled=False)
    assert bench.document()["certificate_authorities"] == {"custom": True, "system": False}
    assert gateway.active["authorities"]["system"] is False
    assert "BEGIN CERTIFICATE" in gateway.active["authorities"]["custom_pem"]
    assert bench.call("ca.switch", list="system", enabled=False)["unchanged"]


def test_an_empty_list_is_not_exported_and_a_third_one_does_not_exist(bench: Bench) -> None:
    with pytest.raises(OperatorError, match="empty"):
        bench.call("ca.export")
    with pytest.raises(OperatorError, match="no list other"):
        bench.call("ca.switch", list="other", enabled=True)
