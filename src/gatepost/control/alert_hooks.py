"""Alerts for services: what is to be posted to which webhook, its queue in the store, and its signature.

An alert is one JSON document, the same at each attempt: `id` (its name for ever; a service that has seen it may pass over it), `time`,
`gateway`, `class`, `severity`, `state` (`trouble`, or `cleared` when it is over), `key` (names the trouble), `subject`, `text` and `times`.
The job `app.webhook_job` posts it, and tries again until the service answers with 2xx.

The signature is `X-Gatepost-Signature: sha256=HEX`: HMAC-SHA256 (RFC 2104) with the secret that `gatepost alert secret` stored, over the text of
the header `X-Gatepost-Timestamp` (seconds since the epoch, of this attempt), a dot, and the body. A service that refuses old
timestamps cannot be fooled by a repetition.

Limits: 200 postings wait at most, then the oldest goes. The secret is sealed; without one nothing is posted, and it waits.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from gatepost.certs.times import iso_time
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Problem
from gatepost.core.ports import Alert
from gatepost.policy.alert import SYSTEM, webhooks_of
from gatepost.store.config_store import ConfigStore

if TYPE_CHECKING:
    from gatepost.config.model import Document

META = "webhooks"  # in the store: what is to be posted
SECRET = "alert webhooks/"  # in the store, sealed
SECRET_REVISION = 0
JOB = "webhooks"
MAX_QUEUED = 200


@dataclass(frozen=True, slots=True)
class Posting:
    """One alert for one service: `body` is what is posted, `due` when it is tried (again), `tries` how often that failed."""

    id: str
    url: str
    subject: str
    body: str
    at: float
    due: float
    tries: int = 0


def service(url: str) -> str:
    """What may be shown of a URL: its path is often as good as a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def postings(store: ConfigStore) -> list[Posting]:
    """What waits, oldest first; nothing for what cannot be read."""
    try:
        return [Posting(**one) for one in orjson.loads(store.get_meta(META) or b"[]")]
    except (orjson.JSONDecodeError, TypeError):
        return []


def put_postings(store: ConfigStore, waiting: Sequence[Posting]) -> None:
    """Replace what waits, durably."""
    store.put_metas({META: orjson.dumps([asdict(one) for one in waiting]) if waiting else None})


def enqueue(store: ConfigStore, document: Mapping[str, Any], alert: Alert, token: str, now: float) -> int:
    """Let an alert wait for each service that takes it; returns how many do. One that waits already is not taken twice."""
    if not (document.get("alerts") or {}).get("webhooks"):
        return 0
    from gatepost.config.load import load_plain  # slow to load, and most gateways have no webhook

    settings = load_plain(document)
    urls = webhooks_of(settings.alerts, alert.severity)
    if not urls:
        return 0
    waiting = postings(store)
    known = {(one.id, one.url) for one in waiting}
    body = _body(settings, alert, token, now)
    waiting += [
        Posting(token, url, alert.subject, body, now, now) for url in urls if (token, url) not in known
    ]
    put_postings(store, waiting[-MAX_QUEUED:])
    return len(urls)


def _body(settings: Document, alert: Alert, token: str, now: float) -> str:
    return orjson.dumps(
        {
            "id": token,
            "time": iso_time(now),
            "gateway": normalise_domain(settings.system.hostname),
            "class": SYSTEM,
            "severity": alert.severity,
            "state": "cleared" if alert.clears else "trouble",
            "key": alert.key,
            "subject": alert.subject,
            "text": alert.text,
            "times": alert.times,
        }
    ).decode()


def signed_headers(secret: bytes, body: bytes, now: float) -> dict[str, str]:
    """The headers of one attempt."""
    stamp = str(int(now))
    digest = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Gatepost-Timestamp": stamp,
        "X-Gatepost-Signature": f"sha256={digest}",
    }


def webhook_warnings(store: ConfigStore, document: Document) -> Iterator[Problem]:
    """Webhooks without a secret."""
    if document.alerts.webhooks and not store.get_meta(SECRET):
        text = "the secret that signs what is posted is not stored, so nothing is posted"
        yield Problem("alerts.webhooks", text, "`gatepost alert secret` stores it", warning=True)
