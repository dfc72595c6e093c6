"""user.*: who can be made, what is refused, and that no pass-phrase is shown anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.kit import Bench, b64

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.users import User

GOOD = "orchid lantern seventeen rivers"


def users(bench: Bench) -> dict[str, Any]:
    return {row["name"]: row for row in bench.call("user.list")}


def kept(bench: Bench, name: str) -> User:
    version = bench.store.latest()
    assert version is not None
    return User.of_text(version.content.users[name])


def add(bench: Bench, name: str = "mary", *roles: str, **args: Any) -> Any:
    return bench.call("user.add", name=name, roles=list(roles), passphrase=GOOD, **args)


def test_a_home_begins_with_one_administrator(bench: Bench) -> None:
    assert bench.call("user.list") == [{"name": "admin", "roles": ["administrator"], "enabled": True}]


def test_a_user_may_send_unless_told_otherwise(bench: Bench) -> None:
    answer = add(bench)
    assert (answer["version"], answer["name"], answer["said"]) == (2, "mary", "mary added: version 2")
    assert users(bench)["mary"] == {"name": "mary", "roles": ["smtp"], "enabled": True}
    verifier = kept(bench, "mary").smtp
    assert verifier is not None
    assert verifier.accepts(GOOD)


def test_both_roles(bench: Bench) -> None:
    add(bench, "boss", "smtp", "administrator")
    assert users(bench)["boss"]["roles"] == ["administrator", "smtp"]


def test_a_user_is_switched_off_and_on_and_deleted(bench: Bench) -> None:
    add(bench)
    bench.call("user.disable", name="mary")
    assert not users(bench)["mary"]["enabled"]
    assert bench.call("user.disable", name="mary")["unchanged"]
    bench.call("user.passphrase", name="mary", passphrase=GOOD + " more")
    assert not users(bench)["mary"]["enabled"], "a new pass-phrase lets nobody in"
    bench.call("user.enable", name="mary")
    assert users(bench)["mary"]["enabled"]
    bench.call("user.delete", name="mary")
    assert "mary" not in users(bench)


def test_a_new_pass_phrase_replaces_the_old_one_in_all_roles(bench: Bench) -> None:
    add(bench, "boss", "smtp", "administrator")
    before = kept(bench, "boss")
    bench.call("user.passphrase", name="boss", passphrase="another lantern of eleven rivers")
    after = kept(bench, "boss")
    assert after.roles == before.roles
    assert after.smtp is not None
    assert not after.smtp.accepts(GOOD)
    assert after.administrator != before.administrator


@pytest.mark.parametrize("op", ["user.delete", "user.disable"])
def test_the_last_administrator_stays(bench: Bench, op: str) -> None:
    with pytest.raises(OperatorError, match="admin is the last administrator"):
        bench.call(op, name="admin")
    add(bench, "boss", "administrator")
    bench.call(op, name="admin")
    with pytest.raises(OperatorError, match="boss is the last administrator"):
        bench.call(op, name="boss")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "1 to 128 characters"),
        ("a b", "without blanks"),
        (" mary", "without blanks"),
        ("m" * 129, "1 to 128 characters"),
        ("ma\x07ry", "a control character"),
        ("\u2168", "in their plain form"),
        ("ma\u00adry", "in their plain form"),
        ("\U0001f600", "not all programs treat alike"),
        ("Admin", "there is a user admin already"),
    ],
)
def test_names_that_are_refused(bench: Bench, name: str, text: str) -> None:
    with pytest.raises(OperatorError, match=text):
        add(bench, name)
    assert bench.versions() == 1


@pytest.mark.parametrize(
    ("passphrase", "text"),
    [
        ("short", "has 5 characters"),
        ("password welcome 2024", "common"),
        ("maryorchidlantern", "holds the name"),
        ("orchid lantern \U0001f600 rivers", "not all programs"),
        ("orchid lantern" + " seventeen rivers" * 15, "longer than 256"),
    ],
)
def test_pass_phrases_that_are_refused(bench: Bench, passphrase: str, text: str) -> None:
    with pytest.raises(OperatorError, match=text) as told:
        bench.call("user.add", name="mary", roles=[], passphrase=passphrase)
    assert passphrase not in told.value.message + told.value.hint
    assert bench.versions() == 1


def test_a_role_that_there_is_not(bench: Bench) -> None:
    with pytest.raises(OperatorError, match="no role postmaster") as told:
        add(bench, "mary", "smtp", "postmaster")
    assert told.value.code is Exit.USAGE
    assert told.value.hint == "there are administrator and smtp"


@pytest.mark.parametrize("op", ["user.passphrase", "user.enable", "user.disable", "user.delete"])
def test_a_user_that_there_is_not(bench: Bench, op: str) -> None:
    args = {"passphrase": GOOD} if op == "user.passphrase" else {}
    with pytest.raises(OperatorError, match="no user 'admim'") as told:
        bench.call(op, name="admim", **args)
    assert "admin" in told.value.hint


def test_pending_changes_wait(bench: Bench) -> None:
    add(bench, pending=True)
    assert "mary" not in users(bench)
    (change,) = bench.call("config.pending")["changes"]
    assert (change["path"], change["before"], change["after"]) == ("users[mary]", None, "smtp")
    bench.call("user.disable", name="mary", pending=True)
    bench.call("config.commit")
    assert not users(bench)["mary"]["enabled"]


def test_the_difference_tells_roles_and_state_and_no_verifier(bench: Bench) -> None:
    add(bench)
    bench.call("user.disable", name="mary")
    (change,) = bench.call("config.diff")["changes"]
    assert change["line"].strip() == "users[mary]: smtp -> smtp (disabled)"
    bench.call("user.passphrase", name="mary", passphrase=GOOD + " more")
    (change,) = bench.call("config.diff")["changes"]
    assert change["after"] == "smtp (disabled), (pass-phrase)"


def test_users_go_out_with_the_keys_only_and_come_back(bench: Bench) -> None:
    add(bench)
    assert "users" not in bench.call("config.export")["text"]
    text = bench.call("config.export", certificates=True)["text"]
    assert "SCRAM-SHA-256$" in text
    assert GOOD not in text
    before = kept(bench, "mary")
    bench.call("user.delete", name="mary")
    bench.call("config.apply", text=b64(text))
    assert kept(bench, "mary") == before


def test_the_audit_names_the_user_and_not_the_pass_phrase(bench: Bench) -> None:
    gateway = bench.start()
    add(bench)
    said = [str(event) for event in gateway.events]
    assert any("user.add by local:1000: mary added: version 2" in line for line in said)
    assert not any(GOOD in line or "SCRAM" in line for line in said)


def test_rollback_brings_users_back(bench: Bench) -> None:
    add(bench)
    bench.call("user.delete", name="mary")
    bench.call("config.rollback", version=2)
    assert "mary" in users(bench)
