"""The configuration of a new home: loopback only, high ports, the demo certificate (contract README, Home).

It takes mail for the machine's own name and relays for the machine itself; nobody else can reach it until an
administrator says so.
"""

from __future__ import annotations

from typing import Any

from gatepost.config.inbound import standard_policies
from gatepost.config.load import load_plain
from gatepost.config.model import Document

DEMO = "Demo"


def default_document(hostname: str = "localhost") -> Document:
    """Version 1 of a new home. Raises ConfigurationError when `hostname` is not a host name."""
    return load_plain(
        {
            "system": {"hostname": hostname},
            "interfaces": [{"name": "Management", "address": "127.0.0.1", "hostname": hostname}],
            "listeners": [_incoming(hostname), _outgoing()],
            "mail_flow_policies": [
                policy.model_dump(mode="json", exclude_unset=True) for policy in standard_policies()
            ],
            "destination_controls": {
                "global": {"certificate": DEMO, "alert_on_required_tls_failure": False},
                "default": {"tls": "preferred", "bounce_profile": "Default"},
            },
            "smtp_routes": [{"domain": "ALL", "hosts": ["usedns"]}],
            "delivery": {"interface": "auto"},
            "bounce_profiles": [{"name": "Default"}],
            "log_subscriptions": [{"name": "mail_logs", "type": "mail"}],
        }
    )


def _incoming(hostname: str) -> dict[str, Any]:
    return {
        "name": "IncomingMail",
        "type": "public",
        "interface": "Management",
        "port": 2525,
        "tls": "starttls",
        "certificate": DEMO,
        "host_access": [
            {"group": "ALLOWED_LIST", "senders": [], "policy": "TRUSTED"},
            {"group": "BLOCKED_LIST", "senders": [], "policy": "BLOCKED"},
            {"group": "SUSPECTLIST", "senders": [], "policy": "THROTTLED"},
            {"group": "ALL", "policy": "ACCEPTED"},
        ],
        "recipient_access": [
            {"recipient": hostname, "action": "accept"},
            {"recipient": "ALL", "action": "reject"},
        ],
    }


def _outgoing() -> dict[str, Any]:
    return {
        "name": "OutgoingMail",
        "type": "private",
        "interface": "Management",
        "port": 2587,
        "tls": "starttls",
        "certificate": DEMO,
        "host_access": [
            {"group": "RELAYLIST", "senders": ["127.0.0.0/8", "::1"], "policy": "RELAYED"},
            {"group": "ALL", "policy": "BLOCKED"},
        ],
    }
