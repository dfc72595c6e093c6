"""C34, second half: the names in a certificate (RFC 9525). The chains are good."""

from __future__ import annotations

from gatepost.app.zoo.table.expect import (
    PV,
    STRICT,
    VERIFIED,
    Expected,
    but,
    fine,
    hosted_only,
    misnamed,
    untrusted,
)
from gatepost.app.zoo.table.shape import Host, Inhabitant, Zone

MISMATCH = "host name mismatch: {domain}"


def _one(name: str, wrong: str, expected: Expected, *, zone: Zone = Zone.DARK, shows: str = "") -> Inhabitant:
    return Inhabitant(
        name=name,
        cases=("C34",),
        wrong=wrong,
        hosts=(Host(shows=shows or name),),
        zone=zone,
        expected=expected,
    )


INHABITANTS = (
    _one("wrong-name", "For mx.other.example.", untrusted(MISMATCH)),
    _one("domain-only", "Carries the domain, not the MX host.", fine()),
    _one("mx-only", "Carries the MX host, which unsigned DNS named.", hosted_only(MISMATCH)),
    _one(
        "mx-only-signed",
        "The same, and signed DNS named the host.",
        but(fine(Zone.SIGNED), (f"{PV} {STRICT}", VERIFIED, "verified yes: {mx}")),
        zone=Zone.SIGNED,
        shows="mx-only",
    ),
    _one("name-in-cn", "The name stands in the CN only.", fine()),
    _one("right-cn-wrong-san", "The right CN beside the wrong names.", untrusted(MISMATCH)),
    _one("wildcard", "A wildcard that covers the MX host, not the domain.", hosted_only(MISMATCH)),
    _one("wildcard-too-high", "A wildcard for everything below a top-level domain.", untrusted(MISMATCH)),
    _one(
        "wildcard-two-labels",
        "A wildcard that covers the domain; the MX host would need two labels of it.",
        fine(),
    ),
    _one("wildcard-partial", "Wildcards for a part of a label.", untrusted(MISMATCH)),
    _one("address", "Carries an IP address.", untrusted(MISMATCH)),
    _one("address-as-name", "An IP address written as a name.", untrusted(MISMATCH)),
    _one("nul-in-san", "A NUL behind the right name.", misnamed(r"DNS:{domain}\x00.evil")),
    _one("nul-in-cn", "A NUL behind the right name, in the CN.", misnamed(r"CN:{domain}\x00.evil")),
    _one(
        "crlf-in-san",
        "A name that goes on in a new line of the log.",
        misnamed(r"\x0d\x0aInfo: DCID 1 close"),
    ),
    _one("crlf-in-cn", "A CN that goes on in a new header field.", misnamed(r"\x0d\x0aBcc: x")),
    _one("percent-in-cn", "A CN of format directives.", misnamed("CN:%s%n%x{{0}}")),
    _one("ansi-in-san", "Control sequences for terminals in a name.", misnamed(r"\x1b[2J")),
    _one("u-label", "A name with a letter that is not ASCII.", untrusted(MISMATCH)),
    _one("trailing-dot", "Names with a dot at the end.", misnamed("DNS:{domain}.")),
    _one("empty-san", "An empty list of names.", misnamed("CN:zoo")),
    _one("thousand-names", "A thousand names, the right ones last.", fine()),
    _one(
        "thousand-wrong-names", "A thousand names, all of others.", misnamed("n9.other.example and 990 more")
    ),
)
