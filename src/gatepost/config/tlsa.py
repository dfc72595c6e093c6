"""The configuration of TLSA records that are published for this gateway: where they stand, and whom to ask for them.

Without a word here a public listener with STARTTLS has its records at port 25 of its interface's host name and of the names of its
SNI entries: an MX host is reached at port 25, whatever port the listener has behind a translation of addresses (RFC 7672 §2.2.3).
"""

from __future__ import annotations

from pydantic import Field

from gatepost.config.hosts import DnsServerText
from gatepost.config.section import Section
from gatepost.config.values import Flag, HostText, Name, Port

SMTP_PORT = 25


class TlsaService(Section):
    """Where the TLSA records of one listener stand, in place of what is taken without it. Several for one listener add up."""

    name: Name = Field(description="Name of the entry.", examples=["mx"])
    listener: Name = Field(description="Listener that is reached there.", examples=["Listener"])
    host: HostText | None = Field(
        default=None,
        description="Host name as the world knows it. Absent: the interface's host name and the names under sni.",
    )
    port: Port = Field(default=SMTP_PORT, description="Port as the world sees it.")
    published: Flag = Field(
        default=True,
        description="false: no records are published for this listener, and none are looked for.",
    )


class Tlsa(Section):
    """TLSA records of this gateway in the DNS (RFC 7671, RFC 7672)."""

    servers: tuple[DnsServerText, ...] = Field(
        default=(),
        description="ADDR, ADDR:PORT or [V6]:PORT of the zone's name servers, where the DNS names others inside than "
        "outside; empty: those that the zone names.",
        examples=[["192.0.2.1"]],
    )
    services: tuple[TlsaService, ...] = Field(
        default=(), description="Where the records of a listener stand, if not at port 25 of its host names."
    )
