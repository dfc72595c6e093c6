"""alert.test: a mail to those who would be told, to see that it reaches them."""

from __future__ import annotations

import secrets
from typing import Any

from gatepost.control.alert_mail import send_alert
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ports import Alert
from gatepost.policy.alert import SEVERITIES

TEXT = (
    "This is a test: nothing is wrong.\n\n"
    "It went through the queue like any mail. Real alerts of class System and this severity reach you the same way."
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
    sent = await send_alert(gateway, document, alert, f"alert.test.{secrets.token_hex(8)}", now)
    context.emit(AlertRaised(now, severity, alert.subject, len(sent.recipients)))
    if not sent.recipients:
        raise OperatorError(
            f"nobody is subscribed to System alerts of severity {severity}",
            "name recipients under `alerts.recipients` in the configuration",
        )
    return {
        "severity": severity,
        "recipients": list(sent.recipients),
        "mids": list(sent.mids),
        "said": f"to {', '.join(sent.recipients)}",
    }


OPERATIONS = (operation("alert.test", test, "severity", changes=True),)
