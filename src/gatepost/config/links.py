"""Services outside that the gateway will speak TLS to with a certificate of its own (R16 to R18).

The choice of the certificate is stored and checked, and a certificate that is chosen here cannot be deleted; the links
themselves come later (`check.not_enforced` says so).
"""

from __future__ import annotations

from pydantic import Field

from gatepost.config.section import Section
from gatepost.config.values import Name

LINKS = ("ldap", "web_security", "dlp", "file_analysis")


class Ldap(Section):
    """Directory servers."""

    certificate: Name | None = Field(
        default=None,
        description="Client certificate for servers that ask for one (R16). Absent: none is shown.",
    )


class WebSecurity(Section):
    """The service that rates URLs (the shell's `websecurityconfig`)."""

    certificate: Name | None = Field(
        default=None,
        description="Client certificate that authenticates the gateway (R17). Absent: none is shown.",
    )


class Dlp(Section):
    """The manager of data-loss prevention."""

    certificate: Name | None = Field(
        default=None,
        description="Certificate of the mutual TLS with the manager (R18). Absent: none is shown.",
    )


class FileAnalysis(Section):
    """The service that analyses files."""

    certificate: Name | None = Field(
        default=None,
        description="Certificate of the mutual TLS with the service (R18). Absent: none is shown.",
    )
