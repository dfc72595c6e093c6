"""The configuration of call-ahead: how the routed host is asked about a recipient before it is accepted."""

from __future__ import annotations

from pydantic import Field

from gatepost.config.section import Section
from gatepost.config.values import Count, Duration, Limit


class CallAhead(Section):
    """How recipients are asked for; which ones, the rows of `recipient_access` say."""

    timeout: Duration = Field(
        default=10, description="A question as a whole; without an answer by then: 451."
    )
    keep_positive: Duration = Field(
        default=3_600, description="How long a recipient that was accepted is known."
    )
    keep_negative: Duration = Field(
        default=300, description="How long a recipient that was refused is known."
    )
    max_connections: Count = Field(
        default=5, description="Questions to one destination at a time, of each worker."
    )
    max_invalid_per_hour: Limit = Field(
        default=50,
        description="Refused recipients an hour from one address (IPv6: one /64); then nothing more is asked for it: 452.",
    )
