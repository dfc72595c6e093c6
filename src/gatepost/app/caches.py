"""What a worker's caches hold and how often they had the answer, for `gatepost metrics`.

Each is bounded. They count in plain integers; sizes by kind are counted when they are asked for.
"""

from __future__ import annotations

from dataclasses import asdict

from gatepost.relay.services import Services


def cache_states(services: Services) -> dict[str, dict[str, int]]:
    """By name: `dns` (MX, addresses, TXT), `tlsa`, `client_names`, `mta_sts`, `chains`, `certificates`, `admissions`, `scores`,
    `call_ahead`."""
    states = {
        **services.resolver.cache_states(),
        "mta_sts": services.sts.cache_state(),
        "chains": services.judge.cache_state(),
        "certificates": services.certificates_seen.cache_state(),
        "admissions": services.admissions.cache_state(),
        "scores": services.scores.cache_state(),
    }
    if services.call_aheads is not None:
        states["call_ahead"] = services.call_aheads.cache_state()
    return {name: asdict(state) for name, state in states.items()}
