"""Where a setting of a destination comes from: its entry, the default entry, or the product."""

from __future__ import annotations

import datetime

from gatepost.config.load import load_plain
from gatepost.core.tls import TlsLevel
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.outbound import compile_destinations, compile_routes, entry_of, settings_of

DOCUMENT = load_plain(
    {
        "destination_controls": {
            "default": {"tls": "required", "max_connections": 20},
            "destinations": [
                {"domain": "other.example"},
                {
                    "domain": "partner.example",
                    "tls": "none",
                    "mta_sts": False,
                    "preferred_clear_after": 3,
                    "reason": "x",
                },
            ],
        },
        "smtp_routes": [
            {"domain": "a.example", "hosts": ["usedns"]},
            {"domain": "ALL", "hosts": ["[relay.example]"]},
        ],
    }
)
TODAY = datetime.date(2026, 11, 24)
ENTRY = "destination_controls.destinations[1]"


def rule(domain: str) -> DestinationRule:
    return compile_destinations(DOCUMENT).find(domain, TODAY)


def test_each_setting_names_its_place() -> None:
    found = {one.key: (one.value, one.path) for one in settings_of(DOCUMENT, rule("partner.example"))}
    assert found["tls"] == ("none", f"{ENTRY}.tls")
    assert found["mta_sts"] == (False, f"{ENTRY}.mta_sts")
    assert found["preferred_clear_after"] == (3, f"{ENTRY}.preferred_clear_after")
    assert found["max_connections"] == (20, "destination_controls.default.max_connections")
    assert found["dane"] == ("none", "")
    assert found["bounce_profile"] == ("Default", "")


def test_the_default_has_no_entry() -> None:
    found = {one.key: (one.value, one.path) for one in settings_of(DOCUMENT, rule("x.example"))}
    assert found["tls"] == ("required", "destination_controls.default.tls")
    assert entry_of(DOCUMENT, rule("x.example")) is None


def test_what_is_shown_is_what_is_compiled() -> None:
    for domain in ("partner.example", "other.example", "x.example"):
        made = rule(domain)
        found = {one.key: one.value for one in settings_of(DOCUMENT, made)}
        assert TlsLevel(str(found["tls"])) is made.level
        assert found["dane"] == made.dane.value
        assert found["mta_sts"] == made.mta_sts
        assert found["max_connections"] == made.max_connections
        entry = entry_of(DOCUMENT, made)
        assert (entry.domain if entry is not None else "") == made.domain


def test_a_route_knows_its_place() -> None:
    routes = compile_routes(DOCUMENT)
    assert routes.choose("a.example").path == "smtp_routes[0]"
    assert routes.choose("b.example").path == "smtp_routes[1]"
