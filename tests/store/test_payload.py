"""What a worker is given of the users: only those who may send, only where a policy lets them, and no pass-phrase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.payload import open_payload, sealed_payload
from gatepost.store.secrets import MasterKey
from gatepost.store.users import User
from gatepost.wire.scram import ScramVerifier

KEY = MasterKey(bytes(range(32)))
MARY = User(smtp=ScramVerifier(4096, b"salt", bytes(32), bytes(32)))
USERS = {
    "admin": "$argon2id$v=19$x",
    "mary": MARY.text(),
    "gone": User(smtp=MARY.smtp, enabled=False).text(),
    "both": User("$argon2id$v=19$y", MARY.smtp).text(),
}
OFFERED = {"mail_flow_policies": [{"name": "A", "action": "accept", "smtp_auth": "preferred"}]}
CHANGED = {"listeners": [{"certificate": "none", "policies": [{"name": "A", "smtp_auth": "required"}]}]}


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    return ConfigStore.open(tmp_path / "config.db")


def payload(store: ConfigStore, document: dict[str, Any]) -> dict[str, Any]:
    return sealed_payload(store, Content(document, users=USERS), 2, "local:0", "")


@pytest.mark.parametrize("document", [OFFERED, CHANGED])
def test_who_may_send_goes_along(store: ConfigStore, document: dict[str, Any]) -> None:
    found = payload(store, document)
    assert MARY.smtp is not None
    assert found["users"] == {"mary": MARY.smtp.text(), "both": MARY.smtp.text()}
    assert "argon2" not in str(found)
    opened = open_payload(found, KEY, ())
    assert len(opened["nobody"]) == 44
    assert opened["nobody"] == open_payload(found, MasterKey(bytes(range(32))), ())["nobody"]
    assert opened["nobody"] != open_payload(found, MasterKey(bytes(32)), ())["nobody"]
    store.close()


@pytest.mark.parametrize(
    "document", [{}, {"mail_flow_policies": [{"name": "A", "action": "accept", "smtp_auth": "off"}]}]
)
def test_where_nobody_asks_nobody_is_told(store: ConfigStore, document: dict[str, Any]) -> None:
    found = payload(store, document)
    assert found["users"] == {}
    assert "nobody" not in open_payload(found, KEY, ())
    store.close()
