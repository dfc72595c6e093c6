"""What waits for webhooks: who gets what, its bounds, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.control.alert_hooks import (
    META,
    enqueue,
    postings,
    service,
    signed_headers,
)
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore

NOW = 1_800_000_000.0
ONE, TWO = "https://one.example/hook/s3cret", "http://two.example:8080/"


def document(*hooks: dict[str, Any]) -> dict[str, Any]:
    return {"system": {"hostname": "gw.example.net"}, "alerts": {"webhooks": list(hooks)}}


BOTH = document({"url": ONE}, {"url": TWO, "classes": ["system"], "severities": ["critical"]})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConfigStore]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield store
    store.close()


def test_each_service_gets_the_severities_that_it_takes(store: ConfigStore) -> None:
    assert enqueue(store, document(), Alert("k", "critical", "s", "t"), "a0", NOW) == 0
    assert enqueue(store, BOTH, Alert("k", "warning", "s", "t"), "a1", NOW) == 1
    assert enqueue(store, BOTH, Alert("k", "critical", "s", "t"), "a2", NOW) == 2
    assert [(one.id, one.url) for one in postings(store)] == [("a1", ONE), ("a2", ONE), ("a2", TWO)]


def test_the_same_alert_waits_once(store: ConfigStore) -> None:
    for _ in range(3):
        assert enqueue(store, BOTH, Alert("k", "critical", "s", "t"), "a1", NOW) == 2
    assert len(postings(store)) == 2


def test_the_document_says_all_of_it(store: ConfigStore) -> None:
    alert = Alert("required-tls:a.example", "information", "It works \u00e4gain", "l1\nl2", 3, clears=True)
    enqueue(store, BOTH, alert, "alert.1", NOW)
    (one,) = postings(store)
    assert json.loads(one.body) == {
        "id": "alert.1",
        "time": "2027-01-15T08:00:00Z",
        "gateway": "gw.example.net",
        "class": "system",
        "severity": "information",
        "state": "cleared",
        "key": "required-tls:a.example",
        "subject": "It works \u00e4gain",
        "text": "l1\nl2",
        "times": 3,
    }


def test_the_queue_is_bounded_and_the_oldest_goes(
    store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.control.alert_hooks.MAX_QUEUED", 8)
    for number in range(11):
        enqueue(store, BOTH, Alert("k", "warning", "s", "t"), f"a{number}", NOW)
    assert [one.id for one in postings(store)] == [f"a{number}" for number in range(3, 11)]


@pytest.mark.parametrize("data", [b"x", b"{}", b'[{"id": 1}]'])
def test_a_value_that_cannot_be_read_is_nothing(store: ConfigStore, data: bytes) -> None:
    store.put_meta(META, data)
    assert postings(store) == []


def test_the_signature_is_over_the_time_and_the_body() -> None:
    headers = signed_headers(b"the secret of the test", b'{"a":1}', NOW + 0.7)
    assert headers["X-Gatepost-Timestamp"] == "1800000000"
    expected = hmac.new(b"the secret of the test", b'1800000000.{"a":1}', hashlib.sha256).hexdigest()
    assert headers["X-Gatepost-Signature"] == f"sha256={expected}"


def test_what_is_shown_of_a_url_has_no_path() -> None:
    assert service(ONE) == "https://one.example"
    assert service(TWO) == "http://two.example:8080"
