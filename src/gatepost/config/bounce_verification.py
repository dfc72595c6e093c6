"""The configuration of bounce verification: senders of ours carry a tag when their mail leaves, and reports must come back to it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from gatepost.config.recipients import DomainText
from gatepost.config.section import Section
from gatepost.config.values import Name


class UntaggedBounces(StrEnum):
    """What becomes of a report to an address of ours without a good tag."""

    REJECT = "reject"
    MARK = "mark"
    ACCEPT = "accept"


class BounceVerification(Section):
    """Tags in envelope senders (BATV), so that reports of mail that was never sent are known by their missing tag."""

    domains: tuple[DomainText, ...] = Field(
        default=(),
        description="Our sender domains; empty: nothing is tagged and nothing is asked for.",
        examples=[["example.net"]],
    )
    exceptions: Name | None = Field(
        default=None,
        description="Address list of our addresses that are neither tagged nor need a tag.",
    )
