"""docs/events.md: every event with its fields and, with sample values, its lines in the mail log."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

from gatepost.core import (
    auth_events,
    certificate_events,
    delivery_events,
    events,
    monitor_events,
    received_report_events,
    record_events,
    rejection_events,
)
from gatepost.core.events import Event
from gatepost.track.mail_log import MailLogFormat

HEAD = """# Events

Every act that the gateway logs is one typed event (`src/gatepost/core/events.py`, `delivery_events.py`, `certificate_events.py`, `monitor_events.py`, `received_report_events.py`, `record_events.py`, `rejection_events.py`, `auth_events.py`). `logs/events.jsonl` has them as JSON lines,
`{"event":"MessageQueued","at":1700000000.0,"mid":7}`; `logs/mail_logs` has the classic lines that are shown here with sample values.
`at`, in seconds since the epoch, UTC, is a field of all. A line's level is Info unless another is named. Made by `scripts/docs`.
"""

AT = 1_694_006_000.0
SAMPLES: dict[str, Any] = {
    "at": AT,
    "failures": 10,
    "began": 1_694_005_999.0,
    "broken": "",
    "der": "MIIB...",
    "esmtp": True,
    "helo": "mail.partner.example",
    "hello": "mail.partner.example",
    "hop": {},
    "later": [],
    "tls_report": False,
    "borrowed": False,
    "lost": "",
    "policy": "ACCEPTED",
    "sender_domain": "partner.example",
    "starttls": True,
    "sts": None,
    "tlsa": {},
    "again": 1_694_009_600.0,
    "days": 5,
    "fingerprint": "5f2c" * 16,
    "handshakes": 12,
    "how": "automatic",
    "issuer": "CN=Example CA",
    "listener": "IncomingMail",
    "lists": None,
    "listeners": 2,
    "name": "gw",
    "not_after": 1_694_438_000.0,
    "recipients": 1,
    "revoked": 3,
    "served": "",
    "severity": "warning",
    "sni": "mx.example.net",
    "to": 6,
    "url": "https://crl.example/list.crl",
    "version": 7,
    "wanted": "5f2c" * 16,
    "what": "certificate",
    "action": "ACCEPT",
    "about": 6,
    "address": "192.0.2.7",
    "alert": False,
    "author": "local:0",
    "by": "local:0",
    "cipher": "TLS_AES_256_GCM_SHA384",
    "client": {},
    "code": "450",
    "comment": "new route",
    "continues": False,
    "dcid": 8,
    "details": "timeout",
    "detail": "",
    "domain": "partner.example",
    "error": "[Errno 104] Connection reset by peer",
    "fields": {},
    "begin": 1_693_872_000,
    "domains": ["example.net"],
    "end": 1_693_958_399,
    "failed": 3,
    "results": {"certificate-expired": 3},
    "kept": "",
    "organization": "Partner Ltd",
    "origin": "reports@partner.example",
    "report": 12,
    "submitter_verified": True,
    "signer": "partner.example",
    "successful": 117,
    "way": "mail",
    "group": "UNKNOWNLIST",
    "host": "mail.partner.example",
    "icid": 5,
    "interface": "Data 1",
    "local_address": "192.0.2.1",
    "match": "ALL",
    "message_id": "<20230906.1@partner.example>",
    "mid": 6,
    "pid": 4711,
    "port": 25,
    "problem": "Other network problem",
    "protocol": "TLSv1.3",
    "reason_code": "no-certificate",
    "reason": "why it is so",
    "recipient": "mary@example.net",
    "reference": "d8d8c1fe",
    "response": "2.0.0 Ok: queued",
    "rid": 0,
    "rids": [0],
    "role": "worker 0",
    "score": "not enabled",
    "sender": "bob@partner.example",
    "shard": 0,
    "size": 1234,
    "status": "4.4.0",
    "subject": "Hello",
    "text": "what is to be said",
    "texts": ["4.2.0 try later"],
    "tls": {},
    "traceback": "ValueError: sample",
    "verification": "yes: partner.example",
    "verified": "yes",
    "asks": "required-verify",
    "passed": True,
    "rule": "destination_controls.destinations[0]",
    "would": "refuse",
    "profile": "local",
    "user": "mary",
    "mechanism": "LOGIN",
    "locked": "user",
    "where": "session ICID 5",
}

_SECTION = re.compile(r"^# --- (.*?) -+$", re.MULTILINE)
_MARK = re.compile(r"^R[0-9]+[a-z]?: ")  # rows of the requirements
_CLASS = re.compile(r"^class (\w+)\(Event\):$", re.MULTILINE)


def sample(kind: type[Event]) -> Event:
    """The event with sample values. Raises KeyError for a field that has none here."""
    return kind(**{field.name: SAMPLES[field.name] for field in fields(kind)})


def sections() -> list[tuple[str, list[type[Event]]]]:
    """The events in the order of their files, under the headings that they have."""
    result: list[tuple[str, list[type[Event]]]] = []
    modules = (
        events,
        delivery_events,
        certificate_events,
        monitor_events,
        received_report_events,
        record_events,
        rejection_events,
        auth_events,
    )
    for module in modules:
        source = inspect.getsource(module)
        found: list[tuple[int, str, str]] = [(m.start(), "section", m[1]) for m in _SECTION.finditer(source)]
        found += [(m.start(), "event", m[1]) for m in _CLASS.finditer(source)]
        for _, what, name in sorted(found):
            if what == "section":
                result.append((name, []))
            else:
                result[-1][1].append(getattr(module, name))
    return result


def page() -> str:
    form = MailLogFormat(version="", serial="", level="Trace")
    rows = [HEAD]
    for title, kinds in sections():
        rows += [f"## {title[:1].upper()}{title[1:]}", ""]
        for kind in kinds:
            rows += _event(kind, form)
    return "\n".join(rows)


def _event(kind: type[Event], form: MailLogFormat) -> list[str]:
    level = "" if kind.level == "Info" else f" ({kind.level})"
    named = ", ".join(f"`{field.name}`" for field in fields(kind) if field.name != "at")
    doc = _MARK.sub("", inspect.getdoc(kind) or "")
    own = "" if doc.startswith(f"{kind.__name__}(") else " ".join(doc.split())
    lines = form.render(sample(kind)).splitlines()
    shown = [line.partition(": ")[2] for line in lines]
    rows = [f"### {kind.__name__}{level}", ""]
    rows += [own, ""] if own else []
    return [*rows, f"Fields: {named}", "", "```", *shown, "```", ""]
