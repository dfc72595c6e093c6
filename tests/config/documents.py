"""Documents for the tests of the configuration: the contract's example, a small one, and arbitrary ones."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gatepost.config.load import load_plain
from gatepost.config.model import Document

CONTRACT = (Path(__file__).parent / "data" / "gateway.yaml").read_bytes()
TODAY = date(2026, 11, 24)

SMALL: dict[str, Any] = {
    "system": {"hostname": "gw.example.net"},
    "interfaces": [{"name": "Data 1", "address": "192.0.2.1"}],
    "listeners": [
        {
            "name": "In",
            "interface": "Data 1",
            "port": 25,
            "certificate": "gw",
            "host_access": [{"group": "ALL", "policy": "ACCEPTED"}],
            "recipient_access": [{"recipient": "example.net", "action": "accept"}],
        }
    ],
    "mail_flow_policies": [
        {"name": "ACCEPTED", "action": "accept", "tls": "preferred"},
        {"name": "BLOCKED", "action": "reject"},
        {"name": "RELAYED", "action": "relay"},
        {"name": "CONTINUE", "action": "continue"},
    ],
}


def small(**sections: Any) -> dict[str, Any]:
    """The small document with some sections replaced."""
    return {**deepcopy(SMALL), **sections}


def listener(**keys: Any) -> dict[str, Any]:
    """The small document's listener with some keys replaced; a key that is None is left out."""
    merged = {**deepcopy(SMALL["listeners"][0]), **keys}
    return {key: value for key, value in merged.items() if value is not None}


def document(**sections: Any) -> Document:
    return load_plain(small(**sections))


# --- arbitrary documents -----------------------------------------------------------------------

NAMES = st.sampled_from(
    ["A", "Data 1", "off", "no", "10", "a: b", "Ünï", 'say "x"', "true", "#1", "- x", "2027-01-31"]
)
DOMAINS = st.sampled_from(["example.net", ".example.net", "[192.0.2.1]", "bücher.example"])
LIMITS = st.one_of(st.just("unlimited"), st.integers(1, 10**6))
DURATIONS = st.sampled_from(["1s", "90s", "5m", "36h", "3d"])
LEVELS = st.sampled_from(
    ["none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"]
)


def _some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_POLICY = {
    "tls": st.sampled_from(["off", "preferred", "required"]),
    "verify_client_certificate": st.booleans(),
    "accept_server_only_certificates": st.booleans(),
    "client_identities": st.lists(
        st.one_of(
            _some(
                {"name": st.sampled_from(["MX.partner.example", "bücher.example", "2001:DB8::1"])},
                {"authority": NAMES},
            ),
            st.fixed_dictionaries({"spki": st.sampled_from(["ab" * 32, ":".join(["CD"] * 32)])}),
        ),
        max_size=2,
    ),
    "tls_mandatory_for": NAMES,
    "max_messages_per_connection": LIMITS,
    "max_message_size": st.sampled_from(["1B", "1500KB", "100MB", 7]),
    "max_recipients_per_hour": LIMITS,
    "banner": st.sampled_from(["hello", "no: spam #1"]),
}
_GROUP = _some(
    {"group": NAMES},
    {
        "senders": st.lists(
            st.sampled_from(["ALL", "10.", "sbrs[none]", ".example.net", "2001:db8::/32"]), max_size=3
        ),
        "policy": NAMES,
    },
)
_LISTENER = _some(
    {"name": NAMES, "interface": NAMES, "port": st.integers(1, 65_535)},
    {
        "type": st.sampled_from(["public", "private"]),
        "tls": st.sampled_from(["starttls", "implicit"]),
        "host_access": st.lists(_GROUP, max_size=3),
        "recipient_access": st.lists(
            _some(
                {"recipient": st.sampled_from(["ALL", "user@", ".x.example"]), "action": st.just("reject")},
                {},
            ),
            max_size=2,
        ),
        "policies": st.one_of(
            st.lists(_some({"name": NAMES}, _POLICY), max_size=2),
            st.dictionaries(NAMES, _some({}, _POLICY), max_size=2),
        ),
        "default_policy": NAMES,
        "max_connections": LIMITS,
        "timeouts": _some({}, {"command": DURATIONS, "session": st.one_of(DURATIONS, st.just("unlimited"))}),
    },
)
_DESTINATION = {
    "tls": LEVELS,
    "dane": st.sampled_from(["none", "opportunistic", "mandatory"]),
    "mta_sts": st.booleans(),
    "max_connections": LIMITS,
    "bounce_profile": NAMES,
    "insecure_names": st.sampled_from(["allow", "refuse"]),
    "client_certificate": st.sampled_from(["offer", "never"]),
    "preferred_clear_after": st.one_of(st.just("never"), st.integers(1, 9)),
}
PLAIN_DOCUMENTS = _some(
    {},
    {
        "system": _some({}, {"hostname": st.sampled_from(["gw.example.net", "no"])}),
        "interfaces": st.lists(
            _some(
                {"name": NAMES, "address": st.sampled_from(["127.0.0.1", "::1"])},
                {"https": _some({"port": st.just(443)}, {"certificate": NAMES}), "hostname": st.none()},
            ),
            max_size=2,
        ),
        "listeners": st.lists(_LISTENER, max_size=2),
        "mail_flow_policies": st.lists(
            _some({"name": NAMES, "action": st.sampled_from(["accept", "relay", "continue"])}, _POLICY),
            max_size=2,
        ),
        "destination_controls": _some(
            {},
            {
                "global": _some({}, {"certificate": NAMES, "alert_on_required_tls_failure": st.booleans()}),
                "default": _some({}, _DESTINATION),
                "destinations": st.lists(
                    _some(
                        {"domain": DOMAINS}, {**_DESTINATION, "until": st.just("2027-01-31"), "reason": NAMES}
                    ),
                    max_size=2,
                ),
            },
        ),
        "smtp_routes": st.lists(
            _some({"domain": DOMAINS, "hosts": st.just(["[127.0.0.1]:2600", "usedns"])}, {}), max_size=2
        ),
        "bounce_profiles": st.lists(
            _some({"name": NAMES}, {"delay_warning": st.one_of(DURATIONS, st.just("never"))}), max_size=2
        ),
        "alerts": _some({}, {"from": st.just("alert@example.net")}),
        "tls_reports": _some(
            {},
            {
                "send": st.booleans(),
                "from": st.just("tls@example.net"),
                "dkim_domain": st.just("example.net"),
                "organization": NAMES,
            },
        ),
        "dns": st.none(),
    },
)
