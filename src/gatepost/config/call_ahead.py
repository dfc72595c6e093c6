"""The configuration of call-ahead: how the routed host is asked about a recipient before it is accepted."""

from __future__ import annotations

from pydantic import Field, field_validator

from gatepost.config.section import Section
from gatepost.config.values import Count, Duration, Fault, Limit

LONGEST = 240  # seconds; clients wait five minutes for the answer to RCPT


class CallAhead(Section):
    """How recipients are asked for; which ones, the rows of `recipient_access` say."""

    timeout: Duration = Field(
        default=10, description="A question as a whole; without an answer by then: 451. At most 4m."
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

    @field_validator("timeout")
    @classmethod
    def _while_the_client_waits(cls, value: int) -> int:
        if value > LONGEST:
            raise Fault("is longer than clients wait for the answer to RCPT", "at most 4m")
        return value
