"""Checks of what is asked about recipients beyond the RAT: bounce verification."""

from __future__ import annotations

from collections.abc import Iterator

from gatepost.config.findings import Finding, dangling
from gatepost.config.model import Document


def bounce_findings(document: Document) -> Iterator[Finding]:
    """Exceptions that lead nowhere."""
    lists = [item.name for item in document.address_lists]
    where, name = ("bounce_verification", "exceptions"), document.bounce_verification.exceptions
    yield from dangling(where, "address list", name, lists, ("address_lists",))
