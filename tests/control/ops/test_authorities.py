"""ca.*: both lists, import, export, switches."""

from __future__ import annotations

import datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.control.kit import NOW, Bench, b64
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import OperatorError

AT = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
DAY = datetime.timedelta(days=1)


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


def test_a_private_key_in_the_file_is_left_out(bench: Bench) -> None:
    authority = TestAuthority("Example CA")
    issued = authority.issue(["mx.example"])
    answer = bench.call("ca.import", file=b64(authority.root_pem + issued.key_pem))
    assert any("private key" in warning["text"] for warning in answer["warnings"])
    assert "PRIVATE KEY" not in bench.call("ca.export")["pem"]


EXPIRED = TestAuthority("Old CA", at=AT, end=AT - DAY)
ROOT = TestAuthority("Root CA", at=AT)
SUB = ROOT.intermediate("Sub CA")


def pem_of_sub(authority: TestAuthority) -> bytes:
    return authority.certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("data", "words", "hint"),
    [
        (
            ROOT.issue(["mx.example"]).leaf_pem,
            "CN=mx.example is not the certificate of an authority",
            "signed it",
        ),
        (EXPIRED.root_pem, "CN=Old CA has expired on 2027-01-14", "current certificate"),
        (pem_of_sub(SUB), "CN=Sub CA is an intermediate, and the root above it is in no list", "CN=Root CA"),
        (EXPIRED.root_pem + pem_of_sub(SUB), "1 other was left out too", ""),
    ],
    ids=["host", "expired", "no root", "both"],
)
def test_what_could_verify_nobody_is_refused_and_says_what_to_do(
    bench: Bench, data: bytes, words: str, hint: str
) -> None:
    with pytest.raises(OperatorError, match=words) as caught:
        bench.call("ca.import", file=b64(data))
    assert hint in caught.value.hint
    assert bench.versions() == 1


def test_of_a_mixed_file_the_good_ones_are_taken_and_the_others_named(bench: Bench) -> None:
    leaf = ROOT.issue(["mx.example"]).leaf_pem
    answer = bench.call("ca.import", file=b64(EXPIRED.root_pem + pem_of_sub(SUB) + ROOT.root_pem + leaf))
    assert (answer["added"], answer["left_out"]) == (2, 2)
    texts = [warning["text"] for warning in answer["warnings"]]
    assert all(text.startswith("left out: CN=") for text in texts)
    assert len(texts) == 2
    assert bench.call("ca.import", file=b64(pem_of_sub(ROOT.intermediate("Third CA"))))["added"] == 1


def test_duplicates_in_a_file_are_said_and_taken_once(bench: Bench) -> None:
    answer = bench.call("ca.import", file=b64(ROOT.root_pem * 2))
    assert answer["added"] == 1
    (warning,) = answer["warnings"]
    assert warning["text"] == "certificate 2 of the file, CN=Root CA, is in it twice"
    answer = bench.call("ca.import", file=b64(ROOT.root_pem + pem_of_sub(SUB)))
    assert answer["added"] == 1
    assert [warning["text"] for warning in answer["warnings"]] == ["left out: CN=Root CA is there already"]


def test_weak_and_future_ones_are_taken_with_a_warning(bench: Bench) -> None:
    weak = TestAuthority("Weak CA", at=AT, key="rsa1024")
    future = TestAuthority("Future CA", at=AT, start=AT + DAY)
    answer = bench.call("ca.import", file=b64(weak.root_pem + future.root_pem))
    assert answer["added"] == 2
    texts = " ".join(warning["text"] for warning in answer["warnings"])
    assert "RSA key of 1024 bits" in texts
    assert "not valid before" in texts


def test_the_list_says_what_is_wrong_with_each(bench: Bench) -> None:
    soon = TestAuthority("Soon CA", at=AT, end=AT + DAY)
    bench.call("ca.import", file=b64(soon.root_pem + ROOT.root_pem))
    rows = {row["name"]: row for row in bench.call("ca.list")["authorities"] if row["list"] == "custom"}
    assert rows["Root CA"]["status"] == "valid"
    assert not rows["Root CA"]["findings"]
    assert rows["Soon CA"]["status"] == "expires-soon"
    bench.clock.at += 3 * 86_400
    (row,) = [row for row in bench.call("ca.list")["authorities"] if row["name"] == "Soon CA"]
    assert (row["status"], row["findings"][0]["severity"]) == ("expired", "error")


def test_one_is_shown_and_removed_by_its_fingerprint(bench: Bench) -> None:
    bench.call("ca.import", file=b64(ROOT.root_pem + pem_of_sub(SUB)))
    row = next(row for row in bench.call("ca.list")["authorities"] if row["name"] == "Root CA")
    digits = row["fingerprint"].upper()
    written = ":".join(digits[i : i + 2] for i in range(0, 16, 2))
    shown = bench.call("ca.show", fingerprint=written)
    assert (shown["subject"], shown["list"], shown["root"]) == ("CN=Root CA", "custom", True)
    assert shown["pem"].encode() == ROOT.root_pem
    answer = bench.call("ca.remove", fingerprint=written)
    assert (answer["removed"], answer["total"]) == ("CN=Root CA", 1)
    assert bench.call("ca.export")["pem"].encode() == pem_of_sub(SUB)
    (left,) = [row for row in bench.call("ca.list")["authorities"] if row["list"] == "custom"]
    assert left["status"] == "root-missing"
    for op in ("ca.show", "ca.remove"):
        for wanted in (written, digits[:7], "", "no digits"):
            with pytest.raises(OperatorError, match="no authority with the fingerprint"):
                bench.call(op, fingerprint=wanted)


def test_the_systems_authorities_are_shown_and_exported_but_not_removed(bench: Bench) -> None:
    rows = [row for row in bench.call("ca.list")["authorities"] if row["list"] == "system"]
    if not rows:
        pytest.skip("this machine has no list of authorities")
    assert bench.call("ca.show", fingerprint=rows[0]["fingerprint"])["list"] == "system"
    assert bench.call("ca.export", list="system")["count"] == len(rows)
    with pytest.raises(OperatorError):
        bench.call("ca.remove", fingerprint=rows[0]["fingerprint"])


def test_with_both_lists_off_it_says_that_nobody_is_verified(bench: Bench) -> None:
    answer = bench.call("ca.switch", list="system", enabled=False)
    assert any("no peer can be verified" in warning["text"] for warning in answer["warnings"])


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
