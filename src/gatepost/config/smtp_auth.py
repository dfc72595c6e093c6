"""The configuration of SMTP AUTH: which policies offer it, how, and how often somebody may fail.

The users are not in the document; they are versioned with it (`gatepost user`).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from gatepost.config.section import Section
from gatepost.config.values import Count, Limit


class AuthLevel(StrEnum):
    """Whether clients of a policy may, or must, say who they are. The order of the members is that of their strictness."""

    OFF = "off"
    PREFERRED = "preferred"
    REQUIRED = "required"


class AuthMechanism(StrEnum):
    """How clients say it; all of them inside TLS only."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"


class SmtpAuth(Section):
    """SMTP AUTH, for policies with `smtp_auth`."""

    mechanisms: tuple[AuthMechanism, ...] = Field(
        default=tuple(AuthMechanism),
        min_length=1,
        description="What is offered, in this order.",
        examples=[["PLAIN"]],
    )
    max_failures_per_address: Limit = Field(
        default=20,
        description="Failed attempts an hour from one address (IPv6: one /64); after them nothing is tried for it.",
    )
    max_failures_per_user: Limit = Field(
        default=10, description="Failed attempts an hour for one user; after them nothing is tried for him."
    )
    max_failures_per_session: Count = Field(
        default=3, description="Failed attempts of one connection; the last of them ends it."
    )
