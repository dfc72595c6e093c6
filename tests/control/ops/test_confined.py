"""Hostile files are read in a child that may not live long (architecture 8)."""

from __future__ import annotations

import asyncio
import sys

import pytest
from tests.control.kit import NOW, pem_of
from tests.fakes.ca import TestAuthority

from gatepost.control.ops import confined
from gatepost.control.ops.confined import read_confined
from gatepost.control.ops.reading import as_text, read
from gatepost.core.errors import OperatorError


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


def test_a_child_that_does_not_survive_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    dies = (sys.executable, "-c", "import os, sys; sys.stdin.read(); os.kill(os.getpid(), 9)")
    monkeypatch.setattr(confined, "_COMMAND", dies)
    with pytest.raises(OperatorError, match="limits of time and memory"):
        asyncio.run(read_confined("yaml", {"text": ""}))


def test_the_child_has_limits() -> None:
    """Memory beyond its limit ends the child and not the parent."""
    code = (
        "from gatepost.control.ops import confined, reading\n"
        "reading._KINDS = {'yaml': lambda values: {'x': len(bytearray(confined.MEMORY))}}\n"
        "raise SystemExit(confined._child())"
    )
    command = (sys.executable, "-c", code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confined, "_COMMAND", command)
        with pytest.raises(OperatorError, match="limits of time and memory"):
            asyncio.run(read_confined("yaml", {"text": ""}))
