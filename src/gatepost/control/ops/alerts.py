"""alert.*: a test to those who would be told, to see that it reaches them, and the secret that signs what webhooks get."""

from __future__ import annotations

import secrets
from typing import Any

from gatepost.control.alert_hooks import JOB, SECRET, SECRET_REVISION, enqueue
from gatepost.control.alert_mail import send_alert
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Alert
from gatepost.policy.alert import SEVERITIES

SHORTEST, LONGEST = 16, 1_000
TEXT = (
    "This is a test: nothing is wrong.\n\n"
    "Real alerts of class System and this severity reach you the same way: by mail through the queue, like any mail, or by a webhook."
)


async def test(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Send a test alert of one severity through the running gateway."""
    severity = arguments.text("severity", "information")
    if severity not in SEVERITIES:
        raise OperatorError(
            f"{severity} is no severity", f"there are {', '.join(SEVERITIES)}", code=Exit.USAGE
        )
    gateway = context.running()
    alert = Alert("test", severity, f"Test alert, asked for by {caller.name}", TEXT)
    document = current(context).content.document
    now = context.clock.now()
    token = f"alert.test.{secrets.token_hex(8)}"
    services = enqueue(context.store, document, alert, token, now)
    if services:
        gateway.look(JOB)
    sent = await send_alert(gateway, document, alert, token, now)
    context.emit(AlertRaised(now, severity, alert.subject, len(sent.recipients)))
    if not (sent.recipients or services):
        raise OperatorError(
            f"nobody is subscribed to System alerts of severity {severity}",
            "name recipients under `alerts.recipients` in the configuration",
        )
    hooks = [f"{services} webhook{'s' if services != 1 else ''}"] if services else []
    return {
        "severity": severity,
        "recipients": list(sent.recipients),
        "mids": list(sent.mids),
        "webhooks": services,
        "said": f"to {', '.join([*sent.recipients, *hooks])}",
    }


async def secret(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Store the secret that signs what webhooks get; an empty one is forgotten."""
    value = arguments.text("value").strip()
    if value and not (SHORTEST <= len(value) <= LONGEST and value.isascii() and value.isprintable()):
        raise OperatorError(
            f"that is no secret: it has {SHORTEST} to {LONGEST:,} ASCII characters on one line",
            "`openssl rand -hex 32` makes one",
        )
    sealed = await context.keeper.seal(SECRET, SECRET_REVISION, value.encode("ascii")) if value else None
    context.store.put_metas({SECRET: sealed})
    if context.gateway is not None:
        context.gateway.look(JOB)
    return {"stored": bool(value), "said": "stored" if value else "forgotten"}


OPERATIONS = (
    operation("alert.test", test, "severity", changes=True),
    operation("alert.secret", secret, "value", changes=True),
)
