"""The configuration of what goes out: destination controls, routes, delivery, bounces.

R14, R23 to R30; names and meanings are those of contract/gateway.yaml.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from gatepost.config.hosts import RouteHostText
from gatepost.config.recipients import DomainText, RouteDomainText
from gatepost.config.section import Section
from gatepost.config.values import (
    Attempts,
    Count,
    Day,
    Duration,
    DurationOrNever,
    Flag,
    Limit,
    Name,
    Text,
)
from gatepost.core.tls import ClientHello, TlsLevel


class Dane(StrEnum):
    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    MANDATORY = "mandatory"


class InsecureNames(StrEnum):
    """Whether names learnt from unsigned DNS may satisfy a verify level (architecture 4, Names)."""

    ALLOW = "allow"
    REFUSE = "refuse"


class ClientCertificate(StrEnum):
    """Whether our certificate is offered to a server that asks for one."""

    OFFER = "offer"
    NEVER = "never"


class GlobalControls(Section):
    """Settings of the destination controls that no domain can change."""

    certificate: Name = Field(default="Demo", description="Client certificate of outgoing TLS (R14).")
    alert_on_required_tls_failure: Flag = Field(
        default=False, description="Send an alert when a required TLS connection fails (R30)."
    )


class DestinationDefault(Section):
    """What holds for every domain without a setting of its own."""

    tls: TlsLevel = Field(default=TlsLevel.PREFERRED, description="TLS level (R23 to R27h).")
    dane: Dane = Field(default=Dane.NONE, description="DANE (RFC 7672): none, opportunistic or mandatory.")
    mta_sts: Flag = Field(default=False, description="Heed the MTA-STS policies of recipients (RFC 8461).")
    max_connections: Limit = Field(
        default=500, description="Connections to one domain at a time, over all workers."
    )
    max_messages_per_connection: Limit = Field(default=50, description="Messages on one delivery connection.")
    bounce_profile: Name = Field(default="Default", description="Retry schedule.")
    insecure_names: InsecureNames = Field(
        default=InsecureNames.REFUSE,
        description="allow: names from unsigned DNS may satisfy the plain verify levels.",
    )
    client_certificate: ClientCertificate = Field(
        default=ClientCertificate.OFFER, description="never: no client certificate is shown."
    )
    preferred_clear_after: Attempts = Field(
        default="never",
        description="With tls preferred: after so many attempts with a broken handshake send in clear.",
    )
    client_hello: ClientHello = Field(
        default=ClientHello.DEFAULT,
        description="small: no post-quantum groups, for peers that cannot take a large ClientHello.",
    )
    bounce_verification: Flag = Field(
        default=True, description="Tag the senders of bounce_verification.domains."
    )
    monitor: Flag = Field(
        default=False,
        description="Evaluate, log and count tls, dane and mta_sts without enforcing them: until then tls is preferred, without both.",
    )


class Destination(Section):
    """The settings of one recipient domain; what is absent is taken from `default`."""

    domain: DomainText = Field(
        description="Recipient domain, or .domain for everything below it.", examples=["example.net"]
    )
    tls: TlsLevel | None = Field(default=None, description="TLS level (R23 to R27h).")
    dane: Dane | None = Field(default=None, description="DANE (RFC 7672): none, opportunistic or mandatory.")
    mta_sts: Flag | None = Field(
        default=None, description="Heed the MTA-STS policy of this domain (RFC 8461)."
    )
    max_connections: Limit | None = Field(
        default=None, description="Connections at a time, over all workers."
    )
    max_messages_per_connection: Limit | None = Field(
        default=None, description="Messages on one delivery connection."
    )
    bounce_profile: Name | None = Field(default=None, description="Retry schedule.")
    insecure_names: InsecureNames | None = Field(
        default=None, description="allow: names from unsigned DNS may satisfy the plain verify levels."
    )
    client_certificate: ClientCertificate | None = Field(
        default=None, description="never: no client certificate is shown."
    )
    preferred_clear_after: Attempts | None = Field(
        default=None,
        description="With tls preferred: after so many attempts with a broken handshake send in clear.",
    )
    client_hello: ClientHello | None = Field(
        default=None,
        description="small: no post-quantum groups, for peers that cannot take a large ClientHello.",
    )
    bounce_verification: Flag | None = Field(
        default=None, description="false: senders are not tagged, for hosts that cannot stand it."
    )
    monitor: Flag = Field(
        default=False,
        description="Evaluate, log and count the entry without enforcing it: what holds is what holds without it.",
    )
    reason: Text | None = Field(default=None, description="Why the entry exists.")
    until: Day | None = Field(
        default=None, description="Last day of the entry, UTC; after it the default holds again."
    )


class DestinationControls(Section):
    """The outgoing table, by recipient domain."""

    global_: GlobalControls = Field(
        default=GlobalControls(), alias="global", description="Settings for all domains."
    )
    default: DestinationDefault = Field(
        default=DestinationDefault(), description="Settings of domains without an entry."
    )
    destinations: tuple[Destination, ...] = Field(default=(), description="Entries by domain.")


class SmtpRoute(Section):
    """Where the mail of a domain goes instead of to its MX."""

    domain: RouteDomainText = Field(description="Domain, .domain, or ALL.", examples=["example.net"])
    hosts: tuple[RouteHostText, ...] = Field(
        min_length=1,
        description="Next hops in order: name (MX), [name] (addresses only), IP address, with :port; usedns; reject.",
        examples=[["usedns"]],
    )


class DeliveryTimeouts(Section):
    """How long delivery waits for its peer (RFC 5321 §4.5.3.2)."""

    connect: Duration = Field(default=30, description="A connection.")
    greeting: Duration = Field(default=300, description="The greeting.")
    command: Duration = Field(
        default=300, description="The answer to EHLO, STARTTLS, MAIL, RCPT, DATA and RSET."
    )
    data_block: Duration = Field(default=180, description="Sending a piece of the message.")
    data_end: Duration = Field(default=600, description="The answer to the final dot.")
    handshake: Duration = Field(default=30, description="A TLS handshake as a whole.")
    idle: Duration = Field(default=5, description="How long an unused connection is kept.")


class Delivery(Section):
    """How outgoing mail leaves (R28)."""

    interface: Name = Field(
        default="auto", description="Interface whose address and host name are used, or auto."
    )
    max_connections: Limit = Field(
        default=10_000, description="Delivery connections at a time, over all workers."
    )
    timeouts: DeliveryTimeouts = Field(default=DeliveryTimeouts(), description="How long delivery waits.")


class BounceProfile(Section):
    """A retry schedule: retry n waits min(initial_retry · 2^(n−1), max_retry) ± 10 %."""

    name: Name = Field(description="Name of the profile.", examples=["Default"])
    initial_retry: Duration = Field(default=60, description="Wait before the first retry.")
    max_retry: Duration = Field(default=3_600, description="Longest wait between retries.")
    max_age: Duration = Field(default=72 * 3_600, description="Age at which a message bounces.")
    max_attempts: Count = Field(default=100, description="Attempts after which a message bounces.")
    delay_warning: DurationOrNever = Field(
        default=4 * 3_600, description="Age at which the sender is told of the delay, or never."
    )


class Bounces(Section):
    """Reports to senders."""

    max_per_hour: Limit = Field(
        default=1_000, description="Reports an hour, over all workers; more are logged and dropped."
    )
