"""bounce-keys: made, shown without what they are, replaced, forgotten; and they reach the workers of a running gateway."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench
from tests.control.shell.running import gatepost

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.bounce_keys import META
from gatepost.store.home import Home
from gatepost.store.payload import open_payload, version_payload
from gatepost.store.secrets import MasterKey

OURS = CONTRACT_LIKE + "bounce_verification: {domains: [example.net]}\n"


def numbers(bench: Bench) -> list[int]:
    return [row["number"] for row in bench.call("bounce-keys.list")]


def opened(bench: Bench) -> list[tuple[int, bytes]]:
    """The keys as a worker gets them."""
    version = bench.store.latest()
    assert version is not None
    found = open_payload(version_payload(bench.store, version), bench.key, ())
    return [(one["number"], b64decode(one["key"])) for one in found["bounce_keys"]]


def test_a_domain_without_a_key_is_told_of(bench: Bench) -> None:
    said = bench.apply(OURS)
    assert "bounce_verification.domains" in json.dumps(said["warnings"])
    bench.call("bounce-keys.new")
    assert "bounce_verification.domains" not in json.dumps(bench.apply(OURS)["warnings"])


def test_keys_are_numbered_and_the_newest_is_in_use(bench: Bench) -> None:
    assert numbers(bench) == []
    assert bench.call("bounce-keys.new")["number"] == 0
    bench.clock.at = NOW + 10
    assert bench.call("bounce-keys.new", number=9, secret="shared with exim")["number"] == 9
    bench.clock.at = NOW + 20
    found = bench.call("bounce-keys.new")
    assert (found["number"], found["replaced"]) == (0, True)
    assert numbers(bench) == [0, 9]
    bench.clock.at = NOW + 20 + 8 * 86_400
    rows = bench.call("bounce-keys.list")
    assert [(row["number"], row["current"], row["needed"]) for row in rows] == [
        (0, True, True),
        (9, False, False),
    ]
    assert b"shared" not in (bench.store.get_meta(META) or b"")
    assert opened(bench) == []
    bench.apply(OURS)
    assert [number for number, _ in opened(bench)] == [0, 9]
    assert opened(bench)[1][1] == b"shared with exim"
    assert len(opened(bench)[0][1]) == 32


def test_a_running_gateway_has_it_at_once(bench: Bench) -> None:
    bench.apply(OURS)
    gateway = bench.start()
    bench.call("bounce-keys.new")
    assert [one["number"] for one in gateway.active["bounce_keys"]] == [0]
    bench.call("bounce-keys.delete", number=0)
    assert gateway.active["bounce_keys"] == []
    assert numbers(bench) == []
    assert bench.versions() == 2


def test_what_is_refused_changes_nothing(bench: Bench) -> None:
    bench.call("bounce-keys.new")
    for arguments, op, code in (
        ({"secret": "short"}, "new", Exit.REFUSED),
        ({"secret": "not a line\n" * 2}, "new", Exit.REFUSED),
        ({"number": 10}, "new", Exit.USAGE),
        ({"number": 5}, "delete", Exit.REFUSED),
    ):
        with pytest.raises(OperatorError) as caught:
            bench.call(f"bounce-keys.{op}", **arguments)
        assert caught.value.code is code
    assert numbers(bench) == [0]


def test_another_master_key_is_told_of(bench: Bench) -> None:
    bench.apply(OURS)
    bench.call("bounce-keys.new")
    version = bench.store.latest()
    assert version is not None
    with pytest.raises(OperatorError, match="bounce key 0"):
        open_payload(version_payload(bench.store, version), MasterKey(bytes(32)), ())


def test_the_commands(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    assert gatepost("bounce-keys", "list").out.startswith("There is no key: nothing is tagged.")
    assert gatepost("bounce-keys", "new").out == "Bounce key 0 is in use.\n"
    file = home.root / "key"
    file.write_text("shared with exim\n")
    assert (
        gatepost("bounce-keys", "new", "--file", str(file), "--number", "3").out
        == "Bounce key 3 is in use.\n"
    )
    rows = [line.split("  ") for line in gatepost("bounce-keys", "list").out.splitlines()]
    assert [row[0].strip() for row in rows] == ["Key", "3", "0"]
    assert rows[1][-1] == "in use"
    assert rows[2][-1] == "known, tags of it are on their way"
    assert [row["number"] for row in json.loads(gatepost("bounce-keys", "list", "--json").out)] == [3, 0]
    assert "Bounce key 0 is in use." in gatepost("bounce-keys", "delete", "3").out
    assert "There is no key now" in gatepost("bounce-keys", "delete", "0").out
    assert gatepost("bounce-keys", "delete", "0").code == 1
