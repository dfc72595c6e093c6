"""What is kept of a user: roles, the line of text, and what is never in it."""

from __future__ import annotations

import pytest

from gatepost.store.users import Role, User, describe_user, make_user, verify_passphrase
from gatepost.wire.saslprep import Unprepared
from gatepost.wire.scram import ScramVerifier

OLD = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"
SCRAM = ScramVerifier(4096, b"saltsalt", bytes(32), bytes(32)).text()


@pytest.mark.parametrize(
    ("text", "roles", "enabled", "shown"),
    [
        (OLD, (Role.ADMINISTRATOR,), True, "administrator"),
        (SCRAM, (Role.SMTP,), True, "smtp"),
        (f"{OLD} {SCRAM} disabled", (Role.ADMINISTRATOR, Role.SMTP), False, "administrator, smtp (disabled)"),
    ],
)
def test_the_line_there_and_back(text: str, roles: tuple[Role, ...], enabled: bool, shown: str) -> None:
    user = User.of_text(text)
    assert (user.roles, user.enabled) == (roles, enabled)
    assert user.text() == text
    assert describe_user(text) == shown
    assert user.administers is (enabled and Role.ADMINISTRATOR in roles)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "disabled",
        f"disabled {SCRAM}",
        f"{OLD} {OLD}",
        f"{SCRAM} {SCRAM}",
        f"{OLD}  {SCRAM}",
        f"{SCRAM} x",
        "x",
        OLD + "\n",
    ],
)
def test_what_is_no_user(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        User.of_text(text)
    assert describe_user(text) == "(unreadable)"


def test_a_user_of_both_roles_has_a_verifier_for_each() -> None:
    user = make_user((Role.SMTP, Role.ADMINISTRATOR), "rather long words")
    assert user.smtp is not None
    assert user.smtp.accepts("rather long words")
    assert not user.smtp.accepts("rather long word")
    assert verify_passphrase(user.administrator, "rather long words")
    assert "long" not in user.text()
    assert repr(user) == "User(enabled=True)"
    assert make_user((Role.SMTP,), "rather long words").smtp != user.smtp, "each has a salt of its own"


def test_a_sender_has_nothing_that_an_administrator_is_known_by() -> None:
    user = make_user((Role.SMTP,), "rather long words")
    assert user.administrator == ""
    assert not user.administers
    assert make_user((Role.ADMINISTRATOR,), "rather long words").smtp is None


def test_a_pass_phrase_that_not_all_programs_send_alike_is_refused() -> None:
    with pytest.raises(Unprepared):
        make_user((Role.SMTP,), "rather long \U0001f600 words")
