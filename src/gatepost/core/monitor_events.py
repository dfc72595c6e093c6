"""Events of rules in monitor mode: evaluated, logged and counted, not enforced."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.event import Event

# --- monitor mode ---------------------------------------------------------------------------------


@dataclass(slots=True)
class DestinationMonitored(Event):
    """What a destination entry in monitor mode would have done with a delivery connection.

    `rule` is its place in the configuration, `asks` its level; `would` is pass, refuse or untold. `passed` says whether mail could go under
    the rule that was enforced. A rule that would pass leaves no line in the mail log.
    """

    dcid: int
    domain: str
    rule: str
    asks: str
    would: str
    reason: str
    passed: bool


@dataclass(slots=True)
class PolicyMonitored(Event):
    """What the TLS part of a mail flow policy in monitor mode would have said to a MAIL that was taken.

    `would` is pass or refuse. Told once a session and reason; one that would pass leaves no line in the mail log.
    """

    icid: int
    policy: str
    would: str
    reason: str
    sender: str
