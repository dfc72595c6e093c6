"""What is to be said of a policy with `smtp_auth` when there is nobody who could use it. `config.check` knows no users; here they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatepost.config.inbound import PolicyParameters
from gatepost.config.model import Document
from gatepost.config.smtp_auth import AuthLevel
from gatepost.core.errors import Problem
from gatepost.store.users import User

NOBODY = "no user may send, so nobody can authenticate"
HINT = "make one with `gatepost user add NAME`"


def sender_warnings(users: Mapping[str, str], document: Document | None) -> tuple[Problem, ...]:
    """A warning at the first policy that offers AUTH, when no enabled user has the role `smtp`."""
    if document is None or any(_sends(text) for text in users.values()):
        return ()
    for path, policy in _policies(document):
        if policy.smtp_auth not in (None, AuthLevel.OFF):
            return (Problem(f"{path}.smtp_auth", NOBODY, HINT, warning=True),)
    return ()


def _policies(document: Document) -> Iterator[tuple[str, PolicyParameters]]:
    for index, policy in enumerate(document.mail_flow_policies):
        yield f"mail_flow_policies[{index}]", policy
    for index, listener in enumerate(document.listeners):
        for number, override in enumerate(listener.policies):
            yield f"listeners[{index}].policies[{number}]", override


def _sends(text: str) -> bool:
    try:
        user = User.of_text(text)
    except ValueError:
        return False
    return user.enabled and user.smtp is not None
