"""Hostile files are read in a child that may not live long (architecture 8)."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.control.kit import NOW, pem_of
from tests.fakes.ca import Issued, TestAuthority

from gatepost.control.ops import confined
from gatepost.control.ops.confined import read_confined
from gatepost.control.ops.reading import as_text, read
from gatepost.core.errors import OperatorError
from gatepost.pki.profile import Profile

pytestmark = pytest.mark.slow


def test_the_child_reads_what_the_parent_would(tmp_path: object) -> None:
    text = 'system: {hostname: gw.example}\nodd: ["\\ud800", 1e999, 0xffffffffffffffff]\n'
    values = {"text": as_text(text.encode())}
    assert asyncio.run(read_confined("yaml", values)) == read("yaml", values)


def test_a_certificate_comes_through_whole_and_a_refusal_with_its_hint() -> None:
    issued = TestAuthority("Example CA").issue(["mx.example"])
    values = {"name": "gw", "file": as_text(pem_of(issued)), "key": "", "passphrase": "", "now": NOW}
    assert asyncio.run(read_confined("certificate", values)) == read("certificate", values)
    with pytest.raises(OperatorError) as caught:
        asyncio.run(read_confined("certificate", {**values, "file": as_text(issued.chain_pem)}))
    assert "no private key" in caught.value.message
    assert "--key" in caught.value.hint


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-B", "-c", code)


def reading_with(kinds: str, *, cpu: int = confined.CPU_SECONDS) -> tuple[str, ...]:
    """The real child with another reader."""
    return child(
        "from gatepost.control.ops import confined, reading\n"
        f"confined.CPU_SECONDS = {cpu}\n"
        f"def grow(values): return {{'x': len(bytearray(confined.MEMORY))}}\n"
        "def spin(values):\n    while True: pass\n"
        "def dig(values): return dig(values)\n"
        f"reading._KINDS = {{'yaml': {kinds}}}\n"
        "raise SystemExit(confined._child())"
    )


@pytest.mark.parametrize(
    ("command", "why"),
    [
        pytest.param(reading_with("grow"), "more than 1024 MB of memory", id="memory"),
        pytest.param(reading_with("spin", cpu=1), "s of processor time", id="time"),
        pytest.param(reading_with("dig"), "nested more deeply", id="nesting"),
        pytest.param(
            child("import os, sys; sys.stdin.read(); os.kill(os.getpid(), 11)"),
            r"break off \(SIGSEGV\)",
            id="a fault",
        ),
        pytest.param(child("raise SystemExit(7)"), "break off$", id="a bug"),
        pytest.param(child("import sys; sys.stdin.read()"), "break off$", id="no answer"),
    ],
)
def test_a_child_that_does_not_survive_is_a_refusal_that_says_why(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], why: str
) -> None:
    monkeypatch.setattr(confined, "_COMMAND", command)
    with pytest.raises(OperatorError, match=why):
        asyncio.run(read_confined("yaml", {"text": ""}))


def test_a_child_that_sleeps_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_COMMAND", child("import time; time.sleep(600)"))
    monkeypatch.setattr(confined, "WALL_SECONDS", 0.2)
    with pytest.raises(OperatorError, match="took longer than 0 s"):
        asyncio.run(read_confined("yaml", {"text": ""}))


def certificate(file: bytes, key: bytes = b"", passphrase: str = "") -> dict[str, object]:
    values = {"name": "gw", "file": as_text(file), "key": as_text(key), "passphrase": passphrase}
    return asyncio.run(read_confined("certificate", {**values, "now": NOW}))


def test_a_hundred_megabytes_are_refused_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_COMMAND", ("/nonexistent",))
    with pytest.raises(OperatorError, match="the file has 100 MB; at most 16 MB are read"):
        certificate(bytes(100 * 2**20))


def test_the_largest_file_that_can_come_is_refused_in_words() -> None:
    """Its octets are the dearest for JSON."""
    with pytest.raises(OperatorError, match="longer than 1024 KB"):
        certificate(b"\xff" * (8 * 2**20), b"\xff" * (8 * 2**20 - 100))


def test_ten_thousand_certificates_are_refused_in_words() -> None:
    issued = TestAuthority("Example CA").issue(["mx.example"])
    with pytest.raises(OperatorError, match="10,001 PEM blocks"):
        certificate(issued.leaf_pem * 10_000 + issued.key_pem)


def test_names_of_every_hostile_kind_come_through_and_print(hostile: Issued) -> None:
    """C34: NUL, line ends, `%`, HTML and a thousand names."""
    answer = certificate(hostile.leaf_pem + hostile.key_pem)
    profile = Profile.from_document(answer["profile"])  # type: ignore[arg-type]
    assert profile.certificate == hostile.chain_der[0]
    shown = profile.leaf.described()
    for text in (shown.subject, shown.issuer, *shown.names):
        assert text.isprintable()
        assert len(text) <= 501


HOSTILE = {
    "NUL": {"raw_names": [b"good.example\0.evil"], "common_name": "good.example\0.evil"},
    "line ends": {"raw_names": [b"a\r\nb.example"], "common_name": "a\r\nBcc: x@y.example"},
    "percent": {"raw_names": [b"%s%n.example"], "common_name": "%s%n%x"},
    "HTML": {"raw_names": [b"<script>x</script>"], "common_name": "<script>alert(1)</script>"},
    "a thousand names": {"san": True},
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def hostile(request: pytest.FixtureRequest) -> Issued:
    names = ["mx.example"] + [
        f"h{number}.example.net" for number in range(1000 if "san" in request.param else 0)
    ]
    return TestAuthority("Odd CA <b>\x1b[31m").issue(names, **request.param)
