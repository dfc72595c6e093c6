"""user.*: who administers, and who sends mail with SMTP AUTH. Users are versioned with the configuration (contract, Changing).

A pass-phrase comes in clear and leaves as verifiers (`store.users`); it has to be strong, for anybody may try to guess it. The last administrator
who may administer can neither be deleted nor switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.config.faults import near_name
from gatepost.config.load import load_plain
from gatepost.control.ops.draft import Submission, draft_of, submit
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.sender_warnings import sender_warnings
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.errors import PkiError
from gatepost.pki.passphrases import require_strong
from gatepost.store.users import Role, User, make_user
from gatepost.wire.saslprep import Unprepared, prepare

MAX_NAME = 128
MAX_PASSPHRASE = 256  # characters; more than a mail program lets type


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All users of the version in force, by name."""
    users = current(context).content.users
    found = ((name, _read(name, users[name])) for name in sorted(users))
    return [
        {"name": name, "roles": [role.value for role in user.roles], "enabled": user.enabled}
        for name, user in found
    ]


async def add(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """A new user with a pass-phrase."""
    name = _new_name(arguments.text("name"))
    roles = _roles(arguments.texts("roles") or [Role.SMTP.value])
    users = draft_of(context, caller).content.users
    for other in users:
        if other.casefold() == name.casefold():
            raise OperatorError(
                f"there is a user {other} already",
                "`gatepost user passphrase` gives a new pass-phrase, `user delete` removes the user",
            )
    user = await _made(name, roles, arguments.text("passphrase"))
    return await _changed(context, arguments, caller, name, user, "added")


async def passphrase(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """A new pass-phrase for all roles of a user."""
    name, user = _user(context, caller, arguments)
    made = await _made(name, user.roles, arguments.text("passphrase"))
    return await _changed(context, arguments, caller, name, replace(made, enabled=user.enabled), "changed")


async def enable(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Let a user in again."""
    name, user = _user(context, caller, arguments)
    return await _changed(context, arguments, caller, name, replace(user, enabled=True), "enabled")


async def disable(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Let a user in no more. A session that he has ends before its next message."""
    name, user = _user(context, caller, arguments)
    return await _changed(context, arguments, caller, name, replace(user, enabled=False), "disabled")


async def delete(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Remove a user."""
    name, _ = _user(context, caller, arguments)
    return await _changed(context, arguments, caller, name, None, "deleted")


async def _changed(
    context: Context, arguments: Arguments, caller: Caller, name: str, user: User | None, what: str
) -> dict[str, Any]:
    """Submit the user as it is now; None removes it."""
    draft = draft_of(context, caller)
    users = dict(draft.content.users)
    users.pop(name, None)
    if user is not None:
        users[name] = user.text()
    if _administrators(draft.content.users) and not _administrators(users):
        raise OperatorError(
            f"{name} is the last administrator",
            "make another one with `gatepost user add NAME --role administrator`",
        )
    how = Submission(arguments.comment(), arguments.flag("pending"))
    content = replace(draft.content, users=users)
    warnings = sender_warnings(users, load_plain(dict(content.document)))
    answer = await submit(context, caller, draft.with_content(content), how, warnings=warnings)
    return {**answer, "name": name, "said": f"{name} {what}: {answer['said']}"}


def _administrators(users: Mapping[str, str]) -> list[str]:
    return [name for name, text in users.items() if _read(name, text).administers]


def _user(context: Context, caller: Caller, arguments: Arguments) -> tuple[str, User]:
    name = arguments.text("name")
    users = draft_of(context, caller).content.users
    if name not in users:
        raise OperatorError(
            f"there is no user {name!r}", near_name(name, users) or "`gatepost user list` shows all"
        )
    return name, _read(name, users[name])


def _read(name: str, text: str) -> User:
    try:
        return User.of_text(text)
    except ValueError:
        raise OperatorError(
            f"the user {name} was stored by another release",
            "use that release, or go back to an older version of the configuration",
            code=Exit.FAULTY_CONFIGURATION,
        ) from None


def _new_name(name: str) -> str:
    """A name that every mail program sends alike."""
    try:
        prepared = prepare(name, stored=True)
    except Unprepared as why:
        raise OperatorError(
            f"a user's name cannot have {why}", "for example mary or mary@example.net"
        ) from None
    if not name or len(name) > MAX_NAME or prepared != name or any(char.isspace() for char in name):
        raise OperatorError(
            f"a user's name has 1 to {MAX_NAME} characters, without blanks and in their plain form",
            "for example mary or mary@example.net",
        )
    return name


def _roles(names: list[str]) -> tuple[Role, ...]:
    try:
        return tuple(dict.fromkeys(Role(name) for name in names))
    except ValueError:
        raise OperatorError(
            f"there is no role {', '.join(name for name in names if name not in list(Role))}",
            f"there are {' and '.join(Role)}",
            code=Exit.USAGE,
        ) from None


async def _made(name: str, roles: tuple[Role, ...], passphrase: str) -> User:
    """The user with this pass-phrase, if it is a strong one. The verifiers take a moment on purpose."""
    try:
        require_strong(passphrase)
        if len(passphrase) > MAX_PASSPHRASE:
            raise PkiError(f"the pass-phrase is longer than {MAX_PASSPHRASE} characters")
        if name.casefold() in passphrase.casefold():
            raise PkiError("the pass-phrase holds the name of the user", "whoever guesses begins with that")
        return await asyncio.to_thread(make_user, roles, passphrase)
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    except Unprepared as why:
        raise OperatorError(
            f"the pass-phrase has {why}", "use letters, digits, signs and blanks that every keyboard has"
        ) from None


OPERATIONS = (
    operation("user.list", list_),
    operation("user.add", add, "name roles passphrase comment pending", changes=True),
    operation("user.passphrase", passphrase, "name passphrase comment pending", changes=True),
    operation("user.enable", enable, "name comment pending", changes=True),
    operation("user.disable", disable, "name comment pending", changes=True),
    operation("user.delete", delete, "name comment pending", changes=True),
)
