"""The operations: the only door through which a face (shell, web, API) reads or changes anything.

    door            finds the operation, authorises the caller, keeps changes apart, audits
    registry        what an operation is; arguments as they come in from a face
    draft           candidate, merge, check, commit: how every change becomes a version (architecture 7)
    versions        config.show, config.history; configuration  all other config.*
    certificates    cert.*, what looks and exports; certificate_making, certificate_changes  what changes; certificate_walk  why not
    dane            cert.dane: TLSA records to publish and published, and what is not taken before them
    profiles        what they share; consequences  what a commit means for certificates
    authorities     ca.*
    acme            acme.*; acme_parts  what every commit asks of it; acme_rehearsal  a dry run
    explain         explain, explain.live   verify        tlsverify, daneverify
    dkim            dkim.*: keys that sign reports
    tls_reports     tlsrpt.list, .show, .send: the TLS reports that we send
    queue           queue.*         status        status        metrics       metrics
    reading         what is read from the operator's files, in a child (confined)
    users           user.*; sender_warnings  what a configuration lacks without them; document_warnings  all that is warned of
    exchange        certificates, authorities and users inside an exported file
    logs            reading the log files; needs no gateway and no store

They run in the desk of a running gateway, and in the command itself when none runs: the code is the same, only the
`Gateway` port is None then. A face passes bytes and words, never paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatepost.control.ports import Gateway, Operations
    from gatepost.core.ports import Clock
    from gatepost.store.config_store import ConfigStore
    from gatepost.store.home import Home
    from gatepost.store.secrets import Keeper


def build(
    home: Home, store: ConfigStore, keeper: Keeper, gateway: Gateway | None, clock: Clock
) -> Operations:
    """All operations over one store; `gateway` is None in a command that works on a stopped gateway."""
    from gatepost.control.ops.door import Door

    return Door(home, store, keeper, gateway, clock)
