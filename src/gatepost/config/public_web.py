"""The configuration of what the world may reach over HTTPS: the port, and our MTA-STS policies (RFC 8461 §3).

Off unless the section `public_web` is there. The port serves exact hosts and paths and nothing else, and never the administration: GUI
and API have ports of their own. A policy's file is served for `mta-sts.DOMAIN`, with the certificate that stands beside it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from gatepost.config.challenge_ports import HTTPS_PORT
from gatepost.config.section import Section
from gatepost.config.values import (
    AddressText,
    Duration,
    Fault,
    HostText,
    Name,
    Port,
    WrittenText,
    parse_host_name,
)

LONGEST_AGE = 31_557_600  # seconds (RFC 8461 §3.2)
WILDCARD = "*."
POLICY_HOST = "mta-sts."
MAX_PATTERNS = 100


def parse_mx_pattern(text: str) -> str:
    """An `mx` of a policy in its comparable form: A-labels, perhaps with `*.` in front. Raises Fault."""
    wild = text.startswith(WILDCARD)
    name = parse_host_name(text.removeprefix(WILDCARD))
    if wild and "." not in name:
        raise Fault("is a wildcard for a whole top-level domain", "write *.example.net")
    return WILDCARD + name if wild else name


def _check_pattern(text: str) -> str:
    parse_mx_pattern(text)
    return text


MxPatternText = Annotated[WrittenText, AfterValidator(_check_pattern)]
"""A host name, or `*.` and a domain; `parse_mx_pattern` gives its comparable form."""


class PublicWeb(Section):
    """The HTTPS port for the world. Absent: nothing listens."""

    interface: Name | None = Field(
        default=None, description="Interface whose address is bound. Either this or `address`."
    )
    address: AddressText | None = Field(
        default=None, description="IP address that is bound, where it is no interface's."
    )
    port: Port = Field(
        default=HTTPS_PORT, description="TCP port; senders ask at 443, so another one needs a translation."
    )


class PolicyMode(StrEnum):
    """What senders are to do with a host of ours that fails the policy (RFC 8461 §5)."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class MtaStsPolicy(Section):
    """The MTA-STS policy of one domain of ours, as senders are told it."""

    domain: HostText = Field(description="Domain that takes mail.", examples=["example.net"])
    mode: PolicyMode = Field(
        default=PolicyMode.TESTING,
        description="`enforce`: senders deliver only to the hosts below and only with a valid certificate; `testing`: they "
        "deliver and report; `none`: there is no policy any more.",
    )
    max_age: Duration = Field(
        default=7 * 86_400, description="How long senders keep the policy, at most 31557600s."
    )
    mx: tuple[MxPatternText, ...] = Field(
        default=(),
        max_length=MAX_PATTERNS,
        description="Host names of the domain's MX records; `*.example.net` stands for one label.",
        examples=[["mx.example.net"]],
    )
    certificate: Name = Field(
        default="Demo", description="Certificate profile that is presented for mta-sts.DOMAIN."
    )

    @property
    def comparable_domain(self) -> str:
        """The domain as it is compared: lower-case A-labels."""
        return parse_host_name(self.domain)

    @property
    def host(self) -> str:
        """The host that serves the policy (§3.3)."""
        return POLICY_HOST + self.comparable_domain
