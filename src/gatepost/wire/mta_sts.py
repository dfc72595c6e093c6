"""MTA-STS: the record that announces a policy, and the policy itself (RFC 8461 §3).

Read from hostile octets into values, and written for our own domains. A record or policy that cannot be read is a fault with a sentence that says why; unknown keys
are passed over, as the RFC wants it. Host patterns are A-labels without a trailing dot, `*.` in front stands for one label (§4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from gatepost.core.address import normalise_domain
from gatepost.core.reasons import AskedBy, Reason, ReasonCode

MAX_POLICY = 64 * 1024  # octets
MAX_AGE = 31_557_600  # seconds, about a year: more counts as this (§3.2)
MAX_HOSTS = 500
POLICY_PATH = "/.well-known/mta-sts.txt"
_ID_LENGTH = 32
_OUR_ID_LENGTH = 20  # short enough to be copied by hand; 80 bits do not meet by chance


class StsFault(ValueError):
    """A record or policy that does not count, or that cannot be had; `reason` says why."""

    def __init__(self, text: str, code: ReasonCode = ReasonCode.STS_POLICY_INVALID) -> None:
        super().__init__(text)
        self.reason = Reason(code, text, AskedBy.MTA_STS)


class Mode(StrEnum):
    """What the domain wants of a host that fails (§5)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """One policy. `hosts` are patterns; `max_age` is in seconds."""

    mode: Mode
    max_age: int
    hosts: tuple[str, ...] = ()

    def allows(self, host: str) -> bool:
        """The MX host (normalised) is one of the policy's (§4.1: a wildcard is one whole label)."""
        above = host.partition(".")[2]
        return any(
            above == pattern[2:] if pattern.startswith("*.") else host == pattern for pattern in self.hosts
        )


def record_id(texts: Sequence[str]) -> str | None:
    """The `id` of the one record among the TXT texts of `_mta-sts.DOMAIN`; None where there is no record.

    Raises StsFault for several records, or one that cannot be read: then the domain has no policy to be fetched (§3.1).
    """
    records = [
        text for text in texts if text.replace(" ", "").startswith("v=STSv1;") or text.strip() == "v=STSv1"
    ]
    if not records:
        return None
    if len(records) > 1:
        raise _bad_record(f"{len(records)} records stand where one belongs")
    fields = _fields(records[0])
    if fields.get("v") != "STSv1":
        raise _bad_record("the record does not begin with v=STSv1")
    identifier = fields.get("id", "")
    if not (identifier.isascii() and identifier.isalnum() and len(identifier) <= _ID_LENGTH):
        raise _bad_record("the id of the record is not 1 to 32 letters and digits")
    return identifier


def _bad_record(text: str) -> StsFault:
    return StsFault(text, ReasonCode.STS_RECORD_INVALID)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if equals:
            fields.setdefault(key.strip(), value.strip())
    return fields


def write_policy(policy: StsPolicy) -> bytes:
    """The file of a policy, lines ended by CRLF (§3.2). The same policy gives the same octets."""
    hosts = (f"mx: {host}" for host in policy.hosts)
    lines = ("version: STSv1", f"mode: {policy.mode.value}", *hosts, f"max_age: {policy.max_age}", "")
    return "\r\n".join(lines).encode("ascii")


def policy_id(body: bytes) -> str:
    """The `id` that announces a policy file of ours: it changes with the file, and with nothing else.

    It is made of the file alone, so every node of a cluster and every start says the same.
    """
    return sha256(body).hexdigest()[:_OUR_ID_LENGTH]


def record_text(identifier: str) -> str:
    """The TXT record of `_mta-sts.DOMAIN` (§3.1)."""
    return f"v=STSv1; id={identifier};"


def read_policy(body: bytes) -> StsPolicy:
    """The policy of a file (§3.2), lines ended by CRLF or LF. Raises StsFault."""
    if len(body) > MAX_POLICY:
        raise StsFault(f"the policy is longer than {MAX_POLICY // 1024} KiB")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise StsFault("the policy is not UTF-8 text") from None
    single: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon or not key:
            if line.strip():
                raise StsFault("a line of the policy is no key and value")
            continue
        if key == "mx":
            hosts.append(_pattern(value))
        else:
            single.setdefault(key, value)  # of a key that stands twice the first counts (§3.2)
    return _policy(single, hosts)


def _policy(single: dict[str, str], hosts: list[str]) -> StsPolicy:
    if single.get("version") != "STSv1":
        raise StsFault("the policy does not say version: STSv1")
    try:
        mode = Mode(single.get("mode", ""))
    except ValueError:
        raise StsFault("the mode of the policy is not enforce, testing or none") from None
    age = single.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise StsFault("the max_age of the policy is not a number of seconds")
    if not hosts and mode is not Mode.NONE:
        raise StsFault("the policy names no mx")
    if len(hosts) > MAX_HOSTS:
        raise StsFault(f"the policy names more than {MAX_HOSTS} hosts")
    return StsPolicy(mode, min(int(age), MAX_AGE), tuple(dict.fromkeys(hosts)))


def _pattern(text: str) -> str:
    wildcard, plain = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        name = normalise_domain(plain)
    except ValueError:
        name = ""
    if not name or "*" in name:
        raise StsFault("an mx of the policy is no host name")
    return wildcard + name
