"""Our own MTA-STS policies as senders get them: the file, its id, and the record that announces it (RFC 8461 §3)."""

from __future__ import annotations

from gatepost.config.public_web import MtaStsPolicy, PolicyMode, parse_mx_pattern
from gatepost.wire.mta_sts import Mode, StsPolicy, policy_id, write_policy

_MODES = {PolicyMode.ENFORCE: Mode.ENFORCE, PolicyMode.TESTING: Mode.TESTING, PolicyMode.NONE: Mode.NONE}


def own_policy(entry: MtaStsPolicy) -> StsPolicy:
    """A configured policy as a value of the protocol."""
    return StsPolicy(_MODES[entry.mode], entry.max_age, tuple(map(parse_mx_pattern, entry.mx)))


def policy_file(entry: MtaStsPolicy) -> bytes:
    """The file that senders fetch."""
    return write_policy(own_policy(entry))


def announced_id(entry: MtaStsPolicy) -> str:
    """The id that the record must carry for senders to notice this policy."""
    return policy_id(policy_file(entry))
