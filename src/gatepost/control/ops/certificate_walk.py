"""cert.walk: why a certificate does not verify, asked in the order in which people look for it (R37), where the failure is shown.

The names come from the name check (R10): the host name of the first interface that shows the certificate, and the MX hosts that
lead there. What is walked through is what is sent, of the first certificate and of the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gatepost.certs.chains import ChainDoctor
from gatepost.control.ops.names import names
from gatepost.control.ops.profiles import refusing, stored_in
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.pki.notes import REPAIR_COMMAND
from gatepost.pki.profile import Profile
from gatepost.pki.troubleshooting import Step


async def walk(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The steps for each served certificate, and the comparison of names that they rest on."""
    name = arguments.text("name")
    content = current(context).content
    stored = stored_in(context, content, name)
    compared = await names(context, Arguments({"name": name, "offline": arguments.flag("offline")}), caller)
    host, mx = _names_to_carry(compared)
    anchors, now = context.inventory().anchors(content), context.clock.now()
    doctor = ChainDoctor(context.store, content, anchors, now)
    with refusing():
        profile = Profile.from_document(stored.record)
    walked = await asyncio.to_thread(doctor.walk, profile, host, mx)
    return {
        "name": name,
        "walks": [
            {"subject": pair.leaf.subject, "steps": [_step(step, name) for step in steps]}
            for pair, steps in zip(profile.pairs, walked, strict=True)
        ],
        "name_check": compared,
    }


def _names_to_carry(compared: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The interface's host name and the MX hosts of the first listener that shows the certificate."""
    if not compared["listeners"]:
        return "", []
    listener = compared["listeners"][0]
    hosts = [host for domain in listener["mx"] for host in domain["hosts"]]
    here = [host for host in hosts if host["leads_here"]] or hosts
    return listener["interface_host"], list(dict.fromkeys(host["host"] for host in here))


def _step(step: Step, name: str) -> dict[str, str]:
    return {
        "question": step.question.value,
        "outcome": step.outcome.value,
        "text": step.text,
        "repair": step.repair.replace(REPAIR_COMMAND, REPAIR_COMMAND.replace("NAME", name)),
    }


OPERATIONS = (operation("cert.walk", walk, "name offline"),)
