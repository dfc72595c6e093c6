"""Outcomes in short: a line names columns, a verdict, and part of the reason; `rest` is for all that were not named.

Then the shapes that many inhabitants share. `zone` decides what mandatory DANE says where there are no TLSA records.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gatepost.app.zoo.table.shape import Column, Outcome, Verdict, Zone

Expected = Mapping[Column, Outcome]
Line = tuple[str, Verdict, str]

CLEAR, ENCRYPTED, VERIFIED = Verdict.CLEAR, Verdict.ENCRYPTED, Verdict.VERIFIED
REFUSED, BOUNCED = Verdict.REFUSED, Verdict.BOUNCED

NONE = "none"
PREFERRED = "preferred"
PV = "preferred-verify"
REQUIRED = "required"
STRICT = "required-verify required-verify-hosted"
STS = "sts dane-sts"
DANE = "dane dane-mandatory dane-sts"

OFF = "TLS is off for this destination"
NOT_SIGNED = "DANE is mandatory for this destination, and the addresses of {mx} are not signed"
UNVALIDATED = "DANE is mandatory for this destination, and no resolver is known to validate DNSSEC"
NO_RECORDS = "DANE is mandatory for this destination, and {mx} has no TLSA records"


def expect(*lines: Line) -> Expected:
    """The outcomes of all columns with the validating resolver. Raises ValueError for one that is named twice, or by no line."""
    found: dict[Column, Outcome] = {}
    columns_of_all = [column for column in Column if column.validated]
    for columns, verdict, reason in lines:
        named = [Column(word) for word in columns.split() if word != "rest"]
        if "rest" in columns.split():
            named += [column for column in columns_of_all if column not in found and column not in named]
        for column in named:
            if column in found:
                raise ValueError(f"{column} is named twice")
            found[column] = Outcome(verdict, reason)
    if missing := [column for column in columns_of_all if column not in found]:
        raise ValueError(f"no outcome for {', '.join(missing)}")
    return MappingProxyType({column: found[column] for column in columns_of_all})


def unbelieved(base: Expected, *lines: Line) -> Expected:
    """`base`, and what comes of it behind a resolver that validates nothing (D10): as if nothing were published, and nothing where DANE is mandatory.

    Where DNS ends it before any connection, it ends there as well; `lines` say otherwise for what only validation finds.
    """
    alone = base[Column.PREFERRED]
    unreached_anyhow = len(set(base.values())) == 1
    mandatory = alone if unreached_anyhow else Outcome(REFUSED, UNVALIDATED)
    more = {Column.DANE_UNVALIDATED: alone, Column.DANE_MANDATORY_UNVALIDATED: mandatory}
    return but(MappingProxyType({**base, **more}), *lines)


def without_records(zone: Zone) -> Line:
    """Mandatory DANE, and no TLSA records."""
    return ("dane-mandatory", REFUSED, NO_RECORDS if zone.signed else NOT_SIGNED)


def no_tls(reason: str, zone: Zone = Zone.DARK) -> Expected:
    """No TLS to be had: passes in clear where TLS is not mandatory."""
    return expect(
        (NONE, CLEAR, OFF),
        (f"{REQUIRED} {STRICT}", REFUSED, reason),
        without_records(zone),
        ("rest", CLEAR, reason),
    )


def broken(reason: str, zone: Zone = Zone.DARK) -> Expected:
    """A handshake that fails behind the 220: refused wherever TLS is tried (R24)."""
    return expect((NONE, CLEAR, OFF), without_records(zone), ("rest", REFUSED, reason))


def fine(zone: Zone = Zone.DARK, *, name: str = "{domain}") -> Expected:
    """A good certificate."""
    return expect(
        (NONE, CLEAR, OFF),
        (PV, VERIFIED, f"verified yes: {name}"),
        (STRICT, VERIFIED, f"verified yes: {name}"),
        without_records(zone),
        ("rest", ENCRYPTED, ""),
    )


def hosted_only(problem: str, zone: Zone = Zone.DARK) -> Expected:
    """A certificate that only carries the name of the MX host, which unsigned DNS gave."""
    return expect(
        (NONE, CLEAR, OFF),
        (PV, ENCRYPTED, f"verified no: {problem}"),
        ("required-verify", REFUSED, f"verify error: {problem}"),
        ("required-verify-hosted", VERIFIED, "verified yes: {mx} (from unsigned DNS)"),
        without_records(zone),
        ("rest", ENCRYPTED, ""),
    )


def untrusted(problem: str, zone: Zone = Zone.DARK) -> Expected:
    """A certificate that does not verify: encryption, and no more."""
    return expect(
        (NONE, CLEAR, OFF),
        (PV, ENCRYPTED, f"verified no: {problem}"),
        (STRICT, REFUSED, f"verify error: {problem}"),
        without_records(zone),
        ("rest", ENCRYPTED, ""),
    )


def misnamed(shown: str, zone: Zone = Zone.DARK) -> Expected:
    """A certificate for other names; `shown` is part of how the log shows them."""
    return expect(
        (NONE, CLEAR, OFF),
        (PV, ENCRYPTED, shown),
        (STRICT, REFUSED, shown),
        without_records(zone),
        ("rest", ENCRYPTED, ""),
    )


def by_dane(base: Expected, verdict: Verdict, reason: str) -> Expected:
    """`base`, and this wherever DANE is asked for."""
    return but(base, (DANE, verdict, reason))


def unusable(base: Expected, why: str) -> Expected:
    """`base`, and TLSA records of which none is usable: TLS at least, and nothing where DANE is mandatory (D5)."""
    return but(
        base,
        ("dane dane-sts", ENCRYPTED, ""),
        ("dane-mandatory", REFUSED, f"none of the TLSA records of {{mx}} is usable: {why}"),
    )


def by_policy(base: Expected, verdict: Verdict, reason: str) -> Expected:
    """`base`, and this wherever MTA-STS is asked for."""
    return but(base, (STS, verdict, reason))


def unreached(verdict: Verdict, reason: str) -> Expected:
    """What DNS says ends it before any connection, whatever the level."""
    return expect(("rest", verdict, reason))


def but(base: Expected, *lines: Line) -> Expected:
    """`base`, with other outcomes for some columns."""
    changed = {
        Column(word): Outcome(verdict, reason)
        for columns, verdict, reason in lines
        for word in columns.split()
    }
    return MappingProxyType({**base, **changed})
